"""A person's own vectors, such as embeddings: an array of numbers, their labels beside it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from noisygce import check, inputs
from noisygce.data import label_table
from noisygce.data.base import LARGEST, Arrays
from noisygce.data.own_files import OwnFiles, array, labels_of, numbered
from noisygce.data.preprocessing import Floats, Standardisation, blocks
from noisygce.errors import DataError, counted


class Features(OwnFiles):
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

    largest = ("features", "vectors", "save fewer columns, or float16")

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
                raise check.Invalid(key, value, f"{what}: {inputs.PLACES}")
        if (test_features is None) != (test_labels is None):
            raise check.Invalid("test_features", test_features, "null where data.test_labels is, and only there")
        self.features, self.labels, self.ids = features, labels, ids
        self.test_features, self.test_labels = test_features, test_labels

    def _read(self, root: Path) -> Arrays:
        files = self._files(root)
        train = vectors(files["features"])
        names: tuple[str, ...] = ()
        if self.ids is not None:
            table = label_table.read(files["ids"])
            found = table.names()
            names = tuple(found[i] for i in table.order(len(train), of_labels=False))
            if len({*names}) < len(names):
                (name, times), *_ = Counter(names).most_common(1)
                raise DataError(f"{files['ids']}: each sample needs an id of its own; {name} comes {times} times")
        given, said = labels_of(files["labels"], len(train), names, _DROP), list[str]()
        test = np.empty((0, train.shape[1]), dtype=np.float32)
        if self.test_features is not None:
            test = vectors(files["test_features"])
            said = labels_of(files["test_labels"], len(test))
            if test.shape[1] != train.shape[1]:
                raise DataError(
                    f"{files['test_features']} has {counted(test.shape[1], 'column')}, not {train.shape[1]}"
                )
        classes, labels, test_labels = numbered(given, said, files["labels"], files.get("test_labels", ""))
        images, test_images = (part[:, None, None] for part in (train, test))
        return Arrays(images, labels, test_images, test_labels, classes, False, names)


_DROP = (
    "; to train without some samples keep the data.labels of the run that you have judged and add data.verdicts=FILE, "
    "the file that the page of noisygce.suspects saved"
)


def vectors(path: Path) -> Floats:
    """The array (N, D) of an .npy file; integers as float32 where that holds all values of their type, else as float64.
    Raises DataError where it is none, or not of numbers that are finite in float32."""
    found = array(path)
    if found.ndim in (3, 4) and found.dtype.kind in "fiu":
        raise DataError(
            f"{path} holds images, {found.dtype} of shape {found.shape}: data=arrays data.images=FILE trains on "
            "them; for vectors of their pixels save X.reshape(len(X), -1)"
        )
    if found.ndim != 2 or found.dtype.kind not in "fiu" or not found.size:
        raise DataError(f"{path} must hold N x D numbers; it holds {found.dtype} of shape {found.shape}")
    exact = np.float32 if np.can_cast(found.dtype, np.float32) else np.float64
    ready: Floats = np.ascontiguousarray(found, dtype=found.dtype if found.dtype.kind == "f" else exact)
    finite = np.concatenate([(np.abs(ready[rows]) <= LARGEST).all(1) for rows in blocks(len(ready))])
    if not finite.all():
        raise DataError(
            f"{path}: {(~finite).sum():,} of {len(ready):,} rows hold NaN or infinity, row {finite.argmin()} first"
        )
    return ready
