"""Networks of a person's own: whether one can be trained so that the run can be repeated, tried before it starts."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from noisygce.errors import UserCodeError, defined, first_line, user_code_error

if TYPE_CHECKING:
    from torch import nn


def is_ours(model: object) -> bool:
    """Whether the class of a model is a part of this package."""
    return type(model).__module__.partition(".")[0] == "noisygce"


def tried(model: object, network: Any, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The network, whose layers that are made by their first input are made. Its weights stay as they are.

    It is given two black images (H, W, C) in training mode. Raises UserCodeError, in one line, where it is none, fails,
    gives other than logits (2, K), or does what a run that resumes from a checkpoint could not repeat: random numbers
    but for those of dropout layers, and batch norm that averages over all it has seen.
    """
    import torch
    from torch import nn

    def refused(reason: str) -> UserCodeError:
        return UserCodeError(f"{defined(type(model))}: {reason}")

    if not isinstance(network, nn.Module):
        raise refused(f"_layers must give a torch.nn.Module, not {type(network).__name__}")
    height, width, channels = shape
    images = torch.zeros(2, channels, height, width)
    try:
        with torch.no_grad():
            if any(nn.parameter.is_lazy(p) for p in network.parameters()):
                network.eval()(images)
            trial = copy.deepcopy(network).train()
            drawing = _watched(trial)
            logits = trial(images)
    except Exception as error:
        raise user_code_error(error) or refused(first_line(error)) from None
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise refused(f"of images (2, {channels}, {height}, {width}) it makes {given}, not logits (2, {classes})")
    if drawing:
        raise refused(
            f"{drawing[0]} draws random numbers of its own, which a run could not repeat; torch.nn.Dropout layers are "
            "drawn from the run's seed, and attention takes dropout=0"
        )
    for name, layer in network.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.momentum is None and layer.track_running_stats:
            raise refused(f"{name} has momentum=None, which counts calls in Python; give it a number, such as 0.1")
    return network.train()


def _watched(network: nn.Module) -> list[str]:
    """The layers that draw from the generator of torch, NumPy or Python as the network is called, dropout being off;
    filled by the call.

    What moved since the last entry into a layer, or exit from one, is the doing of the innermost one.
    """
    from torch import nn

    found: list[str] = []
    inside: list[str] = []
    seen = [generators()]

    def look() -> None:
        now = generators()
        if now != seen[0]:
            found.append(inside[-1])
            seen[0] = now

    def enter(name: str) -> Any:
        def before(layer: nn.Module, _: Any) -> None:
            look()
            inside.append(f"{name or 'forward'} ({type(layer).__name__})")

        return before

    def leave(*_: Any) -> None:
        look()
        inside.pop()

    for name, layer in network.named_modules():
        layer.register_forward_pre_hook(enter(name))
        layer.register_forward_hook(leave)
        if type(layer) in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d):  # those that are drawn from the seed
            layer.eval()
    return found


def generators() -> tuple[Any, ...]:
    """The states of the global generators of torch, NumPy and Python, to see whether something draws from them."""
    import random  # noqa: TID251  looked at, not drawn from

    import numpy as np
    import torch

    of_numpy: Any = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), of_numpy[1].tobytes(), of_numpy[2:], random.getstate()
