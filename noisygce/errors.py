"""What can go wrong in a run, each with the exit code of its command; messages are for the person at the keyboard.

0 done, 1 error, 2 bad config or data, 3 non-finite loss, 4 disk, 5 locked, 75 stopped and resumable, 141 no one reads
what it prints any more.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


class NoisygceError(RuntimeError):
    exit_code = 1


class ConfigError(NoisygceError):
    """A config that cannot be run."""

    exit_code = 2


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
    """A fault in a person's own model, noise or loss: its file and line, and what Python says of it."""

    exit_code = 2


class CheckpointError(NoisygceError):
    """A checkpoint that cannot be used: which file, and why."""


class ManifestError(NoisygceError):
    """A manifest that cannot be used: which file, and why."""


class SweepFailed(NoisygceError):
    """Some runs of a sweep failed; the others are done. The exit code is theirs where it is the same for all."""

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
    """Ends the process without a word, exit code ``UNREAD``, once who reads its output has gone, such as ``head``."""
    try:
        yield
        sys.stdout.flush()  # here, since where Python does so at its end, a trace is left
    except BrokenPipeError:
        if not _unread():
            raise
        _to_nowhere()
        sys.exit(UNREAD)
    except BaseException:  # says more than that no one reads what was printed before it
        try:
            sys.stdout.flush()
        except OSError:
            _to_nowhere()
        raise


def _to_nowhere() -> None:
    """Lets go of what standard output still holds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unread() -> bool:
    """Whether standard output is a pipe whose other end is closed."""
    try:
        poll = select.poll()
        poll.register(sys.stdout, 0)
        return bool(poll.poll(0))
    except AttributeError:  # Windows has no poll
        return True
    except (OSError, ValueError):  # a stream that is no file
        return False


def user_code_error(error: BaseException) -> UserCodeError | None:
    """What a person should know of an error that came out of their own code, which this package has called: neither
    this package's, nor Python's, nor installed, nor a plugin of Hydra's. None where it came through none, or says all
    there is to say."""
    import sysconfig
    import traceback

    if not isinstance(error, Exception) or isinstance(error, NoisygceError | MemoryError):
        return None
    others = [Path(__file__).parent, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))]
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    ours = (i for i, (name, _) in enumerate(places) if Path(name).is_relative_to(Path(__file__).parent))
    places = places[next(ours, 0) :]  # what is before has called this package: a console script, a program around it
    if isinstance(error, SyntaxError):
        places.append((str(error.filename), error.lineno))
    for name, line in reversed(places):
        path = Path(name)
        # also a user's and the system's, and plugins that are installed from a checkout, such as our own
        installed = {"site-packages", "dist-packages", "hydra_plugins"} & {*path.parts}
        if path.is_file() and not installed and not any(path.resolve().is_relative_to(o.resolve()) for o in others):
            return UserCodeError(f"{_shown(path)}:{line}: {type(error).__name__}: {error}".splitlines()[0])
    return None


def defined(kind: type) -> str:
    """Where a class is written, FILE:LINE, and its name."""
    import inspect

    try:
        return f"{_shown(Path(inspect.getfile(kind)))}:{inspect.getsourcelines(kind)[1]}: {kind.__name__}"
    except (OSError, TypeError):
        return kind.__name__


def _shown(path: Path) -> Path:
    """A path as it is written from the current folder, where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
