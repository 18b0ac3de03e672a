"""What the folder of a run that is not finished says of it: how far it is, who works on it, what it was asked to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from noisygce.runs.ids import flat


def state_of(folder: Path) -> tuple[str, str, dict[str, Any]]:
    """State, note and owner of a run without a manifest."""
    if not folder.is_dir():
        return "missing", "", {}
    try:
        told = json.loads((folder / "failed.json").read_text())
        crashed = told.get("crashed", False)  # which may be tried again, and goes on where it was
        return ("stopped", f"crashed: {told['cause']}", {}) if crashed else ("failed", str(told["cause"]), {})
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "failed", "failed.json cannot be read", {}
    path = folder / "owner.json"
    try:
        owner = {**json.loads(path.read_text()), "since": path.stat().st_mtime}
    except (OSError, ValueError, TypeError):  # none, or one that is being written
        owner = {}
    if owner and held(folder / "lock"):
        return "running", "", owner
    begun = owner or (folder / "metrics.csv").exists()
    return ("stopped" if begun else "missing"), "", owner  # an owner that holds no lock was killed or has crashed


def held(lock: Path) -> bool:
    """Whether a process on any machine holds the lock of a run.

    By asking for a shared lock without waiting, and letting go at once; only asked where a run has an owner.
    """
    try:
        import fcntl
    except ImportError:  # Windows: the owner's word must do
        return lock.exists()
    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or a file system without locks
        return False
    return False


def config(folder: Path) -> dict[str, Any]:
    """What the id of an unfinished run was made from, as its config.yaml says; empty where it cannot."""
    import yaml

    try:
        read = yaml.load((folder / "config.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return flat(read) if isinstance(read, dict) else {}
