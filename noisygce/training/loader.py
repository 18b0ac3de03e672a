"""Batches made on the device: order, crop, flip, normalise. No worker, no copy from the host inside an epoch.

The whole set lies on the device as uint8. Order and augmentation are a pure function of (seed, epoch, index), the same
on every device, so that stopping, evaluating or running beside another run changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisygce import check
from noisygce.data import Preprocessing
from noisygce.data.base import Images as Pixels
from noisygce.data.preprocessing import scaled, units
from noisygce.errors import ConfigError
from noisygce.training.augment import OPERATIONS, RandAugment, holes
from noisygce.training.philox import below, beta, philox

_ORDER, _AUGMENT, _MIX = 4, 5, 6  # keep their draws apart from those of other purposes (docs/protocol.md, Randomness)


@dataclass(frozen=True)
class BatchSpec:
    """What a batch is made from: B images, each seen in V augmented views.

    index (B,): into the full training set. For each view (V B,), all images of the first one first: top, left, the
    corner of the window in the padded image, in 0..2 padding; mirror, 0 or 1; turn, a row of ``rotations``. Of images
    that are mixed in pairs, V = 1: partner (B,), the place in the batch of the other one; weight (), float32, of the
    one, and the other has the rest. operation (V B, N): see ``RandAugment``; hole (V B, 2): see ``holes``.
    """

    index: Tensor
    top: Tensor
    left: Tensor
    mirror: Tensor
    turn: Tensor
    partner: Tensor | None = None
    weight: Tensor | None = None
    operation: Tensor | None = None
    hole: Tensor | None = None

    def names(self) -> tuple[str, ...]:
        """What ``BatchSpec`` takes ``tensors`` by to make this one again."""
        return tuple(name for name, part in vars(self).items() if part is not None)

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(part for part in vars(self).values() if part is not None)

    def mixed(self, of: Callable[[Tensor | slice], Tensor]) -> Tensor:
        """What ``of`` gives for all places in the batch, mixed as the images are with what it gives for partners."""
        own = of(slice(None))
        if self.partner is None or self.weight is None:
            return own
        return self.weight * own + (1 - self.weight) * of(self.partner)


ANGLES = 1024  # of a rotation: at 20 degrees 0.04 degrees apart, 0.015 pixels in the corner of 32x32


def rotations(height: int, width: int, degrees: float) -> NDArray[np.int32]:
    """For ``ANGLES`` evenly spaced angles in +-degrees the place in an image that comes to each place (ANGLES, H W).

    Places count row by row; H W is beyond the border. Nearest pixels, about the centre. Made on the host, so that the
    same pixels come on every device.
    """
    angle = np.radians(degrees * ((2 * np.arange(ANGLES) + 1) / ANGLES - 1))[:, None, None]
    y, x = np.arange(height)[:, None] + 0.5 - height / 2, np.arange(width) + 0.5 - width / 2
    row = np.floor(np.cos(angle) * y - np.sin(angle) * x + height / 2).astype(np.int32)
    column = np.floor(np.sin(angle) * y + np.cos(angle) * x + width / 2).astype(np.int32)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.where(inside, row * width + column, height * width).reshape(ANGLES, -1).astype(np.int32)


def _cutout(pixels: int, side: int) -> int:
    """The side of the square that is cut out. Raises check.Invalid for one that may blank out a whole image."""
    if pixels and pixels >= side:
        raise check.Invalid("data.cutout", pixels, f"less than the {side} pixels of a side")
    return pixels


class Images:
    """A set of images (N, H, W, C) on the device, zero-padded for the crop, and its normalisation.

    uint8 is pixels, of which 255 is the full range; floats are numbers that stand for themselves, and lie here as
    float32: standardised, where they are. ``units`` (D,), float64: what was subtracted from them, what divided by.
    ``pixel_mean`` is 0 in the padding, so that padding stays 0 after subtraction, as when padding comes last.
    """

    def __init__(self, images: Pixels, preprocessing: Preprocessing, train_images: Pixels, device: str) -> None:
        p = self.padding = preprocessing.padding
        self.flip = preprocessing.flip
        self.size = images.shape[1:3]
        self.turns: Tensor | None = None
        if preprocessing.rotation:
            self.turns = torch.from_numpy(rotations(self.size[0], self.size[1], preprocessing.rotation)).to(device)
        self.cutout = _cutout(preprocessing.cutout, min(self.size))
        self.randaugment: RandAugment | None = None
        if preprocessing.randaugment and preprocessing.randaugment[0]:
            count, magnitude = preprocessing.randaugment
            if images.dtype != np.uint8:
                raise check.Invalid("data.randaugment", [count, magnitude], "null where there are no pixels")
            self.randaugment = RandAugment(count, magnitude, self.size, device)
        n, h, w, c = images.shape
        for key in ("mean", "std"):
            if len(values := getattr(preprocessing, key)) not in (1, c):
                raise ConfigError(f"data.{key}={[*values]}: must be a list of {c}, one for each channel, or of one")
        self.units: tuple[Tensor, Tensor] | None = None
        if preprocessing.normalise == "standard" and n:
            centre, spread = units(train_images)
            self.units, images = (torch.from_numpy(centre), torch.from_numpy(spread)), scaled(images, centre, spread)
        elif images.dtype != np.uint8:
            images = np.array(images, dtype=np.float32)  # a copy: the file that they are mapped from may change
        given = torch.from_numpy(images)
        if given.dtype == torch.float32 and not p:  # vectors may fill much of the memory
            self.pixels = given.to(device)
        else:
            self.pixels = torch.zeros((n, h + 2 * p, w + 2 * p, c), dtype=given.dtype, device=device)
            self.pixels[:, p : p + h, p : p + w] = given.to(device)
        if preprocessing.normalise == "pixel_mean":
            mean = np.zeros(self.pixels.shape[1:], dtype=np.float32)
            mean[p : p + h, p : p + w] = train_images.mean(0, dtype=np.float64) / 255
            self.mean, self.std = torch.from_numpy(mean).to(device), torch.ones(c, device=device)
        else:
            self.mean, self.std = (torch.tensor(v, device=device) for v in (preprocessing.mean, preprocessing.std))
        # On the device: CUDA divides by a number of Python's as a product with its reciprocal, which rounds otherwise.
        self.full = torch.tensor(255.0 if given.dtype == torch.uint8 else 1.0, device=device)

    def crop(self, draw: BatchSpec) -> Tensor:
        """Normalised float32 images (V B, C, H, W), channels_last in memory, from windows of the padded ones."""
        images = self._cropped(draw)
        return draw.mixed(lambda places: images[places])

    def _cropped(self, draw: BatchSpec) -> Tensor:
        index = draw.index.repeat(len(draw.top) // len(draw.index))
        if not (self.padding or self.flip or self.turns is not None or self.randaugment):
            return self._with_holes(self.plain(index), draw)
        image = self._turned(self._windows(self.pixels, index * self.pixels.shape[1] + draw.top, draw), draw)
        if self.randaugment and draw.operation is not None:
            image = self.randaugment(image, draw.operation)
        mean = self.mean
        if mean.dim() > 1:
            mean = self._turned(self._windows(mean, draw.top, draw), draw)
        return self._with_holes(self._normalised(image, mean), draw)

    def _with_holes(self, images: Tensor, draw: BatchSpec) -> Tensor:
        """Normalised images (V B, C, H, W), a square of each 0."""
        if draw.hole is None:
            return images
        return images * holes(draw.hole, self.cutout, *self.size)

    def plain(self, index: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) as they are, for evaluation."""
        p, (h, w) = self.padding, self.size
        mean = self.mean if self.mean.dim() == 1 else self.mean[p : p + h, p : p + w]
        return self._normalised(self.pixels[index, p : p + h, p : p + w], mean)

    def _windows(self, padded: Tensor, top: Tensor, draw: BatchSpec) -> Tensor:
        """Windows (V B, H, W, C) of padded images (..., C) one below the other; top counts rows from the first.

        A row of a window is W C values side by side, so that one gather of rows makes all windows.
        """
        (h, w), (width, c) = self.size, padded.shape[-2:]
        first = (top[:, None] + torch.arange(h, device=top.device)) * width + draw.left[:, None]
        rows = padded.as_strided((padded.numel() // c - w + 1, w * c), (c, 1)).index_select(0, first.flatten())
        windows = rows.view(-1, h, w, c)
        return torch.where(draw.mirror[:, None, None, None] > 0, windows.flip(2), windows) if self.flip else windows

    def _turned(self, windows: Tensor, draw: BatchSpec) -> Tensor:
        """The windows (V B, H, W, C), each turned."""
        if self.turns is None:
            return windows
        pixels = torch.nn.functional.pad(windows.flatten(1, 2), (0, 0, 0, 1))  # the last place: beyond the border
        places = self.turns.index_select(0, draw.turn).long()[:, :, None].expand(-1, -1, windows.shape[3])
        return pixels.gather(1, places).view_as(windows)

    def _normalised(self, image: Tensor, mean: Tensor) -> Tensor:
        return ((image.float() / self.full - mean) / self.std).permute(0, 3, 1, 2)


class Loader:
    """The augmented training batches of each epoch.

    views: V, how often each image is seen in its batch. mixup: alpha > 0 mixes images in pairs with weights of
    Beta(alpha, alpha), one for each batch; 0 does not.
    """

    def __init__(
        self, images: Images, train: Tensor, batch_size: int, seed: int, views: int = 1, mixup: float = 0.0
    ) -> None:
        self.images, self.views, self.mixup = images, views, mixup
        self.train = train.sort().values  # ties of the random order go by index
        self.batch_size, self.seed = batch_size, seed

    def epoch(self, epoch: int, inside: Tensor) -> list[BatchSpec]:
        """The batches of an epoch in random order, the last one as large as what remains.

        inside (N,) bool: the samples that take part. The order of the others does not depend on who is missing.
        """
        index = self.train[inside[self.train]]
        high, low, _, _ = philox((index, epoch, 0, 0), (self.seed, _ORDER))
        index = index[torch.argsort((high << 31) | (low >> 1), stable=True)]
        view = torch.arange(self.views, device=index.device)[:, None]
        top, left, mirror, turn = philox((index, epoch, view, 0), (self.seed, _AUGMENT))  # (V, N)
        side = 2 * self.images.padding + 1
        mirror = mirror >> 31 if self.images.flip else torch.zeros_like(mirror)
        sizes = self._sizes(len(index))
        drawn = (below(top, side), below(left, side), mirror, below(turn, ANGLES))
        windows = (part.split(sizes, 1) for part in drawn)
        parts = zip(index.split(sizes), *windows, strict=True)
        draws = [BatchSpec(index, *(window.flatten() for window in each)) for index, *each in parts]
        if self.images.randaugment:
            turns = range(2, 2 + self.images.randaugment.count)
            words = [philox((index, epoch, view, turn), (self.seed, _AUGMENT)) for turn in turns]
            chosen = torch.stack([2 * below(word, len(OPERATIONS)) + (sign >> 31) for word, sign, _, _ in words], 2)
            split = chosen.split(sizes, 1)  # (V, B, N) each
            draws = [replace(d, operation=part.flatten(0, 1)) for d, part in zip(draws, split, strict=True)]
        if self.images.cutout:
            row, column, _, _ = philox((index, epoch, view, 1), (self.seed, _AUGMENT))
            height, width = self.images.size
            split = torch.stack([below(row, height), below(column, width)], 2).split(sizes, 1)
            draws = [replace(d, hole=part.flatten(0, 1)) for d, part in zip(draws, split, strict=True)]
        return self._mixed(draws, epoch) if self.mixup else draws

    def _mixed(self, draws: list[BatchSpec], epoch: int) -> list[BatchSpec]:
        """The same batches, the images of each mixed in the order of a permutation of it."""
        key = (self.seed, _MIX)
        one, other, _, _ = philox((torch.arange(len(draws)), epoch, 1, 0), key)
        weights = beta(one, other, self.mixup).float().to(self.train.device)  # few, and the same bits on every device
        partners = [philox((draw.index, epoch, 0, 0), key)[0].argsort(stable=True) for draw in draws]
        mixing = zip(draws, partners, weights.unbind(), strict=True)
        return [replace(draw, partner=partner, weight=weight) for draw, partner, weight in mixing]

    def _sizes(self, images: int) -> list[int]:
        """Images of each batch. A last one alone joins the batch before: batch norm cannot normalise a single value."""
        whole, rest = divmod(images, self.batch_size)
        sizes = [self.batch_size] * whole
        if rest == 1 and whole:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        return sizes
