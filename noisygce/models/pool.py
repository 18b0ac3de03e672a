"""Layers without weights: max pools whose backward pass is deterministic, and a scale.

torch's max pools add in any order on CUDA and are refused there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad


class MaxPool2(nn.Module):
    """The largest of each 2x2 places: (B, C, H, W) -> (B, C, H // 2, W // 2).

    Values and gradients are those of nn.MaxPool2d(2): of equal places the first one gets the gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, 2) if x.device.type == "cpu" else _Max.apply(x)  # type: ignore[no-any-return]


class MaxPool3(nn.Module):
    """The largest of each 3x3 places, stride 2, padding 1: (B, C, H, W) -> (B, C, (H + 1) // 2, (W + 1) // 2).

    On a GPU equal places share the gradient, where nn.MaxPool2d gives it to the first: another gradient where positive
    values are equal, as they often are in bf16.
    """

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, 3, 2, 1) if x.device.type == "cpu" else self.of_slices(x)

    def of_slices(self, x: Tensor) -> Tensor:
        height, width = ((side + 1) // 2 * 2 for side in x.shape[2:])
        padded = pad(x, (1, 2, 1, 2), value=-torch.inf)
        places = [padded[..., top : top + height : 2, left : left + width : 2] for top in range(3) for left in range(3)]
        return torch.stack(places).amax(0)


class GlobalMaxPool(nn.Module):
    """The largest of all places: (B, C, H, W) -> (B, C). Equal places share the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3))


class Scale(nn.Module):
    """x multiplied by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class _Max(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        y = max_pool2d(x, 2)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        x, y = ctx.saved_tensors
        height, width = (2 * side for side in y.shape[2:])
        result, free = torch.zeros_like(x), torch.ones_like(y, dtype=torch.bool)
        for top, left in ((0, 0), (0, 1), (1, 0), (1, 1)):
            place = (..., slice(top, height, 2), slice(left, width, 2))
            here = free & (x[place] == y)
            result[place] = gradient.where(here, 0)
            free &= ~here
        return result
