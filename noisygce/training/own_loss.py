"""Losses of a person's own: whether a run with one can be repeated, seen as it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from noisygce.errors import UserCodeError, defined
from noisygce.losses import Loss
from noisygce.models.base import making
from noisygce.models.own import generators, is_ours


def refuse_untrained(loss: Loss) -> None:
    """Raises UserCodeError for a parameter of a bound loss that no step would train, since ``learned`` does not name
    it."""
    learned = {id(each.tensor) for each in loss.learned().values()}
    for name, value in vars(loss).items():
        found = (
            [value] if isinstance(value, nn.Parameter) else value.parameters() if isinstance(value, nn.Module) else []
        )
        if any(parameter.requires_grad and id(parameter) not in learned for parameter in found):
            raise UserCodeError(
                f"{defined(type(loss))}: {name} holds a parameter that no step would train; learned() must name it, or "
                ".requires_grad_(False) what is to stay"
            )
    for part in loss.parts().values():
        refuse_untrained(part)


@contextlib.contextmanager
def drawing_nothing(loss: Loss) -> Iterator[None]:
    """Around a step. Raises UserCodeError where a loss that is not of this package draws from the generator of torch,
    NumPy or Python, which no seed sets and no checkpoint holds."""
    own = [each for each in _whole(loss) if not is_ours(each)]
    before = _generators() if own else None
    yield
    if own and _generators() != before:
        names = " or ".join(dict.fromkeys(defined(type(each)) for each in own))
        raise UserCodeError(
            f"{names}: it draws random numbers of its own, which a run that resumes could not repeat; make them from "
            "index and the epoch of start_epoch"
        )


def _whole(loss: Loss) -> list[Loss]:
    """A loss and all that it is made of."""
    return [loss, *(inner for part in loss.parts().values() for inner in _whole(part))]


def _generators() -> tuple[Any, ...]:
    with making:  # another thread may be making a network, and seed torch's generator for that
        of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return *generators(), [state.numpy().tobytes() for state in of_gpus]
