"""What every data set is: ``Data``, verified files -> ``Arrays``.

N training samples (validation included), K classes. Images are uint8 (N, H, W, C).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from noisygce import check
from noisygce.errors import DataError

Ints = NDArray[np.int64]
_RETRY = 60.0  # seconds before a fetch that failed is tried again, so that the runs of a sweep do not wait one by one
_failed: dict[tuple[str, Path], tuple[float, str]] = {}  # class and root: when this process failed to fetch it, and why


@dataclass(frozen=True)
class Arrays:
    """A data set as published. images (N, H, W, C) uint8, labels (N,) int64, K class names."""

    train_images: NDArray[np.uint8]
    train_labels: Ints
    test_images: NDArray[np.uint8]
    test_labels: Ints
    classes: tuple[str, ...]


class Data:
    """A data set and how it is fed: subclasses give ``load``.

    subset: train on this many images, stratified by true label, with validation and test cut in proportion (for
    smoke runs); null for all. validation: images held out of the training set. normalise: "channel" subtracts the
    channel's mean and divides by its std; "pixel_mean" subtracts each pixel's mean over the training set (the paper's).
    mean, std: per channel, in units of the full range 0..1. padding: zero pixels on each side before the random crop.
    flip: horizontally, with probability 1/2. class_map: the classes that ``noise=class_map`` confuses.
    """

    full: ClassVar[int] = 0  # training images, validation included
    channels: ClassVar[int] = 0  # of its images; 0: not known before they are read
    files: ClassVar[Mapping[str, str]] = {}  # path below the data root: its MD5
    _kept: ClassVar[tuple[Any, Any]] = (None, None)  # which files in which state, and the arrays read from them

    def __init__(
        self,
        subset: int | None,
        validation: int,
        normalise: str,
        mean: list[float],
        std: list[float],
        padding: int,
        flip: bool,
        class_map: Mapping[str, str] | str,
    ) -> None:
        most = self.full or 2**31
        self.validation = check.whole("validation", validation, f"[1, {most - 1}]")
        self.subset = subset if subset is None else check.whole("subset", subset, f"[1, {most - validation}]")
        self.normalise = check.choice("normalise", normalise, ("channel", "pixel_mean"))
        self.mean = check.numbers("mean", mean, "[0, 1]")
        self.std = check.numbers("std", std, "(0, 1]")
        for key, values in (("mean", self.mean), ("std", self.std)):
            if self.channels and len(values) != self.channels:
                raise check.Invalid(key, list(values), f"a list of {self.channels}, one for each channel")
        self.padding = check.whole("padding", padding, "[0, 64]")
        self.flip = check.flag("flip", flip)
        self.class_map = class_map

    def load(self, root: Path) -> Arrays:
        """The verified arrays of the files below ``root``; fetched first when missing. Raises DataError.

        Those read last are kept while their files stay as they are: the next run of a sweep mostly wants them too.
        """
        self.require(root)
        what = type(self), str(sorted(vars(self).items()))
        files, kept = (*what, *(_state(root / name) for name in self.files)), Data._kept
        if not self.files or files != kept[0]:
            self._verify(root)
            kept = Data._kept = files, self._read(root)
        arrays: Arrays = kept[1]
        # Labels are the caller's own: noise may be written into them.
        return replace(arrays, train_labels=arrays.train_labels.copy(), test_labels=arrays.test_labels.copy())

    def require(self, root: Path) -> None:
        """Fetches the files that are missing below ``root``. Raises DataError, naming them, where that fails."""
        missing = [name for name in self.files if not (root / name).is_file()]
        if missing:
            self._fetch_or_explain(root, missing)

    def _read(self, root: Path) -> Arrays:
        raise NotImplementedError

    def _fetch(self, root: Path) -> None:
        raise NotImplementedError

    def _verify(self, root: Path) -> None:
        for name, expected in self.files.items():
            found = hashlib.md5((root / name).read_bytes(), usedforsecurity=False).hexdigest()
            if found != expected:
                raise DataError(
                    f"{root / name} is damaged or another file: its MD5 is {found}, the published one {expected}; "
                    "delete it and start again to fetch it, or put the official file there"
                )

    def _fetch_or_explain(self, root: Path, missing: list[str]) -> None:
        from filelock import FileLock

        name = type(self).__name__
        when, cause = _failed.get((name, root.absolute()), (-_RETRY, ""))
        if time.monotonic() - when >= _RETRY:
            try:
                root.mkdir(parents=True, exist_ok=True)
                with FileLock(root / ".fetch.lock"):  # runs started side by side fetch once
                    self._fetch(root)
                return
            except Exception as error:
                cause = f"{type(error).__name__}: {error}".splitlines()[0]
                _failed[name, root.absolute()] = (time.monotonic(), cause)
        raise DataError(
            f"{name} is not in {root} and could not be fetched ({cause}); put these files there, "
            f"or name another folder with paths.data=FOLDER or NOISYGCE_DATA: {', '.join(missing)}"
        )


def _state(path: Path) -> tuple[Any, ...]:
    """What changes when a file does."""
    found = path.stat()
    return str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns


class quiet:
    """Keeps a download's progress bars and prints from standard output."""

    def __enter__(self) -> None:
        import contextlib

        self._null = open(os.devnull, "w")
        self._redirect = contextlib.redirect_stdout(self._null)
        self._redirect.__enter__()

    def __exit__(self, *error: object) -> None:
        self._redirect.__exit__(None, None, None)
        self._null.close()
