"""The commands by name: each says what it is for."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

import noisygce
from noisygce import __main__ as overview

PACKAGE = Path(noisygce.__file__).parent
COMMANDS = sorted(
    [path.stem for path in PACKAGE.glob("[!_]*.py") if "__main__" in path.read_text()]
    + [path.parent.name for path in PACKAGE.glob("*/__main__.py")]
)


def test_python_m_noisygce_lists_every_command_on_one_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"train", "status", "table", "verify", "reproduce", "labels"} <= set(COMMANDS)
    for words in ([], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["noisygce", *words])
        overview.main()
        out, err = capsys.readouterr()
        assert err == ""
        assert {*re.findall(r"^    python -m noisygce\.(\w+) ", out, re.MULTILINE)} == set(COMMANDS)
        assert len(out.splitlines()) <= 24
        assert max(map(len, out.splitlines())) <= 120


def test_python_m_noisygce_with_a_command_says_how_it_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["noisygce", "train", "loss=gce"])
    with pytest.raises(SystemExit) as end:
        overview.main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("noisygce: train: say python -m noisygce.COMMAND, which is train, status,")
    assert all(name in err for name in COMMANDS)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])  # whose help is Hydra's
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_is_a_text_on_standard_output_that_begins_with_the_command(
    name: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["noisygce", word])
    monkeypatch.delitem(sys.modules, f"noisygce.{name}", raising=False)  # or Python warns that it is there already
    runpy.run_module(f"noisygce.{name}", run_name="__main__")
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"``python -m noisygce.{name}")
    assert f"\n    python -m noisygce.{name}" in out
    assert max(map(len, out.splitlines())) <= 120
