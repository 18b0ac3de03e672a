"""A person's own images: a folder of pictures, labelled by their folders or by a CSV file."""

from __future__ import annotations

import functools
import glob
import hashlib
import logging
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from noisygce import check, inputs
from noisygce.data import cache, label_table, listing
from noisygce.data.base import Arrays, Data, refuse_too_large
from noisygce.errors import DataError

log = logging.getLogger("noisygce")

PARTS = ("train", "test")
_DARK = 64  # of 255: 14 bits in a file of 16


class Folder(Data):
    """Pictures below ``folder``, in ``train/`` and, where there are any, in ``test/``, resized to ``size`` x ``size``;
    where there is neither ``train/`` nor ``train.csv``, in folders of classes right below it, ``cat/7.png``.

    Pictures are the files that Pillow can open, of any size and mode: turned as their EXIF data says, transparent parts
    on white, 16 bits brought to 8, the first of several frames.
    Labels come from the folders, ``train/cat/7.png``, or from ``train.csv`` and ``test.csv`` with a line
    ``file,label`` a picture, its file below ``folder``; of more than two columns a header calls one ``file``.
    Classes are the labels found, without space around them, in alphabetical order. Samples are named by their files.
    Nothing is known of which labels are true. Names that begin with a dot are passed over, such as those that notebooks
    leave; all else that is left out is counted in one warning.
    folder: below the data root, from the current folder, or an absolute path. size: pixels, 8..512. channels: 3 for
    colour, 1 for grey.
    """

    def __init__(self, folder: str | int | None, size: int, channels: int) -> None:
        if isinstance(folder, bool) or not isinstance(folder, str | int) or folder == "":
            raise check.Invalid(
                "folder", folder, f"a folder that holds train/, or a folder for each class: {inputs.PLACES}"
            )
        self.folder = str(folder)  # a folder may have a number for a name
        self.size = self.side = check.whole("size", size, "[8, 512]")
        if channels not in (1, 3):
            raise check.Invalid("channels", channels, "3 for colour or 1 for grey")
        self.channels = channels

    def require(self, root: Path) -> None:
        if not inputs.located(root, self.folder).is_dir():
            raise DataError(inputs.not_located("data.folder", self.folder, root, "folder"))

    def contents(self, root: Path) -> Mapping[str, str]:
        """Of the names, labels and contents of all pictures. A file is read again only where it has changed
        (cache.digests). A picture that cannot be read, and so is left out, is another content."""
        self.require(root)
        base, whole = inputs.located(root, self.folder), hashlib.sha256()
        listed = [(part, path, label) for part in PARTS for path, label in self._list(base, part)]
        self._refuse_too_large(len(listed))
        for (part, path, label), digest in zip(listed, cache.digests([path for _, path, _ in listed]), strict=True):
            content = digest or (str(path.absolute()), "unreadable")
            whole.update(repr((part, path.relative_to(base).as_posix(), label, content)).encode())
        return {"folder": whole.hexdigest()}

    def _refuse_too_large(self, pictures: int) -> None:
        shape = f"{self.size}x{self.size}x{self.channels}"
        size = pictures * self.size**2 * self.channels
        refuse_too_large(f"data.folder={self.folder}: {pictures:,} pictures of {shape}", size, "lower data.size")

    def inputs(self, root: Path) -> Sequence[Path]:
        base = inputs.located(root, self.folder)
        files = [base / f"{part}.csv" for part in PARTS]
        files += [path for part in PARTS for path, _ in self._list(base, part)]
        return [path for path in files if path.exists()]

    def _read(self, root: Path) -> Arrays:
        base = inputs.located(root, self.folder)
        listed = [self._list(base, part) for part in PARTS]
        if both := {path for path, _ in listed[0]} & {path for path, _ in listed[1]}:
            raise DataError(f"{base}: {min(both).relative_to(base)} is both a training and a test picture")
        self._refuse_too_large(sum(map(len, listed)))
        train, test = (self._pictures(part) for part in listed)
        others: dict[str, Sequence[Path | str]] = {
            **listing.left_out(base, ("",) if _is_plain(base) else PARTS, {path for part in listed for path, _ in part})
        }
        if broken := [*train.broken, *test.broken]:
            others = {"pictures that cannot be read": broken, **others}
        if others:
            log.warning(f"left out: {listing.told(others)}")
        if len(train.labels) and (most := int(train.images.max())) < _DARK:
            log.warning(
                f"the lightest pixel of all training pictures is {most} of 255: pictures of 10 or 12 bits in files of "
                "16 are nearly black; save them with 8 bits over their own range"
            )
        if not len(train.labels):
            raise DataError(
                f"{base} has no pictures to train on: neither train/CLASS/*.png nor train.csv nor CLASS/*.png"
                f"{_classes_beside_parts(base)}{_other_table(base)}"
            )
        classes = tuple(sorted({*train.labels}))
        if extra := {*test.labels} - {*classes}:
            raise DataError(f"{base}: no training picture is labelled {', '.join(sorted(extra))}, but test ones are")
        if len(classes) < 2:
            raise DataError(
                f"{base}: training pictures must have at least two labels; all have {classes[0]}{_other_table(base)}"
            )
        number = {name: y for y, name in enumerate(classes)}
        labels, test_labels = (np.array([number[y] for y in part.labels], dtype=np.int64) for part in (train, test))
        names, test_names = (tuple(path.relative_to(base).as_posix() for path in part.paths) for part in (train, test))
        return Arrays(train.images, labels, test.images, test_labels, classes, False, names, test_names)

    def _list(self, base: Path, part: str) -> list[tuple[Path, str]]:
        """Pictures and labels of a part, in the order of their names."""
        if (base / f"{part}.csv").is_file():
            return sorted(_of_table(base, base / f"{part}.csv"))
        if _is_plain(base):
            pictures = listing.in_classes(base) if part == "train" else []
        else:
            pictures = listing.in_classes(base / part)
        labels = {folder: label_table.label(folder.name, f"{folder}") for folder in {path.parent for path in pictures}}
        return sorted((path, labels[path.parent]) for path in pictures)

    def _pictures(self, found: Sequence[tuple[Path, str]]) -> _Part:
        images, broken = cache.pictures([path for path, _ in found], self.size, self.channels)
        good = [i for i in range(len(found)) if i not in broken]
        paths, labels = [found[i][0] for i in good], [found[i][1] for i in good]
        return _Part(images, labels, paths, list(broken.values()))


