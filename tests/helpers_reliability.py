"""Commands as processes of their own that can be killed, without paying for ``import torch`` each time.

A server process imports torch once and forks a child for each command (multiprocessing's forkserver); a child is a
process like any other: it has its own pid, is killed by real signals and leaves by its exit code.

Waiting ends when what is waited for is there; ``BOUND`` only ends a test that would never end. Where a command must be
quick, its processor time counts: on a crowded machine the time on the wall says nothing.
"""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_servers = multiprocessing.get_context("forkserver")
_servers.set_forkserver_preload(
    ["torch", "torch.utils.deterministic", "numpy", "hydra.main", "hydra._internal.hydra", "tqdm", "filelock", "yaml"]
)

ROOT = Path(__file__).resolve().parent.parent

# A run of digits of a few seconds; one thread, since the numbers depend on how many there are.
SMALL = (
    *("data=digits", "loss=tgce", "loss.k=0.15", "schedule.epochs=8", "prune.start=2", "prune.every=2"),
    "runtime.threads=1",
)
EACH_STEP = "runtime.checkpoint_every=0"
BOUND = 600.0  # seconds


class Command:
    """``python -m noisygce.train`` with these arguments, started in ``folder``; its output goes to a file there.

    module: another command than train. before: called first, in the new process. file_limit: the largest file that it
    can write, in bytes, as on a disk that is full.
    """

    def __init__(
        self, folder: Path, *arguments: str, module: str = "train", before: Any = None, file_limit: int | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / f"output-{time.monotonic_ns()}"
        self.process = _servers.Process(
            target=_main, args=(str(folder), arguments, module, self.output, file_limit, before)
        )
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid
        return self.process.pid

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def wait(self, seconds: float = BOUND) -> int:
        """Its exit code; minus the signal's number if one ended it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.text()}")
        return self.process.exitcode

    def text(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def processor_seconds(self) -> float:
        """Computing time of a command that has ended: what it took, on a machine that does nothing else."""
        return float(self.output.with_suffix(".seconds").read_text())

    def seconds_after_signal(self) -> float:
        """Computing time from the last signal to the end."""
        return float(self.output.with_suffix(".after_signal").read_text())

    def until(self, condition: Callable[[], Any], seconds: float = BOUND) -> None:
        """Waits until the condition holds while the command runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.is_alive(), f"ended with {self.process.exitcode}:\n{self.text()}"
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.001)


def until(condition: Callable[[], Any], what: str, process: Any = None) -> Any:
    """Waits for what another process does, as long as that takes, but not once it has ended; what the condition gives
    then. process: such as subprocess.Popen gives."""
    deadline = time.monotonic() + BOUND
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        assert process is None or process.poll() is None, f"{what}: {process.returncode}"
        time.sleep(0.1)
    return found


def train(folder: Path, *arguments: str, **options: Any) -> tuple[int, str]:
    """Exit code and output of ``python -m noisygce.train`` with these arguments in ``folder``."""
    command = Command(folder, *arguments, **options)
    return command.wait(), command.text()


def _main(
    folder: str, arguments: tuple[str, ...], module: str, output: Path, file_limit: int | None, before: Any
) -> None:
    os.chdir(folder)
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.argv = ["noisygce", *arguments]
    if before:
        before()
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))
    asked = _note_signals()
    try:
        importlib.import_module(f"noisygce.{module}").main()
    finally:
        ended = time.process_time()
        output.with_suffix(".seconds").write_text(str(ended))
        if asked:
            output.with_suffix(".after_signal").write_text(str(ended - asked[-1]))


def _note_signals() -> list[float]:
    """The processor time of this process at each signal that a handler of Python's receives from now on."""
    seconds: list[float] = []
    install = signal.signal

    def noting(number: int, handler: Any) -> Any:
        def noted(*arguments: Any) -> Any:
            seconds.append(time.process_time())
            return handler(*arguments)

        return install(number, noted if callable(handler) else handler)

    signal.signal = noting  # type: ignore[assignment]
    return seconds


def call(function: Callable[..., None], *arguments: Any, seconds: float = BOUND) -> None:
    """Calls a function in a process of its own, in which it may fork, kill and limit; it must not fail."""
    process = _servers.Process(target=function, args=arguments)
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == 0, f"{function.__name__} ended with {process.exitcode}"


def without_the_rights_of_root() -> None:
    """Root may read and write anywhere; gives up both rights (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert libc.capget(header, sets) == 0
        sets[0] &= ~6  # of the effective set
        assert libc.capset(header, sets) == 0


def run_folder(folder: Path) -> Path:
    """The only run below ``folder``."""
    (found,) = (folder / "results" / "runs").iterdir()
    return found


def trained(folder: Path, *arguments: str) -> Path:
    """The folder of a run with these arguments, trained to its end below ``folder``."""
    code, text = train(folder, *arguments)
    assert code == 0, text
    return run_folder(folder)


def stamp(path: Path) -> int:
    """Changes whenever the file is replaced; 0 while it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def one_line(text: str) -> str:
    """What a command said in the end, which must be one line of ours and no stack trace."""
    assert "Traceback" not in text, text
    said = [line for line in text.splitlines() if line.startswith("noisygce: ")]
    assert len(said) == 1, text
    return said[0]


SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGXCPU]
