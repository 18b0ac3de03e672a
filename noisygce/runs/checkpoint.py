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
from noisygce.runs import atomic

LAST, PREVIOUS, DAMAGED = "last.ckpt", "previous.ckpt", "damaged.ckpt"
_HEADER = b"noisygce checkpoint 1, sha256 "
_KEYS = {"run_id": str, "tensors": dict, "progress": dict, "seconds": float, "made": list}


def write(folder: Path, content: dict[str, Any]) -> None:
    """Saves ``content`` as the last checkpoint of ``folder``; the one before stays as the previous one."""
    import torch

    buffer = io.BytesIO()  # a full disk is then an OSError of ours, where torch would raise RuntimeError
    torch.save(content, buffer)
    body = buffer.getbuffer()
    head = _HEADER + hashlib.sha256(body).hexdigest().encode() + b"\n"
    atomic.write(folder / LAST, (head, body), keep=folder / PREVIOUS)


def read(folder: Path, run_id: str) -> tuple[dict[str, Any] | None, str]:
    """The newest whole checkpoint of ``folder``, or None where there is none; and why a newer one was passed over.

    A damaged last one is set aside, so that the next write cannot put it in the place of the whole one before it.
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
        if content["run_id"] != run_id:
            raise CheckpointError(
                f"{path} belongs to another run, {content['run_id']}, not to {run_id}; move it away to start over"
            )
        if reasons:
            os.replace(folder / LAST, folder / DAMAGED)
        return content, "; ".join(reasons)
    if reasons:
        raise CheckpointError("; ".join(reasons) + "; delete the damaged files to start this run over")
    return None, ""


def _load(path: Path) -> dict[str, Any]:
    import torch

    whole = path.read_bytes()
    head, _, body = whole.partition(b"\n")
    if not head.startswith(_HEADER) or head[len(_HEADER) :] != hashlib.sha256(body).hexdigest().encode():
        raise CheckpointError(f"{path} is damaged: its SHA-256 is not the one in its header")
    try:
        content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # without torch's text, which tells how to load it all the same
        raise CheckpointError(
            f"{path} is not a checkpoint: it holds more than tensors and plain values ({type(error).__name__})"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in _KEYS.items()):
        raise CheckpointError(f"{path} is not a checkpoint: it must hold {', '.join(_KEYS)}")
    return content


def there(folder: Path) -> bool:
    """Whether a folder holds a checkpoint."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def remove(folder: Path) -> None:
    """Deletes the checkpoints of ``folder``, and temporary files that a kill has left."""
    atomic.sweep(folder)
    for name in (LAST, PREVIOUS, DAMAGED):
        (folder / name).unlink(missing_ok=True)
