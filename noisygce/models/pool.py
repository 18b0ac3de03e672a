"""A max pool whose backward pass is deterministic. torch's adds in any order on CUDA and is refused there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class MaxPool2(nn.Module):
    """The largest of each 2x2 places: (B, C, H, W) -> (B, C, H // 2, W // 2).

    Values and gradients are those of nn.MaxPool2d(2): of equal places the first one gets the gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _Max.apply(x)  # type: ignore[no-any-return]


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
