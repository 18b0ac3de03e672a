"""Losses of a person's own: whether a run with one can be repeated, seen as it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
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
def repeatable(loss: Loss, first: bool = False) -> Iterator[None]:
    """Around a step. Raises UserCodeError where a loss that is not of this package does what a run that resumes could
    not repeat: it draws from the generator of torch, NumPy or Python, which no seed sets and no checkpoint holds, or
    changes a number or a tensor that ``state`` does not name, but for what it makes in the ``first`` step."""
    own = [each for each in _whole(loss) if not is_ours(each)]
    before, kept = _generators() if own else None, [_kept(each) for each in own]
    yield
    for each, then in zip(own, kept, strict=True):
        now = _kept(each)
        changed = [name for name in then if name in now and not _same(now[name], then[name])]
        if changed and not first:
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


def _kept(loss: Loss) -> dict[str, Any]:
    """What a loss keeps outside of its state, by name: numbers as texts, arrays by their content, tensors with the
    number of times that they were written into."""
    known = {_storage(tensor) for tensor in loss.state().values()}
    found: dict[str, Any] = {}
    left = [*{**vars(type(loss)), **vars(loss)}.items()]
    while left:
        name, value = left.pop()
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = repr(value)
        elif isinstance(value, np.ndarray):
            found[name] = value.tobytes()
        elif isinstance(value, Tensor):
            plain = value.layout is torch.strided and not value.is_inference()
            if plain and _storage(value) not in known:
                found[name] = value, value._version
        elif isinstance(value, list | tuple):
            left += [(f"{name}[{i}]", each) for i, each in enumerate(value)]
        elif isinstance(value, dict):
            left += [(f"{name}[{key}]", each) for key, each in value.items()]
        elif isinstance(value, nn.Module):
            left += [(f"{name}.{key}", each) for key, each in value.state_dict(keep_vars=True).items()]
    return found


def _storage(tensor: Tensor) -> int:
    """Which memory a tensor, or a view of it, lies in."""
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)


def _same(now: Any, then: Any) -> bool:
    if not isinstance(now, tuple) or not isinstance(then, tuple):
        return bool(now == then)
    (tensor, written), (before, written_before) = now, then
    if tensor is before:
        return bool(written == written_before)
    return tensor.shape == before.shape and torch.equal(tensor.detach().cpu(), before.detach().cpu())


def _whole(loss: Loss) -> list[Loss]:
    """A loss and all that it is made of."""
    return [loss, *(inner for part in loss.parts().values() for inner in _whole(part))]


def _generators() -> tuple[Any, ...]:
    with making:  # another thread may be making a network, and seed torch's generator for that
        of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return *generators(), [state.numpy().tobytes() for state in of_gpus]
