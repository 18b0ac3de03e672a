"""A run is never lost: kills, signals, locks, other folders, clocks."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers_reliability import BOUND, EACH_STEP, ROOT, SIGNALS, SMALL, Command, one_line, run_folder, stamp, train

from noisygce.errors import Stopped
from noisygce.runs import stops


def result(folder: Path) -> tuple[bytes, str, Any]:
    """What must be equal: metrics byte for byte, digest of weights, momenta and statistics, accuracies."""
    run = run_folder(folder)
    manifest = json.loads((run / "manifest.json").read_text())
    return (run / "metrics.csv").read_bytes(), manifest["state_sha256"], manifest["results"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str, Any]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    code, text = train(folder, *SMALL)
    assert code == 0, text
    return result(folder)


def kill_and_start_again(start: Any, folder: Path, seed: int, most: int) -> int:
    """Starts, kills some steps and a moment later, and so on; then lets it come to its end. How often it was killed."""
    instants = random.Random(seed)
    kills = 0
    while True:
        process = start()
        if kills == most:
            break
        try:
            for _ in range(instants.randint(1, 5)):
                seen = last_checkpoint(folder)
                process.until(lambda seen=seen: last_checkpoint(folder) not in (0, seen))
        except AssertionError:
            break  # it has ended
        time.sleep(instants.uniform(0, 0.01))
        process.kill()
        kills += 1
    assert process.wait() == 0, process.text()
    return kills


def last_checkpoint(folder: Path) -> int:
    return sum(stamp(path) for path in folder.glob("results/runs/*/last.ckpt"))


def test_a_run_killed_at_random_instants_ends_as_the_uninterrupted_one(
    tmp_path: Path, uninterrupted: tuple[bytes, str, Any]
) -> None:
    kills = kill_and_start_again(lambda: Command(tmp_path, *SMALL, EACH_STEP), tmp_path, seed=0, most=15)
    assert result(tmp_path) == uninterrupted
    assert kills >= 10
    left = sorted(path.name for path in run_folder(tmp_path).iterdir())
    kept = ["model.safetensors", "predictions.npz"]
    assert left == ["config.yaml", "lock", "manifest.json", "metrics.csv", *kept, "train.log"]


class Interpreter:
    """``python -m noisygce.train`` as a shell starts it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output = folder / "output"
        self.process: Any = subprocess.Popen(
            [sys.executable, "-m", "noisygce.train", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=self.output.open("a"),
            stderr=subprocess.STDOUT,
        )
        self.process.is_alive, self.process.exitcode = lambda: self.process.poll() is None, "its exit code"

    until = Command.until

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        return int(self.process.wait(BOUND))

    text = Command.text


@pytest.mark.slow
def test_a_real_interpreter_killed_at_random_instants_ends_as_the_uninterrupted_run(
    tmp_path: Path, uninterrupted: tuple[bytes, str, Any]
) -> None:
    kills = kill_and_start_again(lambda: Interpreter(tmp_path, *SMALL, EACH_STEP), tmp_path, seed=1, most=10)
    assert result(tmp_path) == uninterrupted
    assert kills >= 10


@pytest.mark.slow
def test_a_kill_at_any_instant_of_the_start_leaves_nothing_that_hinders_the_next(
    tmp_path: Path, uninterrupted: tuple[bytes, str, Any]
) -> None:
    instants = random.Random(2)
    for _ in range(30):
        command = Command(tmp_path, *SMALL)  # no checkpoint by time within so short a run
        time.sleep(instants.uniform(0, 0.8))
        command.kill()
    code, text = train(tmp_path, *SMALL)
    assert code == 0, text
    assert result(tmp_path) == uninterrupted


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_saves_and_stops_within_two_seconds_with_exit_code_75(
    tmp_path: Path, number: signal.Signals, uninterrupted: tuple[bytes, str, Any]
) -> None:
    command = Command(tmp_path, *SMALL)
    command.until(lambda: "images on cpu" in command.text() and "epoch 2/" in command.text())
    command.send(number)
    assert command.wait() == 75
    assert command.seconds_after_signal() < 2
    assert "is saved at epoch" in one_line(command.text())
    assert "start the same command again to resume" in one_line(command.text())
    code, text = train(tmp_path, *SMALL)
    assert code == 0
    assert "resumes at epoch" in text
    assert result(tmp_path) == uninterrupted


@pytest.mark.parametrize("first", [1, 7], ids=["validation", "pruning"])
def test_a_signal_during_a_long_evaluation_does_not_wait_for_its_end(
    tmp_path: Path, first: int, uninterrupted: tuple[bytes, str, Any]
) -> None:
    command = Command(tmp_path, *SMALL, before=_SlowEvaluation(first))
    command.until(lambda: "evaluating" in command.text())
    command.send(signal.SIGTERM)
    assert command.wait() == 75
    assert command.text().count("evaluating") == 1  # there are two more batches at least
    assert f"is saved at epoch {1 if first == 1 else 2}, step 11 (SIGTERM)" in one_line(command.text())
    code, text = train(tmp_path, *SMALL)
    assert code == 0
    assert "step 11" in text
    assert result(tmp_path) == uninterrupted


class _SlowEvaluation:
    """The n-th batch of an evaluation lasts until the signal: 1 is validation, 7 the pruning after epoch 2."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __call__(self) -> None:
        from noisygce.runs.stops import process
        from noisygce.training.evaluate import Evaluation

        of_batch, count = Evaluation._of_batch, iter(range(1, 1000))

        def slow(*arguments: Any) -> Any:
            if next(count) >= self.first:
                print("evaluating", flush=True)
                while not process.signal:
                    time.sleep(0.01)
            return of_batch(*arguments)

        Evaluation._of_batch = slow  # type: ignore[method-assign]


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_before_training_stops_within_two_seconds_too(tmp_path: Path, number: signal.Signals) -> None:
    before = Command(tmp_path, *SMALL, before=_slow_data)
    before.until(lambda: any(tmp_path.glob("results/runs/*/owner.json")))
    before.send(number)
    assert before.wait() == 75
    assert before.seconds_after_signal() < 2
    assert number.name in one_line(before.text())


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(
    tmp_path: Path, uninterrupted: tuple[bytes, str, Any]
) -> None:
    command = Command(tmp_path, *SMALL, before=_nohup)
    command.until(lambda: "epoch 2/" in command.text())
    command.send(signal.SIGHUP)
    assert command.wait() == 0, command.text()
    assert result(tmp_path) == uninterrupted


def _nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.parametrize("mode", [(), ("-m",)], ids=["alone", "sweep"])
def test_a_handler_that_is_there_before_is_called_once_after_saving(tmp_path: Path, mode: tuple[str, ...]) -> None:
    command = Command(tmp_path, *mode, *SMALL, "runtime.checkpoint_every=3600", before=_requeues)
    command.until(lambda: "epoch 2/" in command.text())
    command.send(signal.SIGUSR2)
    assert command.wait() == 9, command.text()  # its own exit code
    assert (tmp_path / "requeued").read_text() == f"{signal.SIGUSR2:d}, 1 checkpoint\n"


def _requeues() -> None:
    """What submitit does: a handler of its own, which requeues the job and ends the process."""

    def requeue(number: int, _: Any) -> None:
        saved = len([*Path.cwd().glob("results/runs/*/last.ckpt")])
        with open("requeued", "a") as file:
            file.write(f"{number}, {saved} checkpoint\n")
        sys.exit(9)

    signal.signal(signal.SIGUSR2, requeue)


def test_a_signal_whose_exception_is_swallowed_still_stops_before_the_run_begins(tmp_path: Path) -> None:
    command = Command(tmp_path, *SMALL, before=_swallows)
    assert command.wait() == 75, command.text()
    assert "stopped (SIGTERM)" in one_line(command.text())
    assert not [*tmp_path.glob("results/runs/*/metrics.csv")]


def _swallows() -> None:
    """A signal that arrives where Python cannot raise, such as in a destructor."""
    from noisygce import settings

    read = settings.read

    def swallowing(cfg: Any) -> Any:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except BaseException:
            pass
        return read(cfg)

    settings.read = swallowing


def test_handlers_are_set_in_the_main_thread_alone() -> None:
    from noisygce.runs.stops import Process

    before = [signal.getsignal(number) for number in SIGNALS]
    thread = threading.Thread(target=Process().listen)
    thread.start()
    thread.join()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def _slow_data() -> None:
    """A data set that never comes: nothing can be saved during that time."""
    from noisygce.data import Digits

    Digits.load = lambda *_: time.sleep(10 * BOUND)  # type: ignore[assignment,method-assign]


def test_a_second_ctrl_c_stops_at_once_and_loses_only_what_was_not_saved(
    tmp_path: Path, uninterrupted: tuple[bytes, str, Any]
) -> None:
    command = Command(tmp_path, *SMALL, EACH_STEP, before=_endless_save)
    command.until(lambda: "saving" in command.text())
    command.send(signal.SIGINT)
    command.until(lambda: "Ctrl-C again stops at once" in command.text())
    command.send(signal.SIGINT)
    assert command.wait() == 75
    assert command.seconds_after_signal() < 1
    assert "stopped at once" in one_line(command.text())
    assert train(tmp_path, *SMALL)[0] == 0
    assert result(tmp_path) == uninterrupted


def _endless_save() -> None:
    """A disk that takes no more from the 20th checkpoint on."""
    from noisygce.runs import checkpoint

    write, count = checkpoint.write, iter(range(1000))

    def slow(folder: Path, content: dict[str, Any]) -> None:
        if next(count) >= 20:
            print("saving", flush=True)
            time.sleep(10 * BOUND)
        write(folder, content)

    checkpoint.write = slow


def test_stop_after_saves_and_stops_by_itself(tmp_path: Path) -> None:
    command = Command(tmp_path, *SMALL, "runtime.stop_after=2h", before=_two_hours_in_epoch_3)
    assert command.wait() == 75
    said = one_line(command.text())
    assert "is saved at epoch 3, step 1 (runtime.stop_after=7200s); start the same command again" in said
    assert (run_folder(tmp_path) / "last.ckpt").exists()


def _two_hours_in_epoch_3() -> None:
    """The first step of the third epoch takes two hours, by the clock that an allowance is measured with."""
    from noisygce.runs.stops import process
    from noisygce.runs.watch import RunMonitor

    after = RunMonitor.after_step

    def slow(self: Any, training: Any, images: int) -> None:
        if (training.progress.epoch, training.progress.step) == (2, 1):
            process.started -= 7200
        after(self, training, images)

    RunMonitor.after_step = slow  # type: ignore[method-assign]


def test_a_second_process_is_refused_at_once_by_pid_and_host_and_let_in_after_a_kill(tmp_path: Path) -> None:
    first = Command(tmp_path, *SMALL, "schedule.epochs=100000")
    first.until(lambda: "epoch 1/" in first.text())
    second = Command(tmp_path, *SMALL, "schedule.epochs=100000")
    assert second.wait() == 5
    assert second.processor_seconds() < 1
    assert f"process {first.pid} on {socket.gethostname()}" in one_line(second.text())
    first.kill()
    third = Command(tmp_path, *SMALL, "schedule.epochs=100000")
    third.until(lambda: "epoch 1/" in third.text())
    third.kill()


def test_a_folder_copied_to_another_place_goes_on_there(tmp_path: Path, uninterrupted: tuple[bytes, str, Any]) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    command = Command(here, *SMALL, EACH_STEP)
    command.until(lambda: "epoch 2/" in command.text())
    command.kill()
    shutil.copytree(here / "results", there / "results", symlinks=True)  # lock, owner and temporary files come along
    code, text = train(there, *SMALL)
    assert code == 0
    assert "resumes at epoch" in text
    assert result(there) == uninterrupted


def test_a_run_that_goes_on_with_another_number_of_threads_says_so_in_its_manifest(tmp_path: Path) -> None:
    for starts, threads in enumerate((1, 2, 1)):
        command = Command(tmp_path, *SMALL, f"runtime.threads={threads}", EACH_STEP)
        if starts == 2:
            assert command.wait() == 0
            break
        before = last_checkpoint(tmp_path)
        command.until(lambda before=before: last_checkpoint(tmp_path) not in (0, before))
        command.kill()
    manifest = json.loads((run_folder(tmp_path) / "manifest.json").read_text())
    assert manifest["threads"] == 1
    assert [other["threads"] for other in manifest["also_made"]] == [2]


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, jump: float, uninterrupted: tuple[bytes, str, Any]) -> None:
    code, text = train(tmp_path, *SMALL, "runtime.stop_after=1h", before=_Jump(jump))
    assert code == 0, text
    assert result(tmp_path) == uninterrupted
    assert 0 < json.loads((run_folder(tmp_path) / "manifest.json").read_text())["seconds"] < 3600


class _Jump:
    """Moves the clock on the wall by so many seconds between any two looks at it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> None:
        real, moved = time.time, [0.0]

        def jumping() -> float:
            moved[0] += self.seconds
            return real() + moved[0]

        time.time = jumping


def test_a_signal_stops_also_where_the_code_that_it_interrupts_raises_another_error() -> None:
    """As Hydra and OmegaConf do, which clean up in ``finally``; an error of before or after the signal stays."""
    ours, handlers = stops.Process(), {name: signal.getsignal(getattr(signal, name)) for name in stops.SIGNALS}

    def interrupted() -> None:
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            raise AttributeError("of the cleaning up")

    try:
        ours.listen()
        with pytest.raises(KeyError), ours.handing_on():
            raise KeyError("before")
        with pytest.raises(Stopped, match=r"^stopped \(SIGUSR1\)"), ours.handing_on():
            interrupted()
        with pytest.raises(OSError, match="no space"), ours.handing_on():
            raise OSError("no space")
    finally:
        for name, handler in handlers.items():
            signal.signal(getattr(signal, name), handler)


def test_checkpoints_that_a_kill_has_left_beside_a_manifest_are_dropped(tmp_path: Path) -> None:
    code, text = train(tmp_path, *SMALL)
    assert code == 0, text
    folder = run_folder(tmp_path)
    for again in ((), ("-m",)):
        for name in ("last.ckpt", "previous.ckpt", "owner.json"):
            (folder / name).write_text("{}")
        code, text = train(tmp_path, *again, *SMALL)
        assert code == 0, text
        assert not {"last.ckpt", "previous.ckpt", "owner.json"} & {path.name for path in folder.iterdir()}
