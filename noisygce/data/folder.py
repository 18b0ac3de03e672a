"""A person's own images: a folder of pictures, labelled by their folders or by a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisygce import check
from noisygce.data.base import Arrays, Data, Ints
from noisygce.errors import DataError

_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class Folder(Data):
    """Pictures below ``folder``, in ``train/`` and ``test/``, resized to ``size`` x ``size``.

    Labels come from the folders, ``train/cat/7.png``, or from ``train.csv`` and ``test.csv`` with a line
    ``file,label`` a picture, its file below ``folder``. Classes are the labels found, in alphabetical order; the labels
    are taken as true, so noise=clean trains on them as they are.
    folder: below the data root, or an absolute path. size: pixels, 8..512. channels: 3 for colour, 1 for grey.
    The other values as in ``Data``.
    """

    def __init__(
        self,
        folder: str | None,
        size: int,
        channels: int,
        subset: int | None,
        validation: int,
        normalise: str,
        mean: list[float],
        std: list[float],
        padding: int,
        flip: bool,
        class_map: Mapping[str, str] | str,
    ) -> None:
        super().__init__(subset, validation, normalise, mean, std, padding, flip, class_map)
        if not isinstance(folder, str) or not folder:
            raise check.Invalid("folder", folder, "a folder that holds train/ and test/, below paths.data or whole")
        self.folder = folder
        self.size = check.whole("size", size, "[8, 512]")
        if channels not in (1, 3):
            raise check.Invalid("channels", channels, "3 for colour or 1 for grey")
        self.colour = channels == 3
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != channels:
                raise check.Invalid(key, list(values), f"a list of {channels}, one for each channel")

    def require(self, root: Path) -> None:
        if not (root / self.folder).is_dir():
            raise DataError(f"data.folder={self.folder}: there is no folder {root / self.folder}")

    def _read(self, root: Path) -> Arrays:
        base = root / self.folder
        train, test = self._list(base, "train"), self._list(base, "test")
        classes = tuple(sorted({label for _, label in train}))
        if extra := {label for _, label in test} - set(classes):
            raise DataError(f"{base}: no training picture is labelled {', '.join(sorted(extra))}, but test ones are")
        if len(classes) < 2:
            raise DataError(f"{base}: the training pictures must have two labels at least, they have {classes}")
        if self.validation >= len(train):
            raise DataError(f"data.validation={self.validation}: there are {len(train)} training pictures in all")
        return Arrays(*self._arrays(train, classes), *self._arrays(test, classes), classes)

    def _list(self, base: Path, part: str) -> list[tuple[Path, str]]:
        """Pictures and labels of a part, in the order of their names."""
        table, folder = base / f"{part}.csv", base / part
        if table.is_file():
            with open(table, newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if row and row != ["file", "label"]]
            if bad := [row for row in rows if len(row) != 2 or not (base / row[0]).is_file()]:
                raise DataError(f"{table}: a line is FILE,LABEL with a file below {base}; this one is not: {bad[0]}")
            found = [(base / name, label) for name, label in rows]
        else:
            pictures = [path for path in folder.glob("*/*") if path.suffix.lower() in _PICTURES]
            found = [(path, path.parent.name) for path in pictures]
        if not found:
            raise DataError(f"{base} has no pictures for {part}: neither {part}/CLASS/*.png nor {part}.csv")
        return sorted(found)

    def _arrays(self, found: list[tuple[Path, str]], classes: tuple[str, ...]) -> tuple[NDArray[np.uint8], Ints]:
        from PIL import Image

        images = np.empty((len(found), self.size, self.size, 3 if self.colour else 1), dtype=np.uint8)
        for i, (path, _) in enumerate(found):
            try:
                with Image.open(path) as picture:
                    ready: Any = picture.convert("RGB" if self.colour else "L")
                    if ready.size != (self.size, self.size):
                        ready = ready.resize((self.size, self.size), Image.Resampling.BILINEAR)
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                raise DataError(f"{path} is no picture that can be read: {error}") from None
            images[i] = np.asarray(ready, dtype=np.uint8).reshape(images.shape[1:])
        index = {name: y for y, name in enumerate(classes)}
        return images, np.array([index[label] for _, label in found], dtype=np.int64)
