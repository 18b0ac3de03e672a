"""Which files of a folder are pictures, of which class, and which are left out."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

UNUSED = ("val", "valid", "validation")  # folders that other code validates with


@functools.cache
def endings() -> frozenset[str]:
    """The endings of the files that Pillow can open."""
    from PIL import Image

    return frozenset(ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def is_picture(path: Path, below: Path) -> bool:
    """By its ending; nothing hidden ``below`` a folder is one."""
    return path.suffix.lower() in endings() and not _hidden(path, below)


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def in_classes(folder: Path) -> list[Path]:
    """The pictures CLASS/FILE below a folder, whatever is behind their names."""
    return [path for each in _entries(folder) for path in _entries(each) if is_picture(path, folder)]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # no folder, or one that cannot be read, which ``left_out`` names
        return []


def left_out(base: Path, parts: Sequence[str], taken: Collection[Path]) -> dict[str, list[Path]]:
    """What lies in the folders of a data set and is not ``taken``, by the reason; nothing hidden is among it."""
    found: dict[str, list[Path]] = {}
    used = {parent for path in taken for parent in path.parents}
    tables = [f"{part}.csv" for part in parts if (base / f"{part}.csv").is_file()]
    unread: list[Path] = []
    if tables and (unnamed := [*_unnamed(base, parts, taken, unread)]):
        found[f"pictures in no line of {' or '.join(tables)}"] = unnamed
    if unread:
        found["folders that cannot be read"] = unread
    for part in parts:
        folder = base / part
        tabled = (base / f"{part}.csv").is_file()
        unread = []
        for path in walk(folder, unread):
            if path in taken or _hidden(path, folder):
                continue
            pictures = (
                f"pictures in no line of {part}.csv" if tabled else f"pictures that are not {Path(part, 'CLASS/FILE')}"
            )
            why = pictures if is_picture(path, folder) else "files that are no pictures by their ending"
            found.setdefault(why, []).append(path)
        if unread:
            found.setdefault("folders that cannot be read", []).extend(unread)
        empty = [path for path in _entries(folder) if path.is_dir() and path not in {*used, *unread}]
        if empty := [path for path in empty if not tabled and path not in taken and not _hidden(path, folder)]:
            found.setdefault("classes without a picture", []).extend(empty)
    unused = [path for path in _entries(base) if path.name.lower() in UNUSED and path.is_dir() and path not in used]
    if unused:
        found["folders that noisygce does not use (data.validation holds out samples of train)"] = unused
    return found


def _unnamed(base: Path, parts: Sequence[str], taken: Collection[Path], unread: list[Path]) -> Iterator[Path]:
    """The pictures beside those ``taken`` that no line of a table names, in ``base`` itself and in folders that are of
    no part, where a line names another one there; ``unread``: the folders that cannot be."""
    if any(path.parent == base for path in taken):
        yield from (path for path in _entries(base) if path not in taken and path.is_file() and is_picture(path, base))
    named = {base / path.relative_to(base).parts[0] for path in taken} - {base / part for part in parts}
    for folder in sorted(path for path in named if path.is_dir()):
        yield from (path for path in walk(folder, unread) if path not in taken and is_picture(path, folder))


def walk(folder: Path, unread: list[Path]) -> Iterator[Path]:
    """All files below a folder, and in the links to folders that it holds; ``unread``: the folders that cannot be."""

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            unread.append(Path(str(error.filename)))

    for top in [folder, *(path for path in _entries(folder) if path.is_symlink() and path.is_dir())]:
        for where, _, files in os.walk(top, onerror=note):
            yield from (Path(where) / name for name in sorted(files))


def told(found: Mapping[str, Sequence[Path | str]]) -> str:
    """What is left out, counted, the first of each kind by its name."""
    return "; ".join(f"{why}: {len(paths):,}, such as {paths[0]}" for why, paths in found.items())
