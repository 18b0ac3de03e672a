"""A file that cannot be what a person takes it for is refused in one line that says why."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers_reliability import one_line, run_folder, train

from noisygce import results, settings
from noisygce.errors import ConfigError, DataError, ManifestError
from noisygce.noise.from_file import FromFile
from noisygce.runs import artifacts
from noisygce.sweep.jobs import expand
from noisygce.sweep.plan import plan_of

EXPERIMENT = "defaults:\n  - override /data: digits\nschedule: {epochs: 1}\n"
GLOBAL = "# @package _global_\n"


def experiment(folder: Path, text: str) -> list[str]:
    """Words that choose an experiment whose file has this text."""
    file = folder / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode())
    return [f"hydra.searchpath=['file://{folder}/conf']", "experiment=mine"]


@pytest.mark.parametrize(
    "text", [EXPERIMENT, "schedule: {epochs: 1}\n", f"\ufeff{GLOBAL}{EXPERIMENT}", f"# mine\n{GLOBAL}{EXPERIMENT}"]
)
def test_an_experiment_that_does_not_begin_with_its_package_is_told_its_first_line(tmp_path: Path, text: str) -> None:
    words = experiment(tmp_path, text)
    for compose in (settings.compose, plan_of):
        with pytest.raises(ConfigError, match=r"^experiment=mine: the first line of its file must be '# @package _gl"):
            compose(words)


@pytest.mark.parametrize("grid", ["{seed: [0, 1]}", "[[seed, 0]]", "seed", "[seed]"])
def test_a_grid_that_is_no_list_of_blocks_is_refused(tmp_path: Path, grid: str) -> None:
    words = experiment(tmp_path, f"{GLOBAL}{EXPERIMENT}grid: {grid}\n")
    with pytest.raises(ConfigError, match=r"^grid=.*: must be a list of blocks, such as \["):
        plan_of(words)
    code, text = train(tmp_path, "-m", "--config-dir", "conf", "experiment=mine")
    assert (code, one_line(text).startswith("noisygce: grid=")) == (2, True)


def test_no_grid_is_one_run() -> None:
    assert expand([], None) == expand([], []) == [[]]


def test_a_table_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^table=\['a'\]: must be a mapping"):
        plan_of(experiment(tmp_path, f"{GLOBAL}{EXPERIMENT}table: [a]\n"))


def test_the_folder_that_one_is_in_is_a_run_by_its_own_name_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ("data=digits", "data.subset=100", "schedule.epochs=1", "schedule.milestones=[]", "runtime.threads=1")
    assert train(tmp_path, *small)[0] == 0
    run = run_folder(tmp_path)
    monkeypatch.chdir(run)
    assert results.finished(".").id == run.name
    shutil.copy(run / "manifest.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError, match="is of another run"):
        results.finished(".")
    code, text = train(tmp_path, ".", module="suspects")
    assert (code, "is of another run" in one_line(text)) == (1, True)
    assert not (tmp_path / "results" / "suspects").exists()


def test_noisy_labels_for_a_folder_that_is_missing_name_the_folder(tmp_path: Path) -> None:
    code, text = train(tmp_path, "out=missing/x.npy", "data=digits", module="labels")
    assert (code, one_line(text)) == (2, "noisygce: out=missing/x.npy: there is no folder missing")


def files(folder: Path) -> list[Path]:
    """Files that hold no array of numbers: text, nothing, the beginning of an archive, objects."""
    for name, content in {"text": b"1,2\n", "empty": b"", "zip": b"PK\003\004"}.items():
        (folder / f"{name}.npy").write_bytes(content)
    np.save(folder / "objects.npy", np.array([{}]), allow_pickle=True)
    return sorted(folder.glob("*.npy"))


def test_a_file_that_holds_no_array_is_refused_without_advice_to_unpickle_it(tmp_path: Path) -> None:
    for path in files(tmp_path):
        content = path.read_bytes()
        expected = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest = {"files": {artifacts.PREDICTIONS: expected}}
        (tmp_path / artifacts.PREDICTIONS).write_bytes(content)
        noise = FromFile(0.1, path.name, None)
        for read in (
            lambda noise=noise: noise.bind(tmp_path, np.zeros(1, np.int64), ["a", "b"]),
            lambda manifest=manifest: artifacts.predictions(tmp_path, manifest),
        ):
            with pytest.raises(DataError) as refused:
                read()
            assert "pickle" not in str(refused.value), path
            assert len(str(refused.value).splitlines()) == 1
