"""The committed numbers are what the code and their manifests give."""

import re
from pathlib import Path

from noisygce import settings, verify

REFERENCE = settings.config_dir().parent / "results" / "reference"


def test_committed_runs_verify_and_their_tables_are_rebuilt_byte_for_byte(monkeypatch, capsys):
    monkeypatch.chdir(REFERENCE.parent.parent)
    assert verify.verify(Path("results/reference"), settings.read(settings.compose([])).paths.data), (
        capsys.readouterr().out
    )
    said = capsys.readouterr().out
    assert re.search(r"^(\d+) of \1 finished runs", said, re.MULTILINE), said
    assert re.search(r"^(\d+) of \1 tables are what the runs give", said, re.MULTILINE), said


def test_only_what_a_number_rests_on_is_committed():
    names = {path.name for path in (REFERENCE / "runs").glob("*/*")}
    assert names == {"config.yaml", "metrics.csv", "manifest.json"}
