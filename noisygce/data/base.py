"""What every data set is: ``Data``, files -> ``Arrays``. N training samples (validation included), K classes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from noisygce import inputs
from noisygce.data.preprocessing import Preprocessing, blocks
from noisygce.errors import DataError, UserCodeError, defined

Ints = NDArray[np.int64]
Images = NDArray[Any]  # uint8: pixels; floats: numbers that stand for themselves

LARGEST = np.finfo(np.float32).max  # what is larger is infinite in float32, in which networks compute


@dataclass(frozen=True)
class Arrays:
    """Images (N, H, W, C) uint8, labels (N,) int64 and K class names of a data set.

    Vectors of D numbers are images (N, 1, 1, D) of floats, which stand for themselves; pixels are divided by 255.
    Test images may be none, (0, H, W, C).
    truth: whether the labels are known to be the true ones; if not, no sample is known to be mislabelled.
    train_names, test_names: what the samples are called, such as their files; none where they are known by number.
    """

    train_images: Images
    train_labels: Ints
    test_images: Images
    test_labels: Ints
    classes: tuple[str, ...]
    truth: bool = True
    train_names: tuple[str, ...] = ()
    test_names: tuple[str, ...] = ()


class Data:
    """Where samples come from: subclasses give ``inputs`` and ``_read``. Their values shape what is read, no more."""

    full: ClassVar[int] = 0  # training images, validation included; 0: not known before they are read
    channels: int = 0  # of its images; 0: not known before they are read
    side: int = 0  # height and width of its images; 0: not known before they are read
    classes: ClassVar[tuple[str, ...]] = ()  # their names in order; none: not known before they are read
    files: ClassVar[Mapping[str, str]] = {}  # published files below the data root: their MD5
    fed: ClassVar[type[Preprocessing]] = Preprocessing  # how its images are fed to a network
    _kept: ClassVar[tuple[Any, Any]] = (None, None)  # what was read last, from which files in which state

    def load(self, root: Path) -> Arrays:
        """The arrays made from the files below ``root``; fetched first when missing, verified. Raises DataError.

        Those read last are kept while their files stay as they are: the next run of a sweep mostly wants them too.
        """
        self.require(root)
        read = [*self.inputs(root)]
        if other := [each for each in read if not isinstance(each, Path)]:
            raise UserCodeError(f"{defined(type(self))}: inputs must give paths (pathlib.Path), not {_kind(other[0])}")
        source = type(self), str(sorted(vars(self).items())), *map(inputs.state, read)
        kept = Data._kept
        if source != kept[0]:
            found = self._read(root)
            if fault := fault_of(found):
                raise UserCodeError(f"{defined(type(self))}: {fault}")
            kept = Data._kept = source, found
        arrays: Arrays = kept[1]
        # Labels are the caller's own: noise may be written into them.
        train, test = arrays.train_labels.astype(np.int64), arrays.test_labels.astype(np.int64)
        return replace(arrays, train_labels=train, test_labels=test)

    def require(self, root: Path) -> None:
        """Sees to it that the files are below ``root``. Raises DataError, naming what is missing."""

    def inputs(self, root: Path) -> Sequence[Path]:
        """The files that are read."""
        return [root / name for name in self.files]

    def contents(self, root: Path) -> Mapping[str, str]:
        """SHA-256 of a person's own files, by the value that says where they lie: a run's id is made from what they
        hold. Empty where this code knows the files by their digests. Raises DataError or OSError where any cannot be
        read: an id never stands for less than a run is trained on."""
        return {}

    def _read(self, root: Path) -> Arrays:
        raise UserCodeError(f"{defined(type(self))} has no _read(root)")


def fault_of(arrays: Arrays) -> str | None:
    """What a data set gives that no run can be trained or judged by; None: nothing."""
    if not isinstance(arrays, Arrays):
        return f"_read must give noisygce.data.Arrays, not {_kind(arrays)}"
    for name in ("classes", "train_names", "test_names"):
        if not isinstance(given := getattr(arrays, name), tuple) or not all(isinstance(each, str) for each in given):
            return f"{name} must be a tuple of texts, not {_kind(given)}"
    classes, k = arrays.classes, len(arrays.classes)
    if k < 2 or len({*classes}) < k:
        return f"classes must be at least two different names, not {classes}"
    faults = (_fault_of_part(part, arrays, k) for part in ("train", "test"))
    if fault := next(filter(None, faults), None):
        return fault
    one, other = arrays.train_images, arrays.test_images
    if not len(one):
        return "there is no training image"
    if len(other) and (one.shape[1:] != other.shape[1:] or one.dtype.kind != other.dtype.kind):
        return f"test_images must be of the size and kind of train_images, {_kind(one)}, not {_kind(other)}"
    return None


def _fault_of_part(part: str, arrays: Arrays, k: int) -> str | None:
    """The same of the training or the test samples; k: classes."""
    x, y, names = (getattr(arrays, f"{part}_{what}") for what in ("images", "labels", "names"))
    if not isinstance(x, np.ndarray) or x.ndim != 4 or not (x.dtype == np.uint8 or x.dtype.kind == "f"):
        return f"{part}_images must be an array (N, H, W, C) of uint8 or floats, not {_kind(x)}"
    if not isinstance(y, np.ndarray) or y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        return f"{part}_labels must be an array of {len(x):,} integers, one for each image, not {_kind(y)}"
    if len(y) and not 0 <= y.min() <= y.max() < k:
        return f"{part}_labels must be in 0..{k - 1}, the places of classes; they go from {y.min()} to {y.max()}"
    if x.dtype.kind == "f" and not all((np.abs(x[rows]) <= LARGEST).all() for rows in blocks(len(x))):
        return f"{part}_images must be finite numbers in float32; there are NaN, infinite or larger ones"
    if len(x) and x.dtype.kind == "f" and x.shape[1:3] != (1, 1):
        return f"{part}_images of floats must be vectors (N, 1, 1, D), not {_kind(x)}; give pictures as uint8"
    if names and len(names) != len(x):
        return f"{part}_names must be none or {len(x):,}, one for each image, not {len(names):,}"
    return None


def _kind(found: Any) -> str:
    return f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__


def refuse_too_large(what: str, size: int, advice: str) -> None:
    """Raises DataError where arrays of ``size`` bytes are more than the memory of this machine."""
    if size > (memory := memory_of_machine()):
        raise DataError(f"{what} take {size / 1e9:,.1f} GB, and this machine has {memory / 1e9:,.1f} GB; {advice}")


def memory_of_machine() -> float:
    """In bytes; infinite on a system that does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return math.inf
