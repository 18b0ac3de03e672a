"""What data sets of a person's own files share: where the files lie, what the id takes of them, arrays and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from noisygce import inputs
from noisygce.data import label_table
from noisygce.data.base import Data, Ints, refuse_too_large
from noisygce.errors import DataError


class OwnFiles(Data):
    """A data set whose values are the names of files: below the data root, from the current folder, or whole paths;
    null for none. A run's id holds the SHA-256 of each.

    largest: the value whose file is the largest, what the file holds, and what to do if it does not fit into memory.
    """

    largest: ClassVar[tuple[str, str, str]]

    def require(self, root: Path) -> None:
        for key, path in self._files(root).items():
            if not path.is_file():
                raise DataError(inputs.not_located(f"data.{key}", vars(self)[key], root))

    def inputs(self, root: Path) -> Sequence[Path]:
        return list(self._files(root).values())

    def contents(self, root: Path) -> Mapping[str, str]:
        self.require(root)
        files, (key, what, advice) = self._files(root), self.largest
        refuse_too_large(f"data.{key}={vars(self)[key]}: the {what}", _size(files[key]), advice)
        return {key: inputs.sha256(path) for key, path in files.items()}

    def _files(self, root: Path) -> dict[str, Path]:
        return {key: inputs.located(root, str(name)) for key, name in vars(self).items() if name is not None}


def _size(path: Path) -> int:
    """Of the arrays in a file, in bytes."""
    try:
        with ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except (BadZipFile, OSError):
        return path.stat().st_size


def array(path: Path) -> NDArray[Any]:
    """The array of an .npy file. Raises DataError."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)  # only what is computed with is in memory
        if not isinstance(found, np.ndarray):
            raise ValueError("it is an archive of arrays")
        return found
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is not an .npy file of numbers or names: {inputs.no_array(error)}") from None


def as_bytes(found: NDArray[Any]) -> str:
    """The end of a message: how images that are numbers in 0..1 become uint8; or nothing."""
    return "; of values in 0..1 save (255 * X).round().astype(np.uint8)" if found.dtype.kind == "f" else ""


def labels_of(path: Path, samples: int, names: Sequence[str] = (), lacking: str = "") -> list[str]:
    """The labels of an .npy or .csv file, as text, in the order of the samples. Raises DataError."""
    if path.suffix.lower() == ".csv":
        table = label_table.read(path)
        given = table.labels()
        return [given[i] for i in table.order(samples, names, lacking)]
    return texts(array(path), samples, path)


def texts(found: NDArray[Any], samples: int, where: Path | str) -> list[str]:
    """Labels (N,), integers or names, as text. Raises DataError, naming ``where`` they are from."""
    if found.shape != (samples,):
        raise DataError(f"{where} must hold {samples:,} labels, one for each sample; its shape is {found.shape}")
    if found.dtype.kind == "f" and (abs(found.astype(np.float64)) < 2.0**53).all() and (found == np.rint(found)).all():
        found = found.astype(np.int64)  # from 2^53 on floats skip integers
    if found.dtype.kind not in "iuUS":
        raise DataError(f"{where}: labels are integers or names, not {found.dtype}")
    each = found.tolist()
    return [
        label_table.label(y if isinstance(y, bytes) else str(y), f"{where}, sample {i}") for i, y in enumerate(each)
    ]


def numbered(
    given: Sequence[str], test: Sequence[str], where: Path | str, test_where: Path | str
) -> tuple[tuple[str, ...], Ints, Ints]:
    """The classes, in the order of numbers or of the alphabet, and the labels of training and test samples as their
    places in it. Raises DataError."""
    numbers = all(label_table.INTEGER.fullmatch(label) for label in given)
    classes = sorted({*given}, key=lambda y: (int(y), y)) if numbers else sorted({*given})
    if len(classes) < 2:
        raise DataError(f"{where}: there must be at least two classes; there is {', '.join(classes)}")
    if extra := {*test} - {*classes}:
        raise DataError(f"{test_where}: no training sample is labelled {', '.join(sorted(extra))}")
    number = {name: y for y, name in enumerate(classes)}
    labels, test_labels = (np.array([number[y] for y in part], dtype=np.int64) for part in (given, test))
    return tuple(classes), labels, test_labels
