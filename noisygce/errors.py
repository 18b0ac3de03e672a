"""What can go wrong in a run, each with the exit code of its command; messages are for the person at the keyboard.

0 done, 1 error, 2 bad config or data, 3 non-finite loss, 4 disk, 5 locked, 75 stopped and resumable.
"""

from __future__ import annotations

from collections.abc import Iterable


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


class Stopped(BaseException):
    """Training was asked to stop, and is saved. Not an Exception: it ends a sweep too."""

    exit_code = 75
