"""What residual networks are made of. torchvision has the same, but importing it takes longer than importing torch."""

from __future__ import annotations

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x)))))), two convolutions of 3x3 (He et al. 2016, arXiv 1512.03385).

    (B, before, H, W) -> (B, after, H / stride, W / stride). Where the shape changes, x goes through a convolution of
    1x1 and batch norm. Names and order of layers are torchvision's.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample: nn.Module | None = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)  # type: ignore[no-any-return]


def stage(before: int, after: int, stride: int, blocks: int) -> list[nn.Module]:
    """Blocks of a stage; the first one has its stride and changes the channels."""
    return [BasicBlock(before, after, stride), *(BasicBlock(after, after, 1) for _ in range(blocks - 1))]
