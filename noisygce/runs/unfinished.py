"""What the folder of a run that is not finished says of it: how far it is, who works on it, its config."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noisygce.runs.ids import flat
from noisygce.runs.reading import json_values, yaml_values


def state_of(folder: Path) -> tuple[str, str, dict[str, Any]]:
    """State, note and owner of a run without a manifest."""
    if not folder.is_dir():
        return "missing", "", {}
    if failure := failure_of(folder):  # after a crash the run may be tried again, and resumes
        return (
            ("stopped", f"crashed: {failure['cause']}", {}) if failure["crashed"] else ("failed", failure["cause"], {})
        )
    owner = owner_of(folder)
    if owner and held(folder / "lock", owner):
        return "running", "", owner
    begun = owner or (folder / "metrics.csv").exists()
    return ("stopped" if begun else "missing"), "", owner  # an owner that holds no lock was killed or has crashed


def failure_of(folder: Path) -> dict[str, Any]:
    """cause, and whether the run crashed (otherwise the same config fails the same way again); empty without one."""
    try:
        failure = json_values((folder / "failed.json").read_bytes())
        return {"cause": str(failure["cause"]), "crashed": bool(failure.get("crashed", False))}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"cause": "failed.json cannot be read", "crashed": False}


def owner_of(folder: Path) -> dict[str, Any]:
    """pid and host of the process that works on a run, and since when (seconds since 1970); empty where none does."""
    path = folder / "owner.json"
    try:
        return {**json_values(path.read_bytes()), "since": path.stat().st_mtime}
    except (OSError, ValueError, TypeError):
        return {}


def held(lock: Path, owner: Mapping[str, Any]) -> bool:
    """Whether a process on any machine holds the lock of a run.

    By asking for a shared lock without waiting, which is released at once. Where files cannot be locked, by its owner:
    a process of this machine must live, and one of another machine is taken to live.
    """
    try:
        import fcntl

        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except (ImportError, OSError):  # Windows; a file system without locks
        return _lives(owner)


def _lives(owner: Mapping[str, Any]) -> bool:
    if owner.get("host") != socket.gethostname() or os.name != "posix":  # os.kill ends a process of Windows
        return True
    pid = owner.get("pid")
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:  # of another user
        return True
    except (OSError, OverflowError):
        return False
    return True


def config(folder: Path) -> dict[str, Any]:
    """What the id of an unfinished run was made from, as its config.yaml says; empty where it cannot."""
    try:
        read = yaml_values((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return flat(read) if isinstance(read, dict) else {}
