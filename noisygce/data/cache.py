"""Caches in the user's cache folder: digests of files, and decoded pictures that all runs of all processes share.

    digests.sqlite          path, state of the file, SHA-256
    pictures/<digest>.npy   uint8 (n, size, size, channels); <digest>.json: the pictures that cannot be read, and why

Both hold only what can be made again, so the folder may be deleted at any time. It is ``NOISYGCE_CACHE``, or
``noisygce`` below ``XDG_CACHE_HOME`` or ``~/.cache``. Where it cannot be written, nothing is cached. Pictures that no
run has read for ``KEPT`` days are deleted when others are stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shlex
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisygce import inputs

log = logging.getLogger("noisygce")

_READER = 2  # raised where ``inputs.picture`` makes other pixels of the same file
_TICK_NS = 2_000_000_000  # the coarsest clock of a file system, FAT's: a file may change within it and keep its times
KEPT = 90  # days; a training that maps pictures is over by then
_WORTH = 1000  # pictures from which decoding takes long enough to say that it is cached


def folder() -> Path:
    """The folder of all caches."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "noisygce"
    return Path(os.environ.get("NOISYGCE_CACHE") or home)


def digests(paths: Sequence[Path]) -> list[str | None]:
    """SHA-256 of the content of each file, None of one that cannot be read.

    A file is read only where its state (size, times, inode) is not the cached one. A file that has changed within the
    last two seconds is not cached, since a second change could leave its times as they are.
    """
    states = [_state(path) for path in paths]
    names = [os.fsencode(path.absolute()) for path in paths]
    known = _known(names)
    wanted = [i for i, state in enumerate(states) if not state or known.get(names[i], ("",))[0] != state]
    fresh = dict(zip(wanted, _in_threads(_digest, [paths[i] for i in wanted]), strict=True))
    _remember(
        (names[i], states[i], digest)
        for i, digest in fresh.items()
        if digest and states[i] and _settled(paths[i]) and _state(paths[i]) == states[i]
    )
    return [fresh[i] if i in fresh else known[name][1] for i, name in enumerate(names)]


def _state(path: Path) -> str:
    try:
        return repr(inputs.state(path)[1:])
    except OSError:
        return ""


def _settled(path: Path) -> bool:
    with contextlib.suppress(OSError):
        found = path.stat()
        return time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _TICK_NS
    return False


def _digest(path: Path) -> str | None:
    try:
        return inputs.sha256(path)
    except OSError:
        return None


def _database() -> sqlite3.Connection:
    folder().mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(folder() / "digests.sqlite", timeout=10)
    database.execute("CREATE TABLE IF NOT EXISTS digests (path BLOB PRIMARY KEY, state TEXT, sha256 TEXT)")
    return database


def _known(names: Sequence[bytes]) -> dict[bytes, tuple[str, str]]:
    """State and digest of the files that are cached."""
    found: dict[bytes, tuple[str, str]] = {}
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(_database()) as database:
        for start in range(0, len(names), 500):  # SQLite takes 999 values a query
            some = names[start : start + 500]
            query = f"SELECT path, state, sha256 FROM digests WHERE path IN ({','.join('?' * len(some))})"
            found.update({path: (state, sha256) for path, state, sha256 in database.execute(query, some)})
    return found


def _remember(rows: Iterable[tuple[bytes, str, str]]) -> None:
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(_database()) as database, database:
        database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", rows)


def pictures(paths: Sequence[Path], size: int, channels: int) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Pictures as uint8 (n, size, size, channels), without those that cannot be read; and, by number, why not.

    Decoded once, by all cores; later processes map the cached array. It is keyed by the contents of all files, size,
    channels, and the versions of Pillow and of noisygce's reader.
    """
    import PIL

    states, found = [_state(path) for path in paths], digests(paths)
    made_from = [found, size, channels, PIL.__version__, _READER]
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]
    cached = folder() / "pictures" / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError, AttributeError, KeyError, IndexError):  # damaged: made anew
        broken = json.loads(cached.with_suffix(".json").read_text())
        images: NDArray[np.uint8] = np.load(cached, mmap_mode="c", allow_pickle=False)
        if images.shape == (len(paths) - len(broken), size, size, channels):
            with contextlib.suppress(OSError):  # a cache that this user may only read
                os.utime(cached)
            return images, {int(i): f"{paths[int(i)]} ({reason})" for i, reason in broken.items()}
    images = np.zeros((len(paths), size, size, channels), dtype=np.uint8)
    passing: list[int] = []  # pictures that this machine could not read now, and may read the next time

    def decode(i: int) -> str:
        try:
            images[i] = inputs.picture(paths[i], size, size, channels)
        except Exception as error:  # a file of unknown origin can go wrong in any way
            if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
                passing.append(i)
            return f"{error}".replace("\n", " ").replace(str(paths[i]), paths[i].name) or type(error).__name__
        return ""

    reasons = {i: reason for i, reason in enumerate(_in_threads(decode, range(len(paths)))) if reason}
    good = [i for i in range(len(paths)) if i not in reasons]
    for place, i in enumerate(good):  # where they are: a copy of them all may not fit into memory
        if place < i:
            images[place] = images[i]
    images = images[: len(good)]
    # An entry is of the contents that its key names: not where a file has changed since it was hashed.
    whole = not passing and states == [_state(path) for path in paths]
    if len(paths) and whole and _store(cached, images, reasons) and len(paths) >= _WORTH:
        log.info(
            f"decoded {len(paths):,} pictures into {cached} ({images.nbytes / 1e6:,.0f} MB), which later runs read; "
            f"deleted once unused for {KEPT} days; rm -r {shlex.quote(str(folder()))} empties the cache"
        )
    return images, {i: f"{paths[i]} ({reason})" for i, reason in reasons.items()}


def _store(path: Path, images: NDArray[np.uint8], broken: dict[int, str]) -> bool:
    """Writes both files of an entry, each by rename, the array last."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:  # threads and processes may store the same entry
            (Path(aside) / "broken").write_text(json.dumps(broken))
            with open(Path(aside) / "images", "wb") as file:
                np.save(file, images)
            (Path(aside) / "broken").replace(path.with_suffix(".json"))
            (Path(aside) / "images").replace(path)
        for old in path.parent.glob("*.npy"):
            if time.time() - old.stat().st_mtime > KEPT * 86_400:
                old.with_suffix(".json").unlink(missing_ok=True)
                old.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _in_threads(call: Any, items: Sequence[Any]) -> list[Any]:
    """``call`` of each; hashing and Pillow's decoders leave the interpreter to other threads."""
    if len(items) < 32:
        return [call(item) for item in items]
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads:
        return list(threads.map(call, items, chunksize=1))
