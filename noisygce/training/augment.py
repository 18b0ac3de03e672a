"""RandAugment and cutout of a batch on the device, in whole numbers, so that the same pixels come on every device.

B images (B, H, W, C) uint8 of C channels, 3 of them red, green and blue.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Those that move pixels first, in the order of ``_moves``: the operations of Cubuk et al. 2020 as torchvision has them.
OPERATIONS = (
    *("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("identity", "brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
_MOVES, _ONE = 5, 1 << 16  # operations that move pixels; 1 in fixed point


def _moves(height: int, width: int, magnitude: int) -> NDArray[np.int64]:
    """For each move and sign the place in an image that comes to each place (2 * 5 + 1, H W), last that of none.

    Places count row by row; H W is beyond the border. Nearest pixels. Made on the host.
    """
    share = magnitude / 30
    shear, angle = 0.3 * share, np.radians(30 * share)
    right, down = int(150 / 331 * width * share), int(150 / 331 * height * share)
    y, x = (np.arange(height) + 0.5)[:, None], np.arange(width) + 0.5
    found = []
    for sign in (1, -1):
        cos, sin, v, u = np.cos(angle), np.sign(sign) * np.sin(angle), y - height / 2, x - width / 2
        found += [
            (y + 0 * x, x + sign * shear * y),
            (y + sign * shear * x, x + 0 * y),
            (y + 0 * x, x + sign * right + 0 * y),
            (y + sign * down + 0 * x, x + 0 * y),
            (cos * v - sin * u + height / 2, sin * v + cos * u + width / 2),
        ]
    places = []
    for rows, columns in (*found, (y + 0 * x, x + 0 * y)):
        row, column = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        places.append(np.where(inside, row * width + column, height * width).ravel())
    return np.stack(places)


class RandAugment:
    """``count`` operations one after another, each drawn from 14, of one magnitude in 0..30 (Cubuk et al. 2020, arXiv
    1909.13719). Operations are of the magnitudes that torchvision gives them; places from beyond the border are 0."""

    def __init__(self, count: int, magnitude: int, size: tuple[int, int], device: str) -> None:
        self.count, self.magnitude = count, magnitude
        self.moves = torch.from_numpy(_moves(*size, magnitude)).to(device)
        self.change = round(0.9 * magnitude / 30 * _ONE)  # of a factor, either way
        self.kernel = torch.tensor([1, 1, 1, 1, 5, 1, 1, 1, 1], device=device)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """drawn (B, count): of each image and turn 2 o + s, o the number of an operation, s = 1 for the other sign."""
        for turn in range(self.count):
            images = self._apply(images, drawn[:, turn] >> 1, drawn[:, turn] & 1)
        return images

    def _apply(self, images: Tensor, operation: Tensor, sign: Tensor) -> Tensor:
        x = self._moved(images, operation, sign)
        factor = (_ONE + self.change * (1 - 2 * sign))[:, None, None, None]
        whole = x.long()
        for number, name in enumerate(OPERATIONS[_MOVES + 1 :], _MOVES + 1):
            changed: Callable[[Tensor, Tensor], Tensor] = getattr(self, name)
            x = torch.where((operation == number)[:, None, None, None], changed(whole, factor).to(torch.uint8), x)
        return x

    def _moved(self, images: Tensor, operation: Tensor, sign: Tensor) -> Tensor:
        row = torch.where(operation < _MOVES, operation + _MOVES * sign, 2 * _MOVES)
        pixels = torch.nn.functional.pad(images.flatten(1, 2), (0, 0, 0, 1))  # the last place: beyond the border
        places = self.moves.index_select(0, row)[:, :, None].expand(-1, -1, images.shape[3])
        return pixels.gather(1, places).view_as(images)

    # Each of whole numbers 0..255 (B, H, W, C) and factors (B, 1, 1, 1) in fixed point.

    @staticmethod
    def _blend(one: Tensor, other: Tensor, factor: Tensor) -> Tensor:
        return ((factor * one + (_ONE - factor) * other) >> 16).clamp(0, 255)

    @staticmethod
    def _grey(x: Tensor) -> Tensor:
        """Luma (B, H, W, 1), of ITU-R 601; of one channel that channel."""
        if x.shape[3] != 3:
            return x[..., :1]
        red, green, blue = x.unbind(3)
        return ((19589 * red + 38470 * green + 7471 * blue) >> 16)[..., None]

    def brightness(self, x: Tensor, factor: Tensor) -> Tensor:
        return self._blend(x, torch.zeros_like(x), factor)

    def color(self, x: Tensor, factor: Tensor) -> Tensor:
        return self._blend(x, self._grey(x), factor) if x.shape[3] == 3 else x

    def contrast(self, x: Tensor, factor: Tensor) -> Tensor:
        grey = self._grey(x)
        mean = (grey.sum((1, 2, 3), keepdim=True) << 16) // (x.shape[1] * x.shape[2])
        return ((factor * (x << 16) + (_ONE - factor) * mean) >> 32).clamp(0, 255)

    def sharpness(self, x: Tensor, factor: Tensor) -> Tensor:
        if min(x.shape[1:3]) < 3:  # no pixel is off the border
            return x
        windows = x.unfold(1, 3, 1).unfold(2, 3, 1).flatten(4)  # (B, H - 2, W - 2, C, 9)
        inner = ((windows * self.kernel).sum(4) * 2 + 13) // 26
        blurred = x.clone()
        blurred[:, 1:-1, 1:-1] = inner
        return self._blend(x, blurred, factor)

    def posterize(self, x: Tensor, _: Tensor) -> Tensor:
        bits = round(8 - self.magnitude / 7.5)
        return x & (256 - (1 << (8 - bits)))

    def solarize(self, x: Tensor, _: Tensor) -> Tensor:
        return torch.where(x * 30 >= 255 * (30 - self.magnitude), 255 - x, x)

    def autocontrast(self, x: Tensor, _: Tensor) -> Tensor:
        low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        return torch.where(high > low, (x - low) * 255 // (high - low).clamp(min=1), x)

    def equalize(self, x: Tensor, _: Tensor) -> Tensor:
        """Each channel's histogram made flat, as PIL does it."""
        b, h, w, c = x.shape
        channels = x.permute(0, 3, 1, 2).reshape(b * c, h * w)
        flat = (channels + 256 * torch.arange(b * c, device=x.device)[:, None]).flatten()
        counts = torch.zeros(b * c * 256, dtype=torch.int64, device=x.device)
        counts = counts.scatter_add_(0, flat, torch.ones_like(flat)).view(b * c, 256)
        top = counts.gather(1, channels.amax(1, keepdim=True))
        step = (h * w - top) // 255
        below = counts.cumsum(1) - counts
        table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
        level = torch.where(step > 0, table.gather(1, channels), channels)
        return level.view(b, c, h, w).permute(0, 2, 3, 1)


def holes(centre: Tensor, size: int, height: int, width: int) -> Tensor:
    """1 and, in a square of ``size`` about each centre (B, 2), 0: (B, 1, H, W), bool (DeVries & Taylor 2017, arXiv
    1708.04552). What lies beyond the border is left out."""

    def inside(middle: Tensor, length: int) -> Tensor:
        places = torch.arange(length, device=centre.device) - middle[:, None] + size // 2
        return (places >= 0) & (places < size)

    rows, columns = inside(centre[:, 0], height), inside(centre[:, 1], width)
    return ~(rows[:, None, :, None] & columns[:, None, None, :])
