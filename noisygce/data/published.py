"""Published data sets: files below the data root, fetched by torchvision when missing, verified by MD5."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from noisygce.data.base import Arrays, Data
from noisygce.errors import DataError, first_line

HOME = Path("data")  # where data sets lie unless paths.data or NOISYGCE_DATA name another folder: made when missing
_RETRY = 60.0  # seconds before a fetch that failed is tried again, so that the runs of a sweep do not wait one by one
_failed: dict[tuple[str, Path], tuple[float, str]] = {}  # class and root: when this process failed to fetch it, and why


class Published(Data):
    """Subclasses name ``files`` and give ``_arrays``."""

    torchvision: ClassVar[str]  # its name in torchvision.datasets

    def require(self, root: Path) -> None:
        missing = [path for path in self.inputs(root) if not path.is_file()]
        if not missing:
            return
        name = type(self).__name__
        if not root.is_dir() and root != HOME:  # a mistyped path, rather than a wish for hundreds of megabytes there
            raise DataError(f"paths.data={root} (or NOISYGCE_DATA): there is no such folder; make it, or name another")
        when, cause = _failed.get((name, root.absolute()), (-_RETRY, ""))
        if time.monotonic() - when >= _RETRY:
            from filelock import FileLock

            try:
                root.mkdir(parents=True, exist_ok=True)
                with FileLock(root / ".fetch.lock"):  # runs started side by side fetch once
                    self._fetch(root)
                return
            except Exception as error:
                cause = first_line(error)
                _failed[name, root.absolute()] = (time.monotonic(), cause)
        raise DataError(
            f"{name} is not in {root} and could not be fetched ({cause}); put these files there, or name another "
            f"folder with paths.data=FOLDER or NOISYGCE_DATA: {', '.join(str(p.relative_to(root)) for p in missing)}"
        )

    def _fetch(self, root: Path) -> None:
        from torchvision import datasets

        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            getattr(datasets, self.torchvision)(root, download=True)

    def _read(self, root: Path) -> Arrays:
        return self._arrays({name: _verified(root / name, md5) for name, md5 in self.files.items()})

    def _arrays(self, content: Mapping[str, bytes]) -> Arrays:
        """The arrays in the verified content of ``files``."""
        raise NotImplementedError


def _verified(path: Path, md5: str) -> bytes:
    content = path.read_bytes()
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"{path} is damaged or another file: its MD5 is {found}, the published one {md5}; "
            "delete it and start again to fetch it, or put the official file there"
        )
    return content
