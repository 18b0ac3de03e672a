"""bf16 steps: all weights cast in one kernel, where autocast would cast them one by one, to the same values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def is_plain(network: nn.Module) -> bool:
    """Whether all layers are torch's and ours, which do with their weights what autocast expects; a person's own layer
    may normalise a weight, or leave autocast."""
    return all(type(layer).__module__.startswith(("torch.nn.", "noisygce.")) for layer in network.modules())


def weight_matrices(network: nn.Module) -> dict[str, Tensor]:
    """The weights, by name, that autocast casts one by one, in every step: those of convolutions and linear layers."""
    layers = ((name, layer) for name, layer in network.named_modules() if type(layer) in (nn.Conv2d, nn.Linear))
    layers = ((name, layer) for name, layer in layers if not layer._forward_pre_hooks)  # weight_norm has one
    every = ((f"{name}.{key}", p) for name, layer in layers for key, p in layer.named_parameters(recurse=False))
    names = dict(network.named_parameters())  # of a weight that stands in two places the first: the other follows it
    return {name: p for name, p in every if name in names and p.requires_grad}


class Cast(torch.autograd.Function):
    """Casts all weights to bf16 in one kernel, and their gradients back in one: the values that autocast computes."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # a weight that takes no part has no gradient, rather than zeros
        return _cast(weights, torch.bfloat16)

    @staticmethod
    def backward(_: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        cast = iter(_cast([g for g in gradients if g is not None], torch.float32))
        return tuple(None if g is None else next(cast) for g in gradients)


def _cast(tensors: list[Tensor] | tuple[Tensor, ...], to: torch.dtype) -> tuple[Tensor, ...]:
    results = [torch.empty_like(tensor, dtype=to) for tensor in tensors]
    torch._foreach_copy_(results, tensors)
    return tuple(results)
