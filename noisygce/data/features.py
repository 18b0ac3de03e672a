"""A person's own vectors, such as embeddings: an array of numbers, their labels beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from noisygce import check
from noisygce.data import label_table
from noisygce.data.base import Arrays, Data, located, refuse_too_large
from noisygce.data.preprocessing import Floats, Standardisation, blocks
from noisygce.errors import DataError


class Features(Data):
    """N vectors of D numbers, whatever made them, and their labels. Nothing is known of which labels are true.

    features: an .npy file, (N, D), of finite numbers. labels: an .npy file, (N,), of integers or names; or a CSV whose
    last column they are. Classes are the labels found, without space around them, in the order of numbers, or of the
    alphabet. ids: a CSV whose column file, or else the first, names each sample, all different; null: samples have
    numbers only. test_features, test_labels: of a test set, in the same way; null: there is none.
    A CSV has a line a sample, in the order of the vectors, and may have a header, whose last field is label, labels,
    class, target or y. Its column index, or file where there are ids, says which sample a line is about, in any order.
    Files lie below the data root, from the current folder, or are given with their whole path.
    """

    fed = Standardisation
    side = 1

    def __init__(
        self,
        features: str | None,
        labels: str | None,
        ids: str | None,
        test_features: str | None,
        test_labels: str | None,
    ) -> None:
        needed = {"features": (features, "an .npy file of N x D numbers"), "labels": (labels, "an .npy or .csv file")}
        for key, (value, what) in needed.items():
            if not isinstance(value, str) or not value:
                raise check.Invalid(key, value, f"{what}: its whole path, or its path below paths.data")
        if (test_features is None) != (test_labels is None):
            raise check.Invalid("test_features", test_features, "null where data.test_labels is, and only there")
        self.features, self.labels, self.ids = features, labels, ids
        self.test_features, self.test_labels = test_features, test_labels

    def require(self, root: Path) -> None:
        for key, path in self._files(root).items():
            if not path.is_file():
                name = vars(self)[key]
                raise DataError(
                    f"data.{key}={name}: there is no file {path}; give its whole path, or paths.data=FOLDER"
                )

    def inputs(self, root: Path) -> Sequence[Path]:
        return list(self._files(root).values())

    def contents(self, root: Path) -> Mapping[str, str]:
        self.require(root)
        size = self._files(root)["features"].stat().st_size
        refuse_too_large(f"data.features={self.features}: the vectors", size, "save fewer columns, or float16")
        return {key: check.sha256(path) for key, path in self._files(root).items()}

    def _files(self, root: Path) -> dict[str, Path]:
        return {key: located(root, str(name)) for key, name in vars(self).items() if name is not None}

    def _read(self, root: Path) -> Arrays:
        files = self._files(root)
        train = vectors(files["features"])
        names: tuple[str, ...] = ()
        if self.ids is not None:
            table = label_table.read(files["ids"])
            found = table.names()
            names = tuple(found[i] for i in table.order(len(train)))
            if len({*names}) < len(names):
                (name, times), *_ = Counter(names).most_common(1)
                raise DataError(f"{files['ids']}: each sample needs an id of its own; {name} comes {times} times")
        given = _labels(files["labels"], len(train), names, _DROP)
        numbers = all(label_table.INTEGER.fullmatch(label) for label in given)
        classes = sorted({*given}, key=lambda y: (int(y), y)) if numbers else sorted({*given})
        if len(classes) < 2:
            raise DataError(f"{files['labels']}: there must be at least two classes; there is {', '.join(classes)}")
        test, test_given = np.empty((0, train.shape[1]), dtype=np.float32), list[str]()
        if self.test_features is not None:
            test = vectors(files["test_features"])
            test_given = _labels(files["test_labels"], len(test))
            if test.shape[1] != train.shape[1]:
                raise DataError(f"{files['test_features']} has {test.shape[1]} columns, not {train.shape[1]}")
            if extra := {*test_given} - {*classes}:
                raise DataError(f"{files['test_labels']}: no training sample is labelled {', '.join(sorted(extra))}")
        number = {name: y for y, name in enumerate(classes)}
        labels, test_labels = (np.array([number[y] for y in part], dtype=np.int64) for part in (given, test_given))
        images, test_images = (part[:, None, None] for part in (train, test))
        return Arrays(images, labels, test_images, test_labels, tuple(classes), False, names)


_DROP = (
    "; to train without some samples keep the data.labels of the run that you have judged and add data.verdicts=FILE, "
    "the file that the page of noisygce.suspects saved"
)


def vectors(path: Path) -> Floats:
    """The array (N, D) of an .npy file; integers as float32 where that holds all values of their type, else as float64.
    Raises DataError where it is none, or not of numbers that are finite in float32."""
    found = _array(path)
    if found.ndim in (3, 4) and found.dtype.kind in "fiu":
        raise DataError(
            f"{path} holds images, {found.dtype} of shape {found.shape}: data=folder is for pictures; for vectors of "
            "their pixels save X.reshape(len(X), -1)"
        )
    if found.ndim != 2 or found.dtype.kind not in "fiu" or not found.size:
        raise DataError(f"{path} must hold N x D numbers; it holds {found.dtype} of shape {found.shape}")
    exact = np.float32 if np.can_cast(found.dtype, np.float32) else np.float64
    ready: Floats = np.ascontiguousarray(found, dtype=found.dtype if found.dtype.kind == "f" else exact)
    finite = np.concatenate([(np.abs(ready[rows]) <= _LARGEST).all(1) for rows in blocks(len(ready))])
    if not finite.all():
        raise DataError(
            f"{path}: {(~finite).sum():,} of {len(ready):,} rows hold NaN or infinity, row {finite.argmin()} first"
        )
    return ready


_LARGEST = np.finfo(np.float32).max  # what is larger is infinite in float32, in which networks compute


def _array(path: Path) -> NDArray[Any]:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)  # only what is computed with is in memory
        if not isinstance(found, np.ndarray):
            raise ValueError("it is an archive of arrays")
        return found
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is not an .npy file of numbers or names: {check.no_array(error)}") from None


def _labels(path: Path, samples: int, names: Sequence[str] = (), lacking: str = "") -> list[str]:
    """The labels of a file, as text, in the order of the samples."""
    if path.suffix.lower() == ".csv":
        table = label_table.read(path)
        given = table.labels()
        return [given[i] for i in table.order(samples, names, lacking)]
    found = _array(path)
    if found.shape != (samples,):
        raise DataError(f"{path} must hold {samples:,} labels, one for each vector; its shape is {found.shape}")
    if found.dtype.kind == "f" and (found == np.rint(found)).all():
        found = found.astype(np.int64)
    if found.dtype.kind not in "iuUS":
        raise DataError(f"{path}: labels are integers or names, not {found.dtype}")
    each = found.tolist()
    return [label_table.label(y if isinstance(y, bytes) else str(y), f"{path}, sample {i}") for i, y in enumerate(each)]
