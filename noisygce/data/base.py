"""What every data set is: ``Data``, files -> ``Arrays``. N training samples (validation included), K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Arrays:
    """Images (N, H, W, C) uint8, labels (N,) int64 and K class names of a data set.

    truth: whether the labels are known to be the true ones; if not, nothing can be said of which are wrong.
    train_names, test_names: what the samples are called, such as their files; none where they are known by number.
    """

    train_images: NDArray[np.uint8]
    train_labels: Ints
    test_images: NDArray[np.uint8]
    test_labels: Ints
    classes: tuple[str, ...]
    truth: bool = True
    train_names: tuple[str, ...] = ()
    test_names: tuple[str, ...] = ()


class Data:
    """Where samples come from: subclasses give ``inputs`` and ``_read``. Their values shape what is read, no more."""

    full: ClassVar[int] = 0  # training images, validation included; 0: not known before they are read
    channels: int = 0  # of its images; 0: not known before they are read
    files: ClassVar[Mapping[str, str]] = {}  # published files below the data root: their MD5
    _kept: ClassVar[tuple[Any, Any]] = (None, None)  # what was read last, from which files in which state

    def load(self, root: Path) -> Arrays:
        """The arrays made from the files below ``root``; fetched first when missing, verified. Raises DataError.

        Those read last are kept while their files stay as they are: the next run of a sweep mostly wants them too.
        """
        self.require(root)
        source = type(self), str(sorted(vars(self).items())), *map(_state, self.inputs(root))
        kept = Data._kept
        if source != kept[0]:
            kept = Data._kept = source, self._read(root)
        arrays: Arrays = kept[1]
        # Labels are the caller's own: noise may be written into them.
        return replace(arrays, train_labels=arrays.train_labels.copy(), test_labels=arrays.test_labels.copy())

    def require(self, root: Path) -> None:
        """Sees to it that the files are below ``root``. Raises DataError, naming what is missing."""

    def inputs(self, root: Path) -> Sequence[Path]:
        """The files that are read."""
        return [root / name for name in self.files]

    def _read(self, root: Path) -> Arrays:
        raise NotImplementedError


def _state(path: Path) -> tuple[Any, ...]:
    """What changes when a file does."""
    found = path.stat()
    return str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns
