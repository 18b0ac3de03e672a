"""Labels from a file: another code base's, a colleague's, or one's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noisygce import check, inputs
from noisygce.errors import DataError, MissingData
from noisygce.noise import files
from noisygce.noise.base import Given, Labels, digest, realised_rate


class FromFile(Given):
    """Labels (N,) from a file, one for each training image in the data set's order; nothing is drawn. Where the images
    have names, the lines of a CSV with a column ``file`` may have any order.

    file: below the data root, from the current folder, or a whole path, of a kind that ``noise.files`` reads. key: the
    name of the labels, where it holds several. sha256: ``digest`` of the labels, so that the run's id stands for these
    very labels, wherever their file lies. rate: their rate as tables shall call it, within 0.02 of the real one.
    Where the true labels are not known, it is not known either which of the two is wrong, the file's or the data set's.
    """

    makes_wrong = False

    def __init__(self, rate: float, file: str | None, sha256: str | None, *, key: str | None = None) -> None:
        super().__init__(rate, None)
        if not isinstance(file, str) or not file:
            raise check.Invalid("file", file, f"a file of labels: {inputs.PLACES}")
        if key is not None and (not isinstance(key, str) or not key):
            raise check.Invalid("key", key, "the name of the labels in noise.file, or null")
        if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", str(sha256)):
            raise check.Invalid("sha256", sha256, "64 hexadecimal digits, as python -m noisygce.labels prints them")
        self.file, self.key, self.sha256 = file, key, sha256

    def bind(self, root: Path, labels: Labels, classes: Sequence[str]) -> None:
        path = inputs.located(root, self.file)
        if not path.is_file():
            raise MissingData(inputs.not_located("noise.file", self.file, root))
        given = self._read(path, self.key, self.sample_names, len(labels), len(classes))
        found, real = digest(given), realised_rate(labels, given)
        if real == 1 and found != self.sha256:
            raise DataError(f"no label in {path} is the data set's own: are the classes numbered in another order?")
        other_rate, to_give = abs(real - self.rate) > 0.02, f"{min(real, 0.9999):.4f}"  # a rate is below 1
        if found != self.sha256:
            values = f"noise.sha256={found}{f' rate={to_give}' if other_rate else ''}"
            raise DataError(
                f"noise.sha256={'null' if self.sha256 is None else self.sha256}: the labels in {path} have {values}; "
                f"give {'these' if other_rate else 'this one'} if they are the labels you mean"
            )
        if other_rate:
            raise check.Invalid("rate", self.rate, f"within 0.02 of the {to_give} that these labels have")
        self._given = given

    @staticmethod
    def _read(path: Path, key: str | None, names: Sequence[str], samples: int, classes: int) -> Labels:
        given = files.labels(path, key, names)
        if given.shape != (samples,) or given.dtype.kind not in "iu":
            what = f"{given.dtype} of shape {given.shape}"
            what += "; save labels.astype(int)" if given.dtype.kind == "f" else ""
            raise DataError(f"{path} must hold {samples} integers, one for each training image; it holds {what}")
        if given.min() < 0 or given.max() >= classes:
            raise DataError(f"{path} must hold labels in 0..{classes - 1}; they go from {given.min()} to {given.max()}")
        found: Labels = given.astype(np.int64)
        return found
