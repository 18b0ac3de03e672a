"""Results folders, archives and manifests of others (SECURITY.md): no file outside is written, no command ends early,
no terminal is steered."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest
from helpers_reliability import call, one_line, train, without_the_rights_of_root

from noisygce import results, runs, status, verify
from noisygce.errors import ConfigError, DataError
from noisygce.runs import archive, artifacts, atomic, messages
from noisygce.settings import config_dir
from noisygce.sweep.plan import Plan
from noisygce.view import paths
from noisygce.view.measures import MEASURES

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
ONE_RUN = ("data=digits", "data.subset=200", "model.width=4", "schedule.epochs=2", "loss=ce", "runtime.threads=1")
WRITTEN = (
    *("owner.json", "train.log", "metrics.csv", "config.yaml", "manifest.json", "failed.json", "last.ckpt", "lock"),
    *("previous.ckpt", "model.safetensors", "predictions.npz", "transition_hat.json", "owner.json.PID.tmp"),
)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of the reader's own, which nothing may change."""
    path = tmp_path / "mine"
    path.write_text("mine")
    return path


@pytest.mark.parametrize("name", WRITTEN)
def test_a_link_in_the_folder_of_a_run_is_refused_and_leads_no_write(demo: Plan, mine: Path, name: str) -> None:
    run = runs.Run(mine.parent / "results", demo.runs[0].identity)
    run.folder.mkdir(parents=True)
    # Workers of pytest-xdist must collect tests of the same names, so that the process ID comes only now.
    (run.folder / name.replace("PID", str(os.getpid()))).symlink_to(mine)
    with pytest.raises(ConfigError, match=r"is a link, or below one, and leads to .*mine: "), run.claim():
        pass
    assert mine.read_text() == "mine"


def test_a_run_whose_folder_is_a_link_is_refused_and_changes_nothing_there(demo: Plan, tmp_path: Path) -> None:
    run = runs.Run(tmp_path / "results", demo.runs[0].identity)
    elsewhere = tmp_path / "elsewhere"
    for there in (elsewhere, run.folder.parent):
        there.mkdir(parents=True)
    (elsewhere / "a.tmp").touch()
    run.folder.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="elsewhere"), run.claim():
        pass
    assert [path.name for path in elsewhere.iterdir()] == ["a.tmp"]


def test_a_results_folder_that_is_a_link_is_a_folder_like_any_other(demo: Plan, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "scratch")
    with runs.Run(tmp_path / "results", demo.runs[0].identity).claim():
        assert [*tmp_path.glob("scratch/runs/*/owner.json")]


def test_a_written_file_takes_the_place_of_a_link(mine: Path) -> None:
    for name in ("file", f"file.{os.getpid()}.tmp"):
        (mine.parent / name).symlink_to(mine)
    atomic.write_text(mine.parent / "file", "new")
    assert (mine.read_text(), (mine.parent / "file").read_text()) == ("mine", "new")


def test_a_log_is_not_written_through_a_link(mine: Path) -> None:
    (mine.parent / "train.log").symlink_to(mine)
    with pytest.raises(OSError, match=r"train\.log") as error, messages.to_file(mine.parent / "train.log"):
        pass
    assert (error.value.errno, mine.read_text()) == (errno.ELOOP, "mine")


@pytest.mark.parametrize("kind", ["table", "report", "accuracy"])
def test_a_folder_of_views_that_is_a_link_is_refused(demo: Plan, tmp_path: Path, kind: str) -> None:
    stem = paths.stem(demo, kind)
    stem.parent.parent.mkdir(exist_ok=True)
    stem.parent.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is a link"):
        paths.stem(demo, kind)


def test_a_folder_of_plans_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "plans").symlink_to(tmp_path / "elsewhere")
    code, text = train(tmp_path, "experiment=demo", module="status")
    assert (code, "results/plans is a link" in one_line(text)) == (2, True)
    assert not [*(tmp_path / "elsewhere").iterdir()]


