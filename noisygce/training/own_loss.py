"""Losses of a person's own: whether a run with one can be repeated, seen as it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from noisygce.errors import UserCodeError, defined
from noisygce.losses import Learned, Loss
from noisygce.models.base import making
from noisygce.models.own import generators, is_ours


def refuse_untrained(loss: Loss) -> None:
    """Raises UserCodeError for a parameter of a bound loss that no step would train, since ``learned`` does not name
    it."""
    given = loss.learned()
    if other := [each for each in given.values() if not isinstance(each, Learned)]:
        raise UserCodeError(
            f"{defined(type(loss))}: learned must give noisygce.losses.Learned(tensor, lr=...), not "
            f"{type(other[0]).__name__}"
        )
    learned = {id(each.tensor) for each in given.values()}
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
def repeatable(loss: Loss) -> Iterator[None]:
    """Around a step. Raises UserCodeError where a loss that is not of this package does what a run that resumes could
    not repeat: it draws from the generator of torch, NumPy or Python, which no seed sets and no checkpoint holds, or
    changes a number or a tensor that ``state`` does not name."""
    own = [each for each in _whole(loss) if not is_ours(each)]
    before, kept = _generators() if own else None, [_kept(each) for each in own]
    yield
    for each, then in zip(own, kept, strict=True):
        now = _kept(each)
        if changed := [name for name in then if name in now and now[name] != then[name]]:
            raise UserCodeError(
                f"{defined(type(each))}: a step changes {changed[0]}, which a run that resumes would not have; keep it "
                "in a tensor that state() names"
            )
    if own and _generators() != before:
        names = " or ".join(dict.fromkeys(defined(type(each)) for each in own))
        raise UserCodeError(
            f"{names}: it draws random numbers of its own, which a run that resumes could not repeat; make them from "
            "index and the epoch of start_epoch"
        )


def _kept(loss: Loss) -> dict[str, object]:
    """What a loss keeps outside of its state: numbers, and which tensors, written into how often."""
    known = {tensor.data_ptr() for tensor in loss.state().values()}
    found: dict[str, object] = {}
    for name, value in {**vars(type(loss)), **vars(loss)}.items():
        if isinstance(value, int | float):
            found[name] = value
        elif isinstance(value, Tensor) and value.data_ptr() not in known:
            found[name] = id(value), value._version
    return found


def _whole(loss: Loss) -> list[Loss]:
    """A loss and all that it is made of."""
    return [loss, *(inner for part in loss.parts().values() for inner in _whole(part))]


def _generators() -> tuple[Any, ...]:
    with making:  # another thread may be making a network, and seed torch's generator for that
        of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return *generators(), [state.numpy().tobytes() for state in of_gpus]