@dataclass(frozen=True)
class _Part:
    """images (n, size, size, channels), their labels and files; the files that could not be read, and why."""

    images: NDArray[np.uint8]
    labels: list[str]
    paths: list[Path]
    broken: list[str]


def _of_table(base: Path, path: Path) -> list[tuple[Path, str]]:
    """The pictures that a table names, below ``base``, and their labels. Raises DataError, with the line."""
    table = label_table.read(path, lambda fields: _file(base, fields[0]) is not None)
    labels = table.labels()
    if table.rows and len(table.rows[0]) != 2 and "file" not in table.header:
        raise DataError(
            f"{path}: a line is FILE,LABEL; where there are more columns, a first line calls one of them file"
        )
    names = table.names()
    places = [_file(base, name) for name in names]
    if absent := [row for row, place in enumerate(places) if place is None]:
        name = names[absent[0]]
        remedy = _remedy(base, name, "remove the line" if len(absent) < len(names) else "a line is FILE,LABEL")
        more = f"; {len(absent) - 1:,} more lines name none" if len(absent) > 1 else ""
        raise DataError(f"{table.where(absent[0])}: there is no file {name!r} below {base}; {remedy}{more}")
    found: dict[Path, str] = {}
    for place, label in zip(filter(None, places), labels, strict=True):
        if place in found:
            raise DataError(f"{path} has {place.relative_to(base)} twice, as {found[place]} and as {label}")
        found[place] = label
    return list(found.items())


def _file(base: Path, name: str) -> Path | None:
    """The file of this name, as a path from ``base``, whichever way its accents are written (Unicode NFC or NFD)."""
    for each in (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))):
        place = _below(base, each)
        if place and os.path.isfile(place):
            return _as_listed(base, place)
    return None


def _as_listed(base: Path, place: Path) -> Path:
    """A path below ``base`` as its folders spell it: some file systems, such as a Mac's, find a file by any case of its
    letters and either form of its accents, and a run's ID is made from one."""
    found = base
    for part in place.relative_to(base).parts:
        names = _names(found, found.stat().st_mtime_ns)
        found /= names.get(part) or names.get(_folded(part), part)
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@functools.lru_cache(maxsize=10_000)
def _names(folder: Path, _: int) -> dict[str, str]:
    """The names that a folder lists, by themselves and by how a file system may take them for others."""
    names = os.listdir(folder)
    return {**{_folded(name): name for name in names}, **{name: name for name in names}}


def _remedy(base: Path, name: str, otherwise: str) -> str:
    """What to do about a line of a table whose file is not there."""
    if not name.isprintable():
        return "save the table as CSV in UTF-8"
    last = PurePosixPath(name.replace("\\", "/")).name
    found = next(base.rglob(glob.escape(last)), None) if last else None
    return f"did you mean {found.relative_to(base).as_posix()}?" if found else otherwise


def _below(base: Path, name: str) -> Path | None:
    """The path of this name from ``base``, where the name is a whole path too; None where it is not below."""
    if ".." in Path(name).parts:
        return None
    if not Path(name).is_absolute():
        return base / name
    for folder in (Path(os.path.abspath(base)), base.resolve()):
        if Path(name).is_relative_to(folder):
            return base / Path(name).relative_to(folder)
    return None


def _classes_beside_parts(base: Path) -> str:
    """What to do about folders of pictures beside one that is named as a part of a data set."""
    parts = sorted(path.name for path in base.iterdir() if path.name in (*PARTS, *listing.UNUSED) and path.is_dir())
    others = sorted(path.name for path in base.iterdir() if path.is_dir() and path.name not in parts)
    if not parts or not others:
        return ""
    return f" alone; beside {parts[0]}/, the folders of the classes, {others[0]}/ and so on, must be in train/"


def _other_table(base: Path) -> str:
    """A hint at a table that is not called as one of labels must be."""
    tables = [] if (base / "train.csv").exists() else sorted(base.glob("*.csv"))
    return f"; {tables[0].name} is not read: a table of labels is called train.csv" if tables else ""


def _is_plain(base: Path) -> bool:
    """Whether a folder holds classes right below it, since nothing in it is named as a part of a data set."""
    parts = {*PARTS, *(f"{part}.csv" for part in PARTS), *listing.UNUSED}
    return not any((base / name).exists() for name in parts)
