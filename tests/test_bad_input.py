"""A command line that cannot be run is refused at once, says what may be typed instead, and writes nothing."""

from __future__ import annotations

import fnmatch
import functools
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bad_input import ROWS, VALUES, split
from helpers_reliability import ROOT, one_line
from helpers_reliability import train as run
from omegaconf import OmegaConf

from noisygce import settings, train
from noisygce.errors import ConfigError
from noisygce.runs.stops import process
from noisygce.settings.compose import GROUPS, parsed


def matches(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


@pytest.mark.parametrize(("arguments", "said"), ROWS, ids=[arguments for arguments, _ in ROWS])
def test_a_bad_command_line_is_refused_with_exit_code_2_and_says_what_it_may_be(
    arguments: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["noisygce", *split(arguments)])
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it raises ImportError
    monkeypatch.setattr(process, "listen", lambda: None)
    with pytest.raises(SystemExit) as end:
        train.main()
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert matches(err, f"noisygce: {said}\n"), err
    assert not list(tmp_path.iterdir())


@functools.cache
def base(*groups: str) -> Any:
    return settings.compose(groups)


@pytest.mark.parametrize(("arguments", "said"), VALUES, ids=[arguments for arguments, _ in VALUES])
def test_a_wrong_value_is_refused_by_the_key_that_was_typed_with_what_it_may_be(arguments: str, said: str) -> None:
    words = parsed(split(arguments))
    cfg = base(*(str(word.input_line) for word in words if word.key_or_group in GROUPS)).copy()
    for word in words:
        if word.key_or_group not in GROUPS:
            OmegaConf.update(cfg, word.key_or_group, word.value())
    with pytest.raises(ConfigError) as error:
        settings.read(cfg)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("arguments", "said"), [row for row in ROWS if row[0] in ("-m loss.q=0.3,1.5", "loss._target_=os.system")]
)
def test_a_real_interpreter_refuses_within_1_5_seconds_of_computing_and_without_torch(
    arguments: str, said: str, tmp_path: Path
) -> None:
    done = interpreter(tmp_path, "-X", "importtime", "-m", "noisygce.train", *split(arguments))
    imports = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    said_by_it = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2
    assert len(said_by_it) == 1
    assert matches(said_by_it[0], f"noisygce: {said}")
    modules = {line.rpartition("|")[2].strip() for line in imports}
    assert {"hydra", "noisygce.settings"} <= modules
    assert not {"torch", "torchvision", "pandas", "matplotlib"} & modules
    assert not list(tmp_path.iterdir())
    # Computing time, and the least of some starts: neighbours on the machine make both kinds of time longer.
    assert any(seconds(tmp_path, arguments) < 1.5 for _ in range(3))


def seconds(folder: Path, arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    interpreter(folder, "-m", "noisygce.train", *split(arguments))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def interpreter(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=own, capture_output=True, text=True)


@pytest.mark.slow
def test_a_missing_data_set_is_named_with_what_to_put_where(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    no_one = "http://127.0.0.1:9"  # where no one listens
    done = interpreter(tmp_path, "-m", "noisygce.train", "paths.data=here", https_proxy=no_one)
    assert done.returncode == 2
    assert done.stderr.startswith("noisygce: Cifar10 is not in here and could not be fetched (")
    assert "put these files there, or name another folder with paths.data=FOLDER" in done.stderr
    assert "cifar-10-batches-py/data_batch_1" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_classes_that_the_data_set_does_not_have_are_named_with_those_it_has(tmp_path: Path) -> None:
    code, text = run(tmp_path, "data=digits", "noise=class_map", "+noise.map.a=5")
    assert code == 2
    assert "noise.map=" in one_line(text)
    assert "noise.map must be of class names of the data set (0, 1, 2" in one_line(text)


@pytest.mark.parametrize("words", [[], ["-m", "seed=0,1"]], ids=["alone", "sweep"])
def test_one_of_several_processes_of_one_run_is_refused(tmp_path: Path, words: list[str]) -> None:
    code, text = run(tmp_path, *words, "data=digits", before=_as_torchrun)
    assert (code, one_line(text).partition(";")[0]) == (2, "noisygce: WORLD_SIZE=4: a run uses one GPU")
    assert not (tmp_path / "results").exists()


def _as_torchrun() -> None:
    os.environ["WORLD_SIZE"] = "4"
