"""Losses of a person's own: whether one has what it declares, asked before anything is read or trained."""

from __future__ import annotations

from collections.abc import Mapping

from noisygce.errors import UserCodeError, defined
from noisygce.losses.base import Loss


def refuse_incomplete(loss: Loss) -> None:
    """Raises UserCodeError where a loss, or a part of it, declares what it has no method for."""
    kind = type(loss)
    for declared, name, method in (("prunes", "keep", Loss.keep), ("mixes_labels", "of_mixed", Loss.of_mixed)):
        if getattr(loss, declared) and getattr(kind, name) is method:
            raise UserCodeError(f"{defined(kind)}: {declared} = True, and it has no {name}")
    if loss.mixup and loss.views > 1:
        raise UserCodeError(f"{defined(kind)}: mixup mixes one view of each image, and views = {loss.views}")
    for name in ("needs_epochs", "needs_steps"):
        if not isinstance(given := getattr(loss, name), Mapping):
            raise UserCodeError(f"{defined(kind)}: {name} must be {{parameter: outcome}}, not {given!r}")
    for part in loss.parts().values():
        refuse_incomplete(part)
