"""Checkpoints: a kill, a full disk or a damaged file never costs more than the steps since the one before."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import resource
import select
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_reliability import EACH_STEP, SMALL, Command, call, one_line, run_folder, train, without_the_rights_of_root

from noisygce.errors import CheckpointError
from noisygce.runs import atomic, checkpoint


def content(number: int) -> dict[str, Any]:
    """A checkpoint of 200 kB in which every value is the same number, so that a mixture of two would show."""
    import torch

    return {
        "run_id": "x",
        "tensors": {f"{i}": torch.full((5000,), float(number)) for i in range(10)},
        "progress": {"step": number},
        "seconds": float(number),
        "made": [],
    }


def _kill_writers(folder: Path, kills: int, write: Callable[[Path, dict[str, Any]], None]) -> None:
    """Forks writers that do nothing but write, and kills each at a random instant; ``found`` tells what was left."""
    instants, number = random.Random(0), 0
    for _ in range(kills):
        read_end, write_end = os.pipe()
        if not (writer := os.fork()):
            while True:
                number += 1
                write(folder, content(number))
                os.write(write_end, number.to_bytes(8, "big"))
        os.read(read_end, 8)  # its first write is done
        time.sleep(instants.uniform(0, 0.012))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        os.close(write_end)
        done = 0
        while select.select([read_end], [], [], 0)[0] and (data := os.read(read_end, 8)):
            done = int.from_bytes(data, "big")
        os.close(read_end)
        number = found(folder, max(number + 1, done))


def found(folder: Path, at_least: int) -> int:
    """The number of the checkpoint that is there; it must be whole, and none older than the last one acknowledged."""
    atomic.sweep(folder)
    assert not list(folder.glob("*.tmp"))
    saved, _ = checkpoint.read(folder, "x")
    assert saved is not None
    number = int(saved["seconds"])
    assert all((tensor == number).all() for tensor in saved["tensors"].values())
    assert number >= at_least
    return number


def _whole_after_each_kill(folder: Path, kills: int) -> None:
    _kill_writers(folder, kills, checkpoint.write)
    _, passed_over = checkpoint.read(folder, "x")
    assert not passed_over


def _torn_by_a_plain_writer(folder: Path) -> None:
    """The same kills find what they look for in a writer that goes straight to the file."""
    import torch

    def plain(folder: Path, content: dict[str, Any]) -> None:
        body = io.BytesIO()
        torch.save(content, body)
        head = checkpoint._HEADER + hashlib.sha256(body.getbuffer()).hexdigest().encode() + b"\n"
        (folder / checkpoint.LAST).write_bytes(head + body.getbuffer())

    plain(folder, content(1))
    whole, _ = checkpoint.read(folder, "x")
    assert whole is not None
    assert whole["seconds"] == 1  # so that what cannot be read is torn
    try:
        _kill_writers(folder, 100, plain)
    except CheckpointError:
        return
    raise AssertionError("no kill has torn a file")


@pytest.mark.parametrize("kills", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_no_kill_of_the_writer_costs_a_checkpoint(tmp_path: Path, kills: int) -> None:
    call(_whole_after_each_kill, tmp_path, kills)


def test_the_same_kills_tear_the_checkpoint_of_a_plain_writer(tmp_path: Path) -> None:
    call(_torn_by_a_plain_writer, tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with two generations, 1 and 2."""
    checkpoint.write(tmp_path, content(1))
    checkpoint.write(tmp_path, content(2))
    return tmp_path


def truncate(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def flip(path: Path, seed: int) -> None:
    whole = bytearray(path.read_bytes())
    bit = random.Random(seed).randrange(8 * len(whole))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)


DAMAGE = [(truncate, share) for share in (0, 0.001, 0.5, 0.999)] + [(flip, seed) for seed in range(20)]


@pytest.mark.parametrize(("damage", "how"), DAMAGE, ids=lambda x: getattr(x, "__name__", str(x)))
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_is_used(
    two: Path, damage: Callable[[Path, float], None], how: float
) -> None:
    damage(two / checkpoint.LAST, how)
    saved, reason = checkpoint.read(two, "x")
    assert saved is not None
    assert saved["seconds"] == 1
    assert reason == f"{two / checkpoint.LAST} is damaged: its SHA-256 is not the one in its header"


@pytest.mark.parametrize(("damage", "how"), DAMAGE, ids=lambda x: getattr(x, "__name__", str(x)))
def test_with_both_generations_damaged_nothing_starts_afresh_in_silence(
    two: Path, damage: Callable[[Path, float], None], how: float
) -> None:
    damage(two / checkpoint.LAST, how)
    damage(two / checkpoint.PREVIOUS, how)
    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged.*previous\.ckpt is damaged.*delete"):
        checkpoint.read(two, "x")


