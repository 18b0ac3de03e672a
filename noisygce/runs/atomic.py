"""Writing files: each is the old one or the new one, never a part of one, and none is written through a link.

A link in a results folder from elsewhere, such as owner.json -> ~/thesis.tex, leads no write to another file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from noisygce.errors import ConfigError


def write(path: Path, parts: Iterable[bytes | memoryview], durable: bool = True, keep: Path | None = None) -> None:
    """Puts a file at ``path``: into a temporary file beside it, fsync, rename, fsync of the folder.

    A link at ``path`` is replaced, and the file that it leads to stays as it is. durable: it survives a loss of power
    too, which costs some milliseconds. keep: where the file that was at ``path`` goes. Raises OSError, naming the file;
    what was at ``path`` is then still whole.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a killed process of the same number, or a link
        with open(temporary, "xb") as file:
            for part in parts:
                file.write(part)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:  # a full disk says no name
            raise type(error)(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync(path.parent)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """``write`` of a text, as UTF-8, with line ends as they are. A file name in it that is no UTF-8 keeps its bytes."""
    write(path, [text.encode(errors="surrogateescape")], durable)


def appended(path: Path) -> IO[str]:
    """Opens a text file to append to it. Raises OSError where it is a link."""
    no_link = getattr(os, "O_NOFOLLOW", 0)  # which Windows lacks
    return open(path, "a", opener=lambda name, flags: os.open(name, flags | no_link, 0o666))


def refuse_links(path: Path, below: Path) -> None:
    """Raises ConfigError where ``path``, or a folder between it and ``below``, is a link. ``below`` itself may be."""
    found, expected = path.resolve(), below.resolve() / path.relative_to(below)
    if found != expected:
        raise ConfigError(
            f"{path} is a link, or below one, and leads to {found}: noisygce writes nothing through links; delete the "
            "link, or name the folder itself by paths.results"
        )


def sweep(folder: Path) -> None:
    """Deletes the temporary files that a kill has left; only for who holds the lock of ``folder``."""
    for left in folder.glob("*.tmp"):
        left.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Makes a file, or the renames in a folder, durable; no system but POSIX can or needs to do so for a folder."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
