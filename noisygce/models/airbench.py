"""A fast convolutional network for CIFAR: the layers of airbench94 (Jordan 2024, arXiv 2404.00498)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisygce import check
from noisygce.errors import ConfigError
from noisygce.models.base import Model, initialisation

if TYPE_CHECKING:
    from torch import nn


class Airbench(Model):
    """A 2x2 convolution and GELU; blocks of conv 3x3, 2x2 max pool, batch norm, GELU, conv 3x3, batch norm, GELU; the
    largest value of each channel; a linear layer without bias, its logits multiplied by ``scale``.

    (B, C, H, W) -> (B, K). The layers of airbench94, section 3 of the paper, without its whitened first layer, partial
    identity initialisation and fixed batch norm weights; momentum and eps of batch norm and the initial biases are
    torch's. ``channels`` of the paper's code are 64, 256, 256; the default, 64, 128, 256, takes half the time.

    stem: channels of the first convolution. channels: of each block. scale: of the logits, in (0, 1000]; 1/9 in the
    paper's code. Raises ConfigError where an image is too small for that many blocks.
    """

    of_pictures = True
    threads = 1

    def __init__(self, stem: int, channels: list[int], scale: float, init: str) -> None:
        self.stem = check.whole("stem", stem, "[1, 4096]")
        self.channels = check.wholes("channels", channels, "[1, 4096]")
        if not self.channels:
            raise check.Invalid("channels", channels, "a list that is not empty")
        self.scale, self.init = check.number("scale", scale, "(0, 1000]"), initialisation(init)

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        from torch import nn

        from noisygce.models.pool import GlobalMaxPool, MaxPool2, Scale

        height, width, before = shape
        if (min(height, width) - 1) >> len(self.channels) < 1:
            most = (min(height, width) - 1).bit_length() - 1
            raise ConfigError(f"model.channels={list(self.channels)}: images of {height}x{width} leave {most} blocks")
        layers: list[nn.Module] = [nn.Conv2d(before, self.stem, 2), nn.GELU()]
        before = self.stem
        for after in self.channels:
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), MaxPool2(), nn.BatchNorm2d(after), nn.GELU()]
            layers += [nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.GELU()]
            before = after
        return nn.Sequential(*layers, GlobalMaxPool(), nn.Linear(before, classes, bias=False), Scale(self.scale))
