"""Errors of a run, each with the exit code of its command; messages are for the person at the keyboard.

0 done, 1 error, 2 bad config or data, 3 non-finite loss, 4 disk, 5 locked, 75 stopped and resumable, 141 no reader of
the output.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


class NoisygceError(RuntimeError):
    exit_code = 1


class ConfigError(NoisygceError):
    """A config that cannot be run."""

    exit_code = 2


class MissingCode(ConfigError):
    """A module of a person's own that is not where Python looks."""


class DataError(NoisygceError):
    """Files that are missing, damaged or of another data set."""

    exit_code = 2


class MissingData(DataError):
    """A file that is not there."""


class NonFinite(NoisygceError):
    """The loss or the weights are no longer finite numbers."""

    exit_code = 3


class Locked(NoisygceError):
    """Another process works on the run."""

    exit_code = 5


class UserCodeError(NoisygceError):
    """A fault in a person's own model, noise or loss: its file and line, and Python's message."""

    exit_code = 2


class CheckpointError(NoisygceError):
    """A checkpoint that cannot be used: which file, and why."""


class ManifestError(NoisygceError):
    """A manifest that cannot be used: which file, and why."""


class SweepFailed(NoisygceError):
    """Some runs of a sweep failed. The exit code is that of the failed runs where they have the same, else 1."""

    def __init__(self, message: str, exit_codes: Iterable[int]) -> None:
        super().__init__(message)
        same = set(exit_codes)
        self.exit_code = same.pop() if len(same) == 1 else 1


class Saved(NoisygceError):
    """A run of a sweep that was asked to stop, and is saved: as the worker of an engine hands it back."""

    exit_code = 75


class EngineFailed(NoisygceError):
    """What starts the workers of a sweep, such as joblib or SLURM, has failed."""


class WorkerDied(EngineFailed):
    """The worker of a run has ended without a word: it was killed, or has run out of memory."""


class Stopped(BaseException):
    """Training was asked to stop, and is saved. Not an Exception: it ends a sweep too."""

    exit_code = 75


DISK = 4  # of an OSError
UNREAD = 141  # 128 + SIGPIPE, as shells say of a program that the signal ends


@contextlib.contextmanager
def exit_quietly_on_broken_pipe() -> Iterator[None]:
    """Ends the process without a word, exit code ``UNREAD``, once the reader of its output has gone, such as ``head``.
    Any other error is raised, also where no one reads the output before it."""
    try:
        yield
        sys.stdout.flush()  # here, since Python leaves a trace where it flushes at its end
    except BaseException as error:
        try:
            sys.stdout.flush()
        except OSError:  # drops the output, or Python would flush it once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(UNREAD)
        raise


def user_code_error(error: BaseException) -> UserCodeError | None:
    """The error of a person's own code that this package has called: code that is neither this package's, nor Python's,
    nor installed, nor a plugin of Hydra. None where the error came through no such code, or is a NoisygceError."""
    import sysconfig
    import traceback

    if not isinstance(error, Exception) or isinstance(error, NoisygceError | MemoryError):
        return None
    package = Path(__file__).parent
    installed = [package, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))]
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    first = next((place for place, (path, _) in enumerate(frames) if path.is_relative_to(package)), 0)
    frames = frames[first:]  # the frames before have called this package: a console script, a program around it
    if isinstance(error, SyntaxError):
        frames.append((Path(str(error.filename)), error.lineno))
    for path, line in reversed(frames):
        # also a user's and the system's, and plugins that are installed from a checkout, such as noisygce's own
        if {"site-packages", "dist-packages", "hydra_plugins"} & {*path.parts} or not path.is_file():
            continue
        if not any(path.resolve().is_relative_to(folder.resolve()) for folder in installed):
            return UserCodeError(f"{_shown(path)}:{line}: {first_line(error)}")
    return None


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of its message; the type alone where the message is blank."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def counted(n: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def installing(package: str) -> str:
    """The command that installs a package beside this one."""
    import importlib.util
    import shlex

    pip = [sys.executable, "-m", "pip", "install"]
    uv = ["uv", "pip", "install", "--python", sys.executable]  # an environment that uv has made has no pip
    return shlex.join([*(pip if importlib.util.find_spec("pip") else uv), package])


def defined(kind: type) -> str:
    """FILE:LINE of the definition of a class, and its name."""
    import inspect

    try:
        return f"{_shown(Path(inspect.getfile(kind)))}:{inspect.getsourcelines(kind)[1]}: {kind.__name__}"
    except (OSError, TypeError):
        return kind.__name__


def _shown(path: Path) -> Path:
    """A path relative to the current folder, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
