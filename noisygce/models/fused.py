"""Batch norm of a training step on a GPU, with the addition and the ReLU after it: two kernels forward, two backward.

Torch has no fast one for bf16 in channels_last: it takes seven kernels a layer, and more for addition and ReLU. Sums
are added in an order that depends on the shape alone, so that a result repeats bit for bit. Arithmetic is in float32,
and rounded once, where torch rounds after each of the three.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from noisygce.errors import first_line
from noisygce.models import fused_kernels as kernels

_CHANNELS, _ROWS, _PARTS = 64, 256, 128  # of a tile; parts that sums are added in, over all channels
_TILE = {"ROWS": _ROWS, "CHANNELS": _CHANNELS, "num_warps": 8, "enable_fp_fusion": True}
_ALL = _TILE | {"PARTS": _PARTS}


class _Parts:
    """How the rows and channels of an activation (B, C, H, W) are cut; a function of its shape alone."""

    def __init__(self, x: Tensor) -> None:
        self.channels = x.shape[1]
        self.rows = x.numel() // self.channels
        self.columns = triton.cdiv(self.channels, _CHANNELS)
        # A multiple of a tile, so that only the last part has fewer.
        self.of_a_part = _ROWS * triton.cdiv(triton.cdiv(self.rows, _ROWS), max(_PARTS // self.columns, 1))
        self.number = triton.cdiv(self.rows, self.of_a_part)
        self.of_a_program = max(self.of_a_part // 2, _ROWS)  # twice as many programs as parts: they read less ahead
        self.sums = torch.empty(2, self.number, self.channels, device=x.device)

    @property
    def grid(self) -> tuple[int, int]:
        return self.columns, self.number

    @property
    def programs(self) -> tuple[int, int]:
        return self.columns, triton.cdiv(self.rows, self.of_a_program)


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor, running_mean: Tensor,
        running_var: Tensor, momentum: float, eps: float, relu: bool,
    ) -> Tensor:  # fmt: skip
        x = x.contiguous(memory_format=torch.channels_last)
        if residual is not None:
            residual = residual.contiguous(memory_format=torch.channels_last)
        cut, y = _Parts(x), torch.empty_like(x)
        mean, scale = torch.empty_like(running_mean), torch.empty_like(running_var)
        kernels.moments[cut.grid](x, cut.sums, cut.rows, cut.channels, cut.of_a_part, **_TILE)
        kernels.normalise[cut.programs](
            x, x if residual is None else residual, y, cut.sums, mean, scale, weight, bias, running_mean, running_var,
            cut.rows, cut.channels, cut.of_a_part, cut.number, cut.of_a_program, eps, momentum,
            ADD=residual is not None, RELU=relu, **_ALL,
        )  # fmt: skip
        ctx.save_for_backward(x, y if relu else x, mean, scale, weight)  # y tells where the ReLU was open
        ctx.relu, ctx.adds = relu, residual is not None
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, y, mean, scale, weight = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        cut, dx = _Parts(x), torch.empty_like(x)
        d_residual = torch.empty_like(x) if ctx.adds and ctx.relu else dy
        d_weight, d_bias = torch.empty_like(mean), torch.empty_like(mean)
        kernels.gradient_sums[cut.grid](
            dy, x, y, mean, scale, cut.sums, cut.rows, cut.channels, cut.of_a_part, RELU=ctx.relu, **_TILE
        )
        kernels.gradients[cut.programs](
            dy, x, y, mean, scale, weight, cut.sums, dx, d_residual, d_weight, d_bias,
            cut.rows, cut.channels, cut.number, cut.of_a_program, ADD=ctx.adds, RELU=ctx.relu, **_ALL,
        )  # fmt: skip
        return dx, d_residual if ctx.adds else None, d_weight, d_bias, None, None, None, None, None


batch_norm: Callable[..., Tensor] = _BatchNorm.apply


def by_torch(
    x: Tensor,
    residual: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
    relu: bool,
) -> Tensor:
    """The same by torch's operations."""
    y = F.batch_norm(x, running_mean, running_var, weight, bias, True, momentum, eps)
    if residual is not None:
        y = y + residual
    return y.relu() if relu else y


@functools.cache
def unusable(device: str) -> str:
    """Why these kernels are not for a device: they cannot be built there, or compute something else than torch does on
    a few made-up numbers; empty where they are."""
    try:
        error = difference(device)
    except Exception as error_there:  # whatever Triton, a compiler or a driver may raise
        return f"the fused kernels cannot be built ({first_line(error_there)})"
    return "" if error <= 1 else f"the fused kernels differ from torch's by {error:.2g} times what rounding explains"


def difference(device: str, dtype: torch.dtype = torch.bfloat16, shape: tuple[int, ...] = (5, 80, 9, 7)) -> float:
    """The largest difference between these kernels and torch's operations in float64, as a multiple of what rounding to
    ``dtype`` explains: of results, gradients and statistics."""
    draws = torch.Generator().manual_seed(0)
    x, residual, dy = (torch.empty(shape).normal_(offset, generator=draws).to(dtype) for offset in (3, 0, 0))
    vectors = torch.empty(4, shape[1]).normal_(1, 0.1, generator=draws)  # weight, bias, running mean and variance
    worst = 0.0
    for adds, relu in ((False, False), (False, True), (True, True)):  # what networks ask for
        given = (x, residual, dy), vectors, adds, relu
        ours = _results(batch_norm, *given, device, dtype, torch.float32)
        right = _results(by_torch, *given, "cpu", torch.float64, torch.float64)
        for found, expected in zip(ours, right, strict=True):
            is_image = found.ndim == 4
            terms = 1 if is_image else x.numel() / shape[1]  # of a sum
            size = expected.abs() + expected.abs().mean() * terms**0.5
            allowed = size * torch.finfo(dtype if is_image else torch.float32).eps
            worst = max(worst, float(((found - expected).abs() / allowed).nan_to_num(torch.inf).max()))
    return worst


def _results(
    function: Callable[..., Tensor],
    images: Sequence[Tensor],
    vectors: Tensor,
    adds: bool,
    relu: bool,
    device: str,
    of_images: torch.dtype,
    of_vectors: torch.dtype,
) -> list[Tensor]:
    """y, the gradients and the running statistics, in float64 on the CPU."""
    x, residual, dy = (t.to(device, of_images, memory_format=torch.channels_last) for t in images)
    weight, bias, *running = (v.to(device, of_vectors, copy=True) for v in vectors)
    leaves = [t.requires_grad_() for t in ((x, residual, weight, bias) if adds else (x, weight, bias))]
    y = function(x, residual if adds else None, weight, bias, *running, 0.1, 1e-5, relu)
    gradients = torch.autograd.grad(y, leaves, dy)
    return [t.detach().double().cpu() for t in (y, *gradients, *running)]