def test_a_damaged_checkpoint_never_takes_the_place_of_the_whole_one_before(two: Path) -> None:
    truncate(two / checkpoint.LAST, 0.5)
    checkpoint.read(two, "x")
    checkpoint.write(two, content(3))
    truncate(two / checkpoint.LAST, 0.5)  # the next one is damaged as well
    saved, _ = checkpoint.read(two, "x")
    assert saved is not None
    assert saved["seconds"] == 1


def test_a_checkpoint_of_another_config_is_refused_by_name(two: Path) -> None:
    with pytest.raises(CheckpointError, match="belongs to another run, x, not to y; move it away"):
        checkpoint.read(two, "y")


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch attacked",)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save({**content(1), "progress": Attack()}, buffer := io.BytesIO())
    for body in (buffer.getvalue(), pickle.dumps(Attack()), b"", b"PK"):
        head = checkpoint._HEADER + hashlib.sha256(body).hexdigest().encode() + b"\n"  # anyone can write a fitting one
        (tmp_path / checkpoint.LAST).write_bytes(head + body)
        with pytest.raises(CheckpointError, match=r"last\.ckpt is not a checkpoint"):
            checkpoint.read(tmp_path, "x")
    assert not Path("attacked").exists()


def _full(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    with pytest.raises(OSError, match="File too large") as error:
        checkpoint.write(folder, content(3))
    assert error.value.filename == str(folder / checkpoint.LAST)
    assert not list(folder.glob("*.tmp"))
    assert found(folder, 2) == 2


def test_a_full_disk_leaves_the_checkpoint_that_was_there(two: Path) -> None:
    names = sorted(path.name for path in two.iterdir())
    call(_full, two)
    assert sorted(path.name for path in two.iterdir()) == names


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was killed in its third epoch."""
    folder = tmp_path_factory.mktemp("stopped")
    command = Command(folder, *SMALL, EACH_STEP)
    command.until(lambda: "epoch 2/" in command.text())
    command.kill()
    return folder


@pytest.fixture
def copy(stopped: Path, tmp_path: Path) -> Path:
    shutil.copytree(stopped, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_run_on_a_full_disk_says_so_in_one_line_with_exit_code_4_and_can_go_on(copy: Path) -> None:
    code, text = train(copy, *SMALL, EACH_STEP, file_limit=20_000)
    assert code == 4
    assert "File too large" in one_line(text)
    assert "last.ckpt" in one_line(text)
    assert "start the same command again" in one_line(text)
    code, text = train(copy, *SMALL)
    assert code == 0
    assert "resumes at epoch" in text


def test_a_folder_that_cannot_be_written_is_said_in_one_line_with_exit_code_4(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o555)
    code, text = train(tmp_path, *SMALL, before=without_the_rights_of_root)
    assert code == 4
    assert "Permission denied: 'results/runs'" in one_line(text)


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_run_with_a_damaged_checkpoint_says_so_and_goes_on_from_the_one_before(copy: Path, share: float) -> None:
    truncate(run_folder(copy) / checkpoint.LAST, share)
    code, text = train(copy, *SMALL)
    assert code == 0
    assert (
        "last.ckpt is damaged: its SHA-256 is not the one in its header; resumes from the checkpoint before it" in text
    )


def test_a_run_with_both_checkpoints_damaged_refuses_to_start_and_changes_nothing(copy: Path) -> None:
    folder = run_folder(copy)
    for name in (checkpoint.LAST, checkpoint.PREVIOUS):
        truncate(folder / name, 0.5)
    before = (folder / "metrics.csv").read_bytes()
    code, text = train(copy, *SMALL)
    assert code == 1
    assert "delete the damaged files to start this run over" in one_line(text)
    assert (folder / "metrics.csv").read_bytes() == before


def test_a_checkpoint_that_is_whole_and_fits_no_training_is_refused_in_one_line(copy: Path) -> None:
    folder = run_folder(copy)
    saved, _ = checkpoint.read(folder, folder.name)
    assert saved is not None
    one = {**saved["tensors"], "kept": saved["tensors"]["kept"][:1]}  # which copying would spread over all
    for change in ({"tensors": {}}, {"tensors": one}, {"progress": {"epoch": 1, "hour": 2}}):
        checkpoint.write(folder, {**saved, **change})
        code, text = train(copy, *SMALL)
        assert code == 1
        assert "does not fit this run" in one_line(text)
