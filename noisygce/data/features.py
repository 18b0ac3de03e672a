"""A person's own vectors, such as embeddings: an array of numbers, their labels beside it."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from noisygce import check
from noisygce.data.base import Arrays, Data, located
from noisygce.data.preprocessing import Standardisation
from noisygce.errors import DataError


class Features(Data):
    """N vectors of D numbers, whatever made them, and their labels. Nothing is known of which labels are true.

    features: an .npy file, (N, D), of finite numbers. labels: an .npy file, (N,), of integers or names; or a CSV whose
    last column they are. Classes are the labels found, in the order of numbers, or of the alphabet. ids: a CSV whose
    first column names each sample, all different; null: samples have numbers only. test_features, test_labels: of a
    test set, in the same way; null: there is none. A CSV has a line a sample, and may have a header.
    Files lie below the data root, from the current folder, or are given with their whole path.
    """

    fed = Standardisation

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
        return {key: check.sha256(path) for key, path in self._files(root).items()}

    def _files(self, root: Path) -> dict[str, Path]:
        return {key: located(root, str(name)) for key, name in vars(self).items() if name is not None}

    def _read(self, root: Path) -> Arrays:
        files = self._files(root)
        train = vectors(files["features"])
        given = _labels(files["labels"], len(train))
        numbers = all(re.fullmatch(r"-?\d+", label) for label in given)
        classes = sorted({*given}, key=lambda y: (int(y), y)) if numbers else sorted({*given})
        if len(classes) < 2:
            raise DataError(f"{files['labels']}: there must be at least two classes; there is {', '.join(classes)}")
        names: tuple[str, ...] = ()
        if self.ids is not None:
            names = tuple(line[0] for line in _lines(files["ids"], len(train)))
            if len({*names}) < len(names):
                (name, times), *_ = Counter(names).most_common(1)
                raise DataError(f"{files['ids']}: each sample needs an id of its own; {name} comes {times} times")
        test, said = np.empty((0, train.shape[1]), dtype=np.float32), []
        if self.test_features is not None:
            test = vectors(files["test_features"])
            said = _labels(files["test_labels"], len(test))
            if test.shape[1] != train.shape[1]:
                raise DataError(f"{files['test_features']} has {test.shape[1]} columns, not {train.shape[1]}")
            if extra := {*said} - {*classes}:
                raise DataError(f"{files['test_labels']}: no training sample is labelled {', '.join(sorted(extra))}")
        number = {name: y for y, name in enumerate(classes)}
        labels, test_labels = (np.array([number[y] for y in part], dtype=np.int64) for part in (given, said))
        images, test_images = (part[:, None, None] for part in (train, test))
        return Arrays(images, labels, test_images, test_labels, tuple(classes), False, names)


def vectors(path: Path) -> NDArray[np.float32]:
    """The array (N, D) of an .npy file, as float32. Raises DataError where it is none, or not of finite numbers."""
    found = _array(path)
    if found.ndim != 2 or found.dtype.kind not in "fiu" or not found.size:
        raise DataError(f"{path} must hold N x D numbers; it holds {found.dtype} of shape {found.shape}")
    with np.errstate(over="ignore"):
        ready = np.ascontiguousarray(found, dtype=np.float32)
    if not (finite := np.isfinite(ready).all(1)).all():
        raise DataError(
            f"{path}: {(~finite).sum():,} of {len(ready):,} rows hold NaN or infinity, row {finite.argmin()} first"
        )
    return ready


def _array(path: Path) -> NDArray[Any]:
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it is an archive of arrays")
        return found
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is not an .npy file of numbers or names: {check.no_array(error)}") from None


def _labels(path: Path, samples: int) -> list[str]:
    """The labels of a file, as text."""
    if path.suffix.lower() == ".csv":
        return [line[-1] for line in _lines(path, samples)]
    found = _array(path)
    if found.shape != (samples,):
        raise DataError(f"{path} must hold {samples:,} labels, one for each vector; its shape is {found.shape}")
    if found.dtype.kind == "f" and (found == np.rint(found)).all():
        found = found.astype(np.int64)
    if found.dtype.kind not in "iuUS":
        raise DataError(f"{path}: labels are integers or names, not {found.dtype}")
    return [label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in found.tolist()]


def _lines(path: Path, samples: int) -> list[list[str]]:
    """The lines of a CSV, without its header if it has one: one for each sample, none with an empty first or last
    field."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from None
    if len(lines) not in (samples, samples + 1):
        raise DataError(
            f"{path} has {len(lines):,} lines; it needs one for each of {samples:,} vectors, and may have a header"
        )
    lines = lines[len(lines) - samples :]
    if empty := [i for i, line in enumerate(lines) if not line[0].strip() or not line[-1].strip()]:
        raise DataError(f"{path}: sample {empty[0]} has an empty field")
    return lines
