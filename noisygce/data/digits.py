"""The UCI digits, shipped in the package."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noisygce.data.base import Arrays, Data
from noisygce.errors import DataError


class Digits(Data):
    """UCI digits: 1,500 + 297 grey images of 8x8, 10 classes, shipped in the package (noisygce/data/digits.md)."""

    full, channels, side = 1_500, 1, 8
    classes = tuple("0123456789")
    sha256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"

    def inputs(self, root: Path) -> Sequence[Path]:
        return [Path(__file__).with_name("digits.csv.gz")]

    def _read(self, root: Path) -> Arrays:
        (path,) = self.inputs(root)
        packed = path.read_bytes()
        found = hashlib.sha256(packed).hexdigest()
        if found != self.sha256:
            raise DataError(f"{path} is damaged: its SHA-256 is {found}, not {self.sha256}; install noisygce again")
        rows = np.array([line.split(",") for line in gzip.decompress(packed).decode().split()], dtype=float)
        # 0..16 -> 0..255. The writers come one after another in the file: the last 297 images are by other hands.
        images = np.rint(rows[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        labels = rows[:, -1].astype(np.int64)
        cut = self.full
        return Arrays(images[:cut], labels[:cut], images[cut:], labels[cut:], self.classes)
