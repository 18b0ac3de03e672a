"""Data sets: verified files -> ``Arrays``.

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


class Cifar10(Data):
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32, 10 classes."""

    full, channels = 50_000, 3
    files = {
        f"cifar-10-batches-py/{name}": md5
        for name, md5 in {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        }.items()
    }

    def _torchvision(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10

    def _fetch(self, root: Path) -> None:
        with _quiet():
            self._torchvision()(root, download=True)

    def _read(self, root: Path) -> Arrays:
        train, test = (self._torchvision()(root, train=part) for part in (True, False))
        return Arrays(
            train.data, np.asarray(train.targets), test.data, np.asarray(test.targets), tuple(map(str, train.classes))
        )


class Cifar100(Cifar10):
    """CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32, 100 classes."""

    files = {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    }

    def _torchvision(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100


class FashionMnist(Data):
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 60,000 + 10,000 grey images of 28x28, 10 classes."""

    full, channels = 60_000, 1
    files = {  # MD5 of the unpacked files; torchvision checks the packed ones
        f"FashionMNIST/raw/{name}": md5
        for name, md5 in {
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        }.items()
    }

    def _fetch(self, root: Path) -> None:
        from torchvision.datasets import FashionMNIST

        with _quiet():
            FashionMNIST(root, download=True)

    def _read(self, root: Path) -> Arrays:
        from torchvision.datasets import FashionMNIST

        train, test = (FashionMNIST(root, train=part) for part in (True, False))
        # The class names go into noise=class_map, where a slash would be awkward to type.
        names = tuple(name.replace("T-shirt/top", "T-shirt").replace("Ankle boot", "Boot") for name in train.classes)
        return Arrays(
            train.data.numpy()[..., None],
            train.targets.numpy().astype(np.int64),
            test.data.numpy()[..., None],
            test.targets.numpy().astype(np.int64),
            names,
        )


class Digits(Data):
    """UCI digits: 1,500 + 297 grey images of 8x8, 10 classes, shipped in the package (noisygce/digits/README.md)."""

    full, channels = 1_500, 1
    sha256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"

    def _read(self, root: Path) -> Arrays:
        import gzip

        path = Path(__file__).parent / "digits" / "digits.csv.gz"
        packed = path.read_bytes()
        found = hashlib.sha256(packed).hexdigest()
        if found != self.sha256:
            raise DataError(f"{path} is damaged: its SHA-256 is {found}, not {self.sha256}; install noisygce again")
        rows = np.array([line.split(",") for line in gzip.decompress(packed).decode().split()], dtype=float)
        # 0..16 -> 0..255. The writers come one after another in the file: the last 297 images are by other hands.
        images = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        labels = rows[:, -1].astype(np.int64)
        cut = self.full
        return Arrays(images[:cut], labels[:cut], images[cut:], labels[cut:], tuple("0123456789"))


class _quiet:
    """Keeps a download's progress bars and prints from standard output."""

    def __enter__(self) -> None:
        import contextlib

        self._null = open(os.devnull, "w")
        self._redirect = contextlib.redirect_stdout(self._null)
        self._redirect.__enter__()

    def __exit__(self, *error: object) -> None:
        self._redirect.__exit__(None, None, None)
        self._null.close()
