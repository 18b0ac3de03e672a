"""The networks: CIFAR ResNet-18 and -34, an 8-layer CNN, compact ones for a CPU, and linear layers.

All but the ResNets train on one thread by default: on more, every layer waits for the slowest thread, and where another
process has one of the cores that is 10 to 20 times slower.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from noisygce import check
from noisygce.errors import ConfigError
from noisygce.models.base import Model, initialisation

if TYPE_CHECKING:
    from torch import nn


class ResNet(Model):
    """ResNet with the CIFAR stem: a first convolution of 3x3 stride 1 and no first pool (He et al. 2016).

    Its layers have torchvision's names.
    depth: 18 (11,173,962 parameters with 3 channels and 10 classes) or 34 (21,282,122). weights: what all of it but the
    head starts from, IMAGENET1K_V1 (torchvision's) or a file; null: nothing. With weights it has torchvision's stem: a
    first convolution of 7x7 and a max pool, each of stride 2. frozen: these weights stay, batch norm keeps its
    statistics, and the head alone is trained.
    """

    of_pictures = True

    def __init__(self, depth: int, init: str, weights: str | None, frozen: bool) -> None:
        if depth not in (18, 34):
            raise check.Invalid("depth", depth, "18 or 34")
        if weights is not None and (not isinstance(weights, str) or not weights):
            raise check.Invalid("weights", weights, "IMAGENET1K_V1, a file of weights, or null")
        if check.flag("frozen", frozen) and weights is None:
            raise check.Invalid("frozen", frozen, "false where model.weights=null")
        self.depth, self.init = depth, initialisation(init)
        self.weights, self.frozen = weights, frozen

    def contents(self) -> Mapping[str, str]:
        from noisygce.models import pretrained

        return {"weights": pretrained.digest(self.depth, self.weights)} if self.weights else {}

    def _start(self, network: nn.Module) -> None:
        from noisygce.models import pretrained

        if self.weights:
            pretrained.into(network, self.depth, self.weights)

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        from torch import nn

        from noisygce.models.pool import MaxPool3
        from noisygce.models.resnet import BatchNorm, LinearProbe, stage

        height, width, channels = shape
        stem = 1 if self.weights is None else 4
        kernel, stride = (3, 1) if stem == 1 else (7, 2)
        layers: dict[str, nn.Module] = {
            "conv1": nn.Conv2d(channels, 64, kernel, stride, kernel // 2, bias=False),
            "bn1": BatchNorm(64, relu=True),
            **({} if stem == 1 else {"maxpool": MaxPool3()}),
        }
        before = 64
        for i, blocks in enumerate({18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[self.depth]):
            layers[f"layer{i + 1}"] = nn.Sequential(*stage(before, 64 << i, 1 if i == 0 else 2, blocks))
            before = 64 << i
        # Three strides of 2 and the stem's leave (H/8, W/8) or (H/32, W/32), rounded up. A plain average pool over all
        # of it: the backward pass of AdaptiveAvgPool2d has no deterministic form on CUDA.
        layers["avgpool"] = nn.AvgPool2d((-(-height // (8 * stem)), -(-width // (8 * stem))))
        whole = OrderedDict(layers, flatten=nn.Flatten(), fc=nn.Linear(before, classes))
        return LinearProbe(whole) if self.frozen else nn.Sequential(whole)


class CompactResNet(Model):
    """A small ResNet of basic blocks, for training on a CPU: 1 + 2 blocks len(channels) + 1 layers.

    stem: kernel size and stride of the first convolution, whose channels are ``width``. channels, strides: of each
    stage of ``blocks`` basic blocks; the first block of a stage has its stride. A mean over all places, and a linear
    layer. Not a published network: ResNet-8 (He et al. 2016, n = 1) has channels 16, 32, 64 and a stem of stride 1.
    """

    of_pictures = True
    threads = 1

    def __init__(
        self, width: int, stem: list[int], channels: list[int], strides: list[int], blocks: int, init: str
    ) -> None:
        self.init = initialisation(init)
        self.width = check.whole("width", width, "[1, 4096]")
        self.stem = check.wholes("stem", stem, "[1, 16]")
        self.channels = check.wholes("channels", channels, "[1, 4096]")
        self.strides = check.wholes("strides", strides, "[1, 4]")
        self.blocks = check.whole("blocks", blocks, "[1, 100]")
        if len(self.stem) != 2:
            raise check.Invalid("stem", stem, "a list of two: kernel size and stride")
        if not self.channels or len(self.strides) != len(self.channels):
            raise check.Invalid("strides", strides, "a list as long as channels, and not empty")

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        from torch import nn

        from noisygce.models.resnet import BatchNorm, stage

        (kernel, stride), before, (height, width, colours) = self.stem, self.width, shape
        padding = (kernel - 1) // 2
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
        layers: list[nn.Module] = [
            nn.Conv2d(colours, before, kernel, stride, padding, bias=False),
            BatchNorm(before),
            nn.ReLU(inplace=True),
        ]
        for after, first in zip(self.channels, self.strides, strict=True):
            height, width = -(-height // first), -(-width // first)
            layers += stage(before, after, first, self.blocks)
            before = after
        layers += [nn.AvgPool2d((height, width)), nn.Flatten(), nn.Linear(before, classes)]  # a plain pool as in ResNet
        return nn.Sequential(*layers)


class CNN(Model):
    """Blocks of two 3x3 convolutions with bias, batch norm and ReLU and a 2x2 max pool, then two linear layers.

    channels: of each block. width: of the hidden linear layer, which has batch norm and ReLU too. With 64, 128, 196 and
    256 the 8-layer CNN of Ma et al. 2020 (arXiv 2006.13554): 1,639,794 parameters with 3 channels, 32x32, 10 classes.
    Raises ConfigError where an image is too small for that many blocks.
    """

    of_pictures = True
    threads = 1

    def __init__(self, channels: list[int], width: int, init: str) -> None:
        self.channels = check.wholes("channels", channels, "[1, 4096]")
        if not self.channels:
            raise check.Invalid("channels", channels, "a list that is not empty")
        self.width, self.init = check.whole("width", width, "[1, 4096]"), initialisation(init)

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        from torch import nn

        from noisygce.models.pool import MaxPool2

        height, width, before = shape
        if min(height, width) >> len(self.channels) < 1:
            most = min(height, width).bit_length() - 1
            raise ConfigError(f"model.channels={list(self.channels)}: images of {height}x{width} leave {most} blocks")
        layers: list[nn.Module] = []
        for after in self.channels:
            for inside in (before, after):
                layers += [nn.Conv2d(inside, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers.append(MaxPool2())
            before, height, width = after, height // 2, width // 2
        hidden = nn.Linear(before * height * width, self.width)
        layers += [nn.Flatten(), hidden, nn.BatchNorm1d(self.width), nn.ReLU(), nn.Linear(self.width, classes)]
        return nn.Sequential(*layers)


class ConvNet(Model):
    """Two 3x3 convolutions with batch norm, a 2x2 average pool and two linear layers: for the 8x8 digits.

    width: channels of the first convolution, >= 1.
    """

    of_pictures = True
    threads = 1

    def __init__(self, width: int, init: str) -> None:
        self.width, self.init = check.whole("width", width, "[1, 4096]"), initialisation(init)

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        from torch import nn

        height, width, channels = shape
        w = self.width
        return nn.Sequential(
            nn.Conv2d(channels, w, 3, padding=1, bias=False),
            nn.BatchNorm2d(w),
            nn.ReLU(),
            nn.AvgPool2d(2),  # MaxPool2d has no deterministic backward pass on CUDA
            nn.Conv2d(w, 2 * w, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * w),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * w * (height // 2) * (width // 2), 4 * w),
            nn.ReLU(),
            nn.Linear(4 * w, classes),
        )


class MLP(Model):
    """Linear layers with ReLU between them, of the flattened image or vector; widths: of each hidden layer, [] none."""

    threads = 1

    def __init__(self, widths: list[int], init: str) -> None:
        self.widths, self.init = check.wholes("widths", widths, "[1, 65536]"), initialisation(init)

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        from torch import nn

        height, width, channels = shape
        layers: list[nn.Module] = [nn.Flatten()]
        before = height * width * channels
        for after in self.widths:
            layers += [nn.Linear(before, after), nn.ReLU()]
            before = after
        return nn.Sequential(*layers, nn.Linear(before, classes))
