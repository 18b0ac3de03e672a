"""What residual networks are made of. torchvision has the same, but importing it takes longer than importing torch."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm2d):
    """relu(batch norm(x) + residual); without the ReLU or the addition where there is none.

    fused: a training step in bf16 goes through the kernels of noisygce.models.fused, which needs a GPU.
    """

    fused = False

    def __init__(self, channels: int, relu: bool = False) -> None:
        super().__init__(channels)
        self.relu = relu

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        # Kernels count in int32; of one value a channel there is no variance, which torch says.
        countable = x.shape[1] < x.numel() < 2**31
        if self.fused and self.training and x.dtype == torch.bfloat16 and countable:
            from noisygce.models.fused import batch_norm

            self.num_batches_tracked.add_(1)  # type: ignore[union-attr, operator]
            running = (self.running_mean, self.running_var)
            return batch_norm(x, residual, self.weight, self.bias, *running, self.momentum, self.eps, self.relu)  # type: ignore[arg-type]
        y = super().forward(x)
        if residual is not None:
            y += residual
        return F.relu_(y) if self.relu else y


def can_fuse(layer: nn.Module) -> TypeGuard[BatchNorm]:
    """Whether a layer has a use for the fused kernels: batch norm of ours that is trained."""
    return isinstance(layer, BatchNorm) and layer.weight.requires_grad


class BasicBlock(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x)))))), two convolutions of 3x3 (He et al. 2016, arXiv 1512.03385).

    (B, before, H, W) -> (B, after, H / stride, W / stride). Where the shape changes, x goes through a convolution of
    1x1 and batch norm. Names and order of layers are torchvision's.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm(after, relu=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm(after, relu=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), BatchNorm(after))

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.bn1(self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn2(out, shortcut)  # type: ignore[no-any-return]


def stage(before: int, after: int, stride: int, blocks: int) -> list[nn.Module]:
    """Blocks of a stage; the first one has its stride and changes the channels."""
    return [BasicBlock(before, after, stride), *(BasicBlock(after, after, 1) for _ in range(blocks - 1))]


class LinearProbe(nn.Sequential):
    """Layers of which the last one alone is trained; the others stay as they are, and in eval mode."""

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__(layers)
        for layer in list(layers.values())[:-1]:
            layer.requires_grad_(False)

    def train(self, mode: bool = True) -> LinearProbe:
        super().train(mode)
        for layer in list(self.children())[:-1]:
            layer.eval()
        return self
