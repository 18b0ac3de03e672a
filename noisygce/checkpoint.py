"""Checkpoints: everything a resume needs, written so that a kill at any instant leaves a whole one behind.

A file is one header line with the SHA-256 of the rest, then plain tensors and plain Python values as torch writes
them; it is read with ``weights_only``, so no pickled code runs. The last two are kept.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

from noisygce.errors import CheckpointError

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
_HEADER = b"noisygce checkpoint 1, sha256 "


def write(folder: Path, content: dict[str, Any]) -> None:
    """Saves ``content`` as the last checkpoint of ``folder``; the one before stays as the previous one.

    Into memory, into a temporary file beside the target, fsync, rename, fsync of the folder.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    body = buffer.getbuffer()
    temporary = folder / f"{LAST}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            file.write(_HEADER + hashlib.sha256(body).hexdigest().encode() + b"\n")
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if (folder / LAST).exists():
            os.replace(folder / LAST, folder / PREVIOUS)
        os.replace(temporary, folder / LAST)
    finally:
        temporary.unlink(missing_ok=True)
    sync(folder)


def read(folder: Path, run_id: str) -> tuple[dict[str, Any] | None, str]:
    """The newest whole checkpoint of ``folder``, or None where there is none; and why a newer one was passed over.

    Raises CheckpointError where there are checkpoints but none is whole, and for one of another run.
    """
    reasons = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            content = _load(path)
        except CheckpointError as error:
            reasons.append(str(error))
            continue
        if content.get("run_id") != run_id:
            raise CheckpointError(
                f"{path} belongs to another run, {content.get('run_id')}, not to {run_id}; move it away to start afresh"
            )
        return content, "; ".join(reasons)
    if reasons:
        raise CheckpointError("; ".join(reasons) + "; delete them to start this run afresh")
    return None, ""


def _load(path: Path) -> dict[str, Any]:
    import torch

    whole = path.read_bytes()
    head, _, body = whole.partition(b"\n")
    if not head.startswith(_HEADER) or head[len(_HEADER) :] != hashlib.sha256(body).hexdigest().encode():
        raise CheckpointError(f"{path} is damaged: its SHA-256 does not fit")
    try:
        content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} holds what no checkpoint holds: {error}".splitlines()[0]) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds what no checkpoint holds: a {type(content).__name__}")
    return content


def remove(folder: Path) -> None:
    """Deletes the checkpoints of ``folder``, and temporary files that a kill has left."""
    for path in (folder / LAST, folder / PREVIOUS, *folder.glob("*.tmp")):
        path.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Makes renames in ``folder`` durable; where the system cannot sync a folder, nothing is lost by not doing so."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
