"""A person's own images: a folder of pictures, labelled by their folders or by a CSV file."""

from __future__ import annotations

import csv
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from noisygce import check
from noisygce.data.base import Arrays, Data, located
from noisygce.errors import DataError

log = logging.getLogger("noisygce")

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class Folder(Data):
    """Pictures below ``folder``, in ``train/`` and, where there are any, in ``test/``, resized to ``size`` x ``size``.

    Pictures of any size and mode: turned as their EXIF data says, transparent parts on white, 16 bits brought to 8, the
    first of several frames. Those that cannot be read are named in a warning and left out.
    Labels come from the folders, ``train/cat/7.png``, or from ``train.csv`` and ``test.csv`` with a line
    ``file,label`` a picture, its file below ``folder``. Classes are the labels found, in alphabetical order. Samples
    are named by their files, below ``folder``. Nothing is known of which labels are true. Names that begin with a dot
    are passed over, such as those that notebooks leave; other pictures that are in no class are counted in a warning.
    folder: below the data root, from the current folder, or an absolute path. size: pixels, 8..512. channels: 3 for
    colour, 1 for grey.
    """

    _digests: ClassVar[dict[bytes, str]] = {}  # of folders by the state of their files

    def __init__(self, folder: str | None, size: int, channels: int) -> None:
        if not isinstance(folder, str) or not folder:
            allowed = "a folder that holds train/: its whole path, or its path below paths.data"
            raise check.Invalid("folder", folder, allowed)
        self.folder = folder
        self.size = check.whole("size", size, "[8, 512]")
        if channels not in (1, 3):
            raise check.Invalid("channels", channels, "3 for colour or 1 for grey")
        self.channels = channels

    def require(self, root: Path) -> None:
        if not located(root, self.folder).is_dir():
            raise DataError(f"data.folder={self.folder}: there is no folder {root / self.folder}")

    def contents(self, root: Path) -> Mapping[str, str]:
        """Of the names, labels and contents of all pictures, which a process reads again only where any has changed."""
        base, now, whole = located(root, self.folder), hashlib.sha256(), hashlib.sha256()
        listed = [(part, path, label) for part in ("train", "test") for path, label in self._list(base, part)]
        for part, path, label in listed:
            now.update(repr((part, label, *check.state(path))).encode())
        if now.digest() not in Folder._digests:
            for part, path, label in listed:
                whole.update(repr((part, path.relative_to(base).as_posix(), label, check.sha256(path))).encode())
            Folder._digests[now.digest()] = whole.hexdigest()
        return {"folder": Folder._digests[now.digest()]}

    def inputs(self, root: Path) -> Sequence[Path]:
        base = located(root, self.folder)
        tables = [path for part in ("train", "test") if (path := base / f"{part}.csv").is_file()]
        return [*tables, *(path for part in ("train", "test") for path, _ in self._list(base, part))]

    def _read(self, root: Path) -> Arrays:
        base = located(root, self.folder)
        self._warn_of_others(base)
        train, test = (self._pictures(self._list(base, part)) for part in ("train", "test"))
        if not len(train.labels):
            raise DataError(f"{base} has no pictures to train on: neither train/CLASS/*.png nor train.csv")
        classes = tuple(sorted({*train.labels}))
        if extra := {*test.labels} - {*classes}:
            raise DataError(f"{base}: no training picture is labelled {', '.join(sorted(extra))}, but test ones are")
        if len(classes) < 2:
            raise DataError(f"{base}: the training pictures must have at least two labels; they have {classes}")
        labels, test_labels = (
            np.array([classes.index(y) for y in part.labels], dtype=np.int64) for part in (train, test)
        )
        names, test_names = (tuple(path.relative_to(base).as_posix() for path in part.paths) for part in (train, test))
        return Arrays(train.images, labels, test.images, test_labels, classes, False, names, test_names)

    def _list(self, base: Path, part: str) -> list[tuple[Path, str]]:
        """Pictures and labels of a part, in the order of their names."""
        table, folder = base / f"{part}.csv", base / part
        if table.is_file():
            try:
                with open(table, newline="", encoding="utf-8-sig") as file:  # some spreadsheets begin with a mark
                    rows = [row for row in csv.reader(file) if row and row != ["file", "label"]]
            except (UnicodeDecodeError, csv.Error) as error:
                raise DataError(f"{table} must be CSV in UTF-8: {error}") from None
            if bad := [row for row in rows if len(row) != 2 or not (base / row[0]).is_file()]:
                raise DataError(f"{table}: a line is FILE,LABEL with a file below {base}; this one is not: {bad[0]}")
            found = [(base / name, label) for name, label in rows]
            first: dict[Path, str] = {}
            for path, label in found:
                if path in first:
                    raise DataError(f"{table} has {path.relative_to(base)} twice, as {first[path]} and as {label}")
                first[path] = label
        else:
            found = [(path, path.parent.name) for path in folder.glob("*/*") if is_picture(path, folder)]
        return sorted(found)

    def _warn_of_others(self, base: Path) -> None:
        """Of pictures in the folders of classes that are not taken, since they lie too deep or too high."""
        for part in ("train", "test"):
            if (base / f"{part}.csv").is_file():
                continue
            every = [path for path in (base / part).rglob("*") if is_picture(path, base / part)]
            if other := [path for path in every if len(path.relative_to(base / part).parts) != 2]:
                log.warning(
                    f"{len(other):,} pictures below {base / part} are in no class, such as {other[0]}: a picture is "
                    f"{part}/CLASS/FILE, or a line of {part}.csv"
                )

    def _pictures(self, found: Sequence[tuple[Path, str]]) -> _Part:
        images = np.empty((len(found), self.size, self.size, self.channels), dtype=np.uint8)
        read: list[tuple[Path, str]] = []
        broken: list[str] = []
        for path, label in found:
            try:
                images[len(read)] = check.picture(path, self.size, self.size, self.channels)
                read.append((path, label))
            except Exception as error:  # a file of unknown origin can go wrong in any way
                broken.append(f"{path} ({error})".replace("\n", " "))
        if broken:
            more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
            log.warning(f"left out, since they cannot be read as pictures: {', '.join(broken[:3])}{more}")
        return _Part(images[: len(read)], [label for _, label in read], [path for path, _ in read])


def is_picture(path: Path, below: Path) -> bool:
    """By its ending; nothing hidden ``below`` a folder is one."""
    hidden = any(part.startswith(".") for part in path.relative_to(below).parts)
    return path.suffix.lower() in SUFFIXES and not hidden


@dataclass(frozen=True)
class _Part:
    """images (n, size, size, channels), their labels and files."""

    images: NDArray[np.uint8]
    labels: list[str]
    paths: list[Path]