def packed(path: Path, *members: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz") as archive_of_runs:
        for member in members:
            archive_of_runs.addfile(member, io.BytesIO(b"x" * member.size))


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def file(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = 1
    return info


def within(folder: Path) -> subprocess.CompletedProcess[str]:
    script = str(config_dir().parent / "scripts" / "within")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(folder), "TMPDIR": str(folder)}
    command = [script, "0.01s", str(folder / "work"), *ONE_RUN]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_workers_write_through_no_link(mine: Path) -> None:
    (mine.parent / "results").mkdir()
    (mine.parent / "elsewhere").mkdir()
    (mine.parent / "results" / "logs").symlink_to(mine.parent / "elsewhere")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(mine.parent)}
    command = [str(config_dir().parent / "scripts" / "workers"), "1", "", "--help"]
    done = subprocess.run(command, cwd=mine.parent, capture_output=True, env=environment, check=False)
    assert (done.returncode, [*(mine.parent / "elsewhere").iterdir()]) == (4, [])


def test_a_search_writes_into_no_folder_that_is_a_link(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    from noisygce.sweep import tuning

    (tmp_path / "tuning").symlink_to(tmp_path)
    optuna = OmegaConf.create({"sweeper": {"_target_": "optuna"}})
    with pytest.raises(ConfigError, match=r"tuning is a link"):
        tuning.overrides(optuna, [f"paths.results={tmp_path}"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["link", "hard link", "path", "absolute", "device"])
def test_within_unpacks_nothing_outside_its_folder(mine: Path, kind: str) -> None:
    members = {
        "link": [link("runs/a", str(mine.parent)), file("runs/a/mine")],
        "hard link": [link("runs/a", str(mine), tarfile.LNKTYPE), file("runs/a")],
        "path": [file("../../mine")],
        "absolute": [file(str(mine))],
        "device": [link("runs/a", "", tarfile.FIFOTYPE)],
    }[kind]
    (mine.parent / "work").mkdir()
    packed(mine.parent / "work" / "runs.tar.gz", *members)
    within(mine.parent)
    assert mine.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lock", "runs.tar.gz.part"])
def test_within_writes_through_no_link(mine: Path, name: str) -> None:
    (mine.parent / "work").mkdir()
    (mine.parent / "work" / name).symlink_to(mine)
    within(mine.parent)
    assert mine.read_text() == "mine"


DEEP = "[" * 100_000
DAMAGED: dict[str, Any] = {
    **{text: text for text in ("[]", "{}", "null", "\x00", '{"results": {"val": 2}}')},
    "brackets": DEEP,
    "maps": '{"a":' * 100_000,
    "another config": lambda made: {**made, "config": {**made["config"], "rate": 0.1}},
    "a deep config": lambda made: {**made, "config": json.loads('{"a":' * 400 + "1" + "}" * 400)},
    **{
        f"{key} is {value!r}": lambda made, key=key, value=value: {**made, key: value}
        for key in ("noise", "noisy_validation", "detection", "calibration", "files", "versions", "pruning", "results")
        for value in (7, ["x"], "x", None)
    },
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_manifest_is_one_unreadable_run_and_the_others_are_shown(
    demo: Plan, tmp_path: Path, damage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = (made_up.finish(tmp_path, run) for run in demo.runs[:2])
    path = folder / "manifest.json"
    path.write_text(damage if isinstance(damage, str) else json.dumps(damage(json.loads(path.read_text()))))
    status.run([f"paths.results={tmp_path}"])
    assert "2 runs: 1 done, 1 unreadable\n" in capsys.readouterr().out
    assert len(results.frame(tmp_path)) == 2
    verify.verify(tmp_path, tmp_path)
    out = capsys.readouterr().out
    assert "0 of 2 finished runs" in out  # made up, so that the labels of the other are not those of its noise
    assert f"{folder}: manifest.json" in out


@pytest.mark.parametrize(
    "damage",
    [
        {"noisy_validation": {"best": "x", "last": 0.5}},
        {"detection": {"best": 7}},
        {"detection": {"best": {"margin": []}}},
    ],
)
def test_a_number_that_is_none_is_absent(demo: Plan, tmp_path: Path, damage: dict[str, Any]) -> None:
    whole = {"noisy_validation": {"best": 0.5, "last": 0.5}, "detection": {"best": {"margin": {"auroc": 0.5}}}}
    run = results.of_folder(made_up.finish(tmp_path, demo.runs[0], **{**whole, **damage}))
    assert {MEASURES["auroc"].read(run, "val"), run.noisy_validation["best"]} == {None, 0.5}


@pytest.mark.parametrize("name", ["failed.json", "owner.json", "config.yaml", "metrics.csv"])
@pytest.mark.parametrize("text", [DEEP, "\x1b\0\xff", '{"cause": {"a": 1}}', "[1, 2]", "a: &x [1]\nb: [*x, *x]\n"])
def test_a_damaged_file_of_an_unfinished_run_ends_no_command(demo: Plan, tmp_path: Path, name: str, text: str) -> None:
    folder = made_up.begin(tmp_path, demo.runs[0])
    (folder / name).write_text(text)
    call(_status, tmp_path)  # in a process of its own, which libyaml's recursion in C could end
    with pytest.raises(ConfigError, match="not finished"):
        results.finished(str(folder))
    assert len(results.frame(tmp_path)) == 1


def _status(folder: Path) -> None:
    status.run([f"paths.results={folder}"])


def test_a_schedule_in_words_ends_no_command(demo: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up.finish(tmp_path, demo.runs[1])
    folder = made_up.begin(tmp_path, demo.runs[0], made_up.metrics(0.5))
    config = {**demo.runs[0].identity, "schedule": {"epochs": "many"}}
    (folder / "config.yaml").write_text(json.dumps(config))
    status.run([f"paths.results={tmp_path}"])
    assert "1 stopped" in capsys.readouterr().out


def test_predictions_that_unpack_to_more_than_they_can_hold_are_refused_unread(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, p=np.zeros(1_200_000_000, dtype=np.uint8))
    content = buffer.getvalue()
    (tmp_path / artifacts.PREDICTIONS).write_bytes(content)
    with pytest.raises(DataError, match=r"its 1,1\d\d,\d+ bytes unpack to 1,200 MB"):
        artifacts.predictions(tmp_path, {"files": {artifacts.PREDICTIONS: made_up.vouched(content)}})


def test_predictions_of_other_shapes_are_refused(tmp_path: Path) -> None:
    made = {"p": [[0.5, 0.5]], "index": [0, 1], "split": ["test"], "given": [0], "kept": [True], "name": [""]}
    for change in ({}, {"index": [0], "given": [7]}, {"index": [0], "p": [[1.0]]}, {"index": [[0]]}):
        arrays = {name: np.array(values) for name, values in {**made, **change}.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays, classes=np.array(["cat", "dog"]))
        (tmp_path / artifacts.PREDICTIONS).write_bytes(buffer.getvalue())
        with pytest.raises(DataError, match="is not a file of predictions"):
            artifacts.predictions(tmp_path, {"files": {artifacts.PREDICTIONS: made_up.vouched(buffer.getvalue())}})


def test_metrics_that_are_no_table_are_a_fault_of_their_run_alone(demo: Plan, tmp_path: Path) -> None:
    each = [made_up.finish(tmp_path, run) for run in demo.runs[:3]]
    (each[0] / archive.METRICS).write_text("x" * 200_000)  # longer than the csv module takes for a field
    (each[1] / archive.METRICS).write_bytes(b"\xff\xfe")
    faults = [verify.Verifier(tmp_path).faults(results.of_folder(folder))[0] for folder in each]
    assert ["metrics cannot be read" in fault[0] for fault in faults] == [True, True, False]
    assert len(results.frame(tmp_path)) == 3


def test_an_archive_that_is_none_is_a_run_that_cannot_be_read(tmp_path: Path) -> None:
    for name, text in {"deep": DEEP, "binary": "\xff\0", "empty lines": "\n\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / archive.RUNS).write_text(text)
    assert {run.state for run in results.found(tmp_path)} == {"unreadable"}
    (tmp_path / "deep" / archive.METRICS).write_text("no,ids\n1,2\n")
    with pytest.raises(DataError, match=r"metrics\.csv"):
        next(results.of_archive(tmp_path / "deep")).rows()


@pytest.mark.skipif(sys.platform != "linux", reason="gives up the rights of root as Linux has them")
def test_a_folder_that_cannot_be_read_is_named_and_is_not_verified(demo: Plan, tmp_path: Path) -> None:
    there = tmp_path / "results"
    shut, _ = (made_up.finish(there, run) for run in demo.runs[:2])
    archive.write(there / "shut", {})
    for folder in (shut, there / "shut"):
        folder.chmod(0)
    code, text = train(tmp_path, module="verify", before=without_the_rights_of_root)
    assert code == 1
    assert f"results/runs/{shut.name}: this folder cannot be read: Permission denied" in text
    assert "results/shut: this folder cannot be read: Permission denied" in text
    assert "0 of 3 finished runs" in text  # the third has made-up labels
    code, text = train(tmp_path, module="status", before=without_the_rights_of_root)
    assert code == 0, text
    assert "results: 3 runs: 1 done, 2 unreadable" in text
    assert f"unreadable  {shut.name}: manifest.json Permission denied" in text
    for folder in (shut, there / "shut"):
        folder.chmod(0o755)


def test_no_command_prints_a_control_character_of_a_file(
    demo: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up.finish(tmp_path, demo.runs[0])
    (made_up.begin(tmp_path, demo.runs[1]) / "failed.json").write_text(json.dumps({"cause": f"not finite {ESCAPE}"}))
    owner = {"pid": ESCAPE, "host": ESCAPE}
    (made_up.begin(tmp_path, demo.runs[2]) / "owner.json").write_text(json.dumps(owner))
    (tmp_path / "runs" / f"name{ESCAPE}").mkdir()
    (tmp_path / "runs" / f"name{ESCAPE}" / "manifest.json").write_text("{")
    status.run([f"paths.results={tmp_path}"])
    verify.verify(tmp_path, tmp_path)
    out = capsys.readouterr().out
    assert r"\x1b[2J" in out
    assert not {"\x1b", "\x07"} & {*out}
    status.run([*demo.arguments, f"paths.results={tmp_path}"])
    out = capsys.readouterr().out
    assert r"\x1b[2J" in out
    assert "\x1b" not in out


def test_no_message_of_a_run_steers_the_terminal_or_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages.to_console()
    with messages.to_file(tmp_path / "train.log"):
        logging.getLogger("noisygce").info(f"class {ESCAPE}")
    for text in (capsys.readouterr().err, (tmp_path / "train.log").read_text()):
        assert r"class \x1b[2J" in text
        assert "\x1b" not in text


def test_a_result_is_printed_without_control_characters() -> None:
    made = {"config": {"loss": {ESCAPE: 1}}, "results": dict.fromkeys(runs.RULES, 0.5), "run_id": "x"}
    assert "\x1b" not in messages.result(Path(f"a{ESCAPE}"), made)


@pytest.mark.parametrize("reason", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_where_no_file_can_be_locked_a_live_run_is_running_and_a_dead_one_is_not(
    demo: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    import fcntl
    import socket

    def no_locks(*_: Any) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    owner = made_up.begin(tmp_path, demo.runs[0]) / "owner.json"
    here = socket.gethostname()
    states = {}
    for pid, host in ((os.getpid(), here), (ended.pid, here), (1, "another machine"), (-1, here), ("x", here)):
        owner.write_text(json.dumps({"pid": pid, "host": host}))
        states[pid, host] = results.of_folder(owner.parent).state
    assert [*states.values()] == ["running", "stopped", "running", "stopped", "stopped"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_where_memory_is_too_small_for_torch_every_run_says_so(tmp_path: Path) -> None:
    command = f"ulimit -v 2000000; exec {sys.executable} -m noisygce.train -m " + " ".join(ONE_RUN).replace(
        "=ce", "=ce,gce"
    )
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = [line for line in ended.stderr.splitlines() if "PyTorch cannot be loaded: " in line]
    assert len(said) == 1, ended.stderr  # one reason of both
    assert "once per process" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_list_of_pictures_names_none_outside_its_folder(tmp_path: Path) -> None:
    from noisygce.data import Folder

    (tmp_path / "secret.png").touch()
    (tmp_path / "data").mkdir()
    for name in ("../secret.png", "x/../../secret.png", str(tmp_path / "secret.png")):
        (tmp_path / "data" / "train.csv").write_text(f"file,label\n{name},cat\n")
        with pytest.raises(DataError, match="there is no file"):
            Folder(str(tmp_path / "data"), 8, 1).contents(tmp_path)


def test_a_model_whose_config_nests_without_end_is_damaged(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from noisygce import models

    about = {"format": models.saved._FORMAT, "config": DEEP, "classes": "[]", "shape": "[1, 1, 1]"}
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors", about)
    with pytest.raises(DataError, match="is damaged"):
        models.load(tmp_path / "model.safetensors")
