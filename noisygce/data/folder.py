"""A person's own images: a folder of pictures, labelled by their folders or by a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisygce import check
from noisygce.data.base import Arrays, Data
from noisygce.errors import DataError

_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class Folder(Data):
    """Pictures below ``folder``, in ``train/`` and ``test/``, resized to ``size`` x ``size``.

    Labels come from the folders, ``train/cat/7.png``, or from ``train.csv`` and ``test.csv`` with a line
    ``file,label`` a picture, its file below ``folder``. Classes are the labels found, in alphabetical order. Samples
    are named by their files, below ``folder``.
    folder: below the data root, or an absolute path. size: pixels, 8..512. channels: 3 for colour, 1 for grey.
    """

    def __init__(self, folder: str | None, size: int, channels: int) -> None:
        if not isinstance(folder, str) or not folder:
            raise check.Invalid(
                "folder", folder, "a folder that holds train/ and test/: its whole path, or its path below paths.data"
            )
        self.folder = folder
        self.size = check.whole("size", size, "[8, 512]")
        if channels not in (1, 3):
            raise check.Invalid("channels", channels, "3 for colour or 1 for grey")
        self.channels = channels

    def require(self, root: Path) -> None:
        if not (root / self.folder).is_dir():
            raise DataError(f"data.folder={self.folder}: there is no folder {root / self.folder}")

    def inputs(self, root: Path) -> Sequence[Path]:
        base = root / self.folder
        tables = [path for part in ("train", "test") if (path := base / f"{part}.csv").is_file()]
        return [*tables, *(path for part in ("train", "test") for path, _ in self._list(base, part))]

    def _read(self, root: Path) -> Arrays:
        base = root / self.folder
        parts = train, test = self._list(base, "train"), self._list(base, "test")
        classes = tuple(sorted({label for _, label in train}))
        if extra := {label for _, label in test} - set(classes):
            raise DataError(f"{base}: no training picture is labelled {', '.join(sorted(extra))}, but test ones are")
        if len(classes) < 2:
            raise DataError(f"{base}: the training pictures must have at least two labels; they have {classes}")
        images, test_images = (self._images([path for path, _ in part]) for part in parts)
        labels, test_labels = (np.array([classes.index(y) for _, y in part], dtype=np.int64) for part in parts)
        names, test_names = (tuple(path.relative_to(base).as_posix() for path, _ in part) for part in parts)
        return Arrays(images, labels, test_images, test_labels, classes, False, names, test_names)

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

    def _images(self, paths: Sequence[Path]) -> NDArray[np.uint8]:
        from PIL import Image

        images = np.empty((len(paths), self.size, self.size, self.channels), dtype=np.uint8)
        for i, path in enumerate(paths):
            try:
                with Image.open(path) as picture:
                    ready: Any = picture.convert("RGB" if self.channels == 3 else "L")
                    if ready.size != (self.size, self.size):
                        ready = ready.resize((self.size, self.size), Image.Resampling.BILINEAR)
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                raise DataError(f"{path} cannot be read as a picture: {error}") from None
            images[i] = np.asarray(ready, dtype=np.uint8).reshape(images.shape[1:])
        return images
