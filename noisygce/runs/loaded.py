"""A person's own modules that this process has imported: whether their files still hold the code that it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noisygce.errors import ConfigError

_known: dict[str, tuple[object, str]] = {}  # by module: its spec, which a reload replaces, and the digest of its file


def refuse_changed(identity: Mapping[str, Any]) -> None:
    """Raises ConfigError where a module of ``identity["code"]`` was changed after this process had imported it: the id
    would hold the digest of code that the run is not trained with. So in a notebook, and in a sweep of many hours."""
    for name, digest in identity.get("code", {}).items():
        module = sys.modules.get(name)
        if module is None:
            continue
        spec, known = _known.get(name, (None, ""))
        if spec is not module.__spec__:  # seen for the first time, or reloaded
            known = "" if _edited(module) else digest
            _known[name] = module.__spec__, known
        if known != digest:
            raise ConfigError(
                f"{module.__file__} has changed since {name} was imported, and a run's id holds the digest of the "
                f"file; start Python again, or importlib.reload({name})"
            )


def _edited(module: Any) -> bool:
    """Whether the file of a module is another than the one that it was compiled from, by its time, as far as can be
    known: where Python writes no compiled file, only what changes from now on is noticed."""
    if sys.dont_write_bytecode:  # a compiled file may be of long ago
        return False
    try:
        compiled = Path(module.__spec__.cached)
        if not os.access(compiled.parent, os.W_OK):
            return False
        head = compiled.read_bytes()[:16]
        when = int(Path(module.__spec__.origin).stat().st_mtime) & 0xFFFFFFFF
    except (OSError, AttributeError, TypeError):
        return False
    by_time = head[4:8] == bytes(4)  # else by a digest of the text
    return by_time and int.from_bytes(head[8:12], "little") != when
