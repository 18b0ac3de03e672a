"""Images as batches on the device: crop, mirror, turn, normalise. No worker.

A set lies on the device, or, where it would take more than half of the device's memory, on the host, from where the
images of each batch are copied. The device then does the same with them, so that no bit depends on where they lie.
"""

from __future__ import annotations

import logging
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
from noisygce.training import hardware
from noisygce.training.augment import RandAugment, holes

log = logging.getLogger("noisygce")


@dataclass(frozen=True)
class BatchSpec:
    """What a batch is made from: B images, each seen in V augmented views.

    index (B,): into the full training set. For each view (V B,), all images of the first one first: top, left, the
    corner of the window in the padded image, in 0..2 padding; mirror, 0 or 1; turn, a row of ``rotations``. Of images
    that are mixed in pairs, V = 1: partner (B,), the place in the batch of the other one; weight (), float32, of the
    one, and the other has the rest. operation (V B, N): see ``RandAugment``; hole (V B, 2): see ``holes``. Of images
    that lie on the host: rows (B,), the index there; then pixels, what ``Images.fetch`` gives for them.
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
    rows: Tensor | None = None
    pixels: Tensor | None = None

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
    """A set of images (N, H, W, C), zero-padded for the crop, and its normalisation.

    uint8 is pixels, of which 255 is the full range; floats are numbers that stand for themselves, and lie here as
    float32: standardised, where they are. ``units`` (D,), float64: what was subtracted from them, what divided by.
    ``pixel_mean`` is 0 in the padding, so that padding stays 0 after subtraction, as when padding comes last.
    ``on_host``: ``pixels`` are not on the device, and not padded; ``fetch`` brings a batch of them.
    """

    def __init__(
        self,
        images: Pixels,
        preprocessing: Preprocessing,
        train_images: Pixels,
        device: str,
        on_host: bool | None = None,
    ) -> None:
        """on_host: null decides by the memory of the device."""
        self.device = device
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
        size, memory = n * (h + 2 * p) * (w + 2 * p) * c * given.element_size(), hardware.memory(device)
        self.on_host = 2 * size > memory if on_host is None else on_host  # padding takes twice their size
        if self.on_host and on_host is None:
            log.info(f"{n:,} images of {size / 1e9:,.1f} GB stay in host memory: {device} has {memory / 1e9:,.1f} GB")
        self.pixels = given if self.on_host else self._padded(given.to(device))
        if preprocessing.normalise == "pixel_mean":
            mean = np.zeros((h + 2 * p, w + 2 * p, c), dtype=np.float32)
            mean[p : p + h, p : p + w] = train_images.mean(0, dtype=np.float64) / 255
            self.mean, self.std = torch.from_numpy(mean).to(device), torch.ones(c, device=device)
        else:
            self.mean, self.std = (torch.tensor(v, device=device) for v in (preprocessing.mean, preprocessing.std))
        # On the device: CUDA divides by a number of Python's as a product with its reciprocal, which rounds otherwise.
        self.full = torch.tensor(255.0 if given.dtype == torch.uint8 else 1.0, device=device)

    def _padded(self, images: Tensor) -> Tensor:
        """Images of the set (n, H, W, C) on the device, with zeros about each."""
        p, (n, h, w, c) = self.padding, images.shape
        if images.is_floating_point() and not p:  # vectors may fill much of the memory
            return images
        padded = torch.zeros((n, h + 2 * p, w + 2 * p, c), dtype=images.dtype, device=images.device)
        padded[:, p : p + h, p : p + w] = images
        return padded

    def rows(self, index: Tensor) -> Tensor:
        """An index (n,) as ``fetch`` wants it. Waits for the device where images lie on the host."""
        return index.cpu() if self.on_host else index

    def fetch(self, rows: Tensor) -> Tensor | None:
        """Padded pixels of the images in these rows, copied to the device from the host; None where all are there."""
        if not self.on_host:
            return None
        pinned = self.device.startswith("cuda")  # the copy waits for no step then
        batch = torch.empty((len(rows), *self.pixels.shape[1:]), dtype=self.pixels.dtype, pin_memory=pinned)
        torch.index_select(self.pixels, 0, rows, out=batch)
        return self._padded(batch.to(self.device, non_blocking=True))

    def fetched(self, draw: BatchSpec) -> BatchSpec:
        """The batch, with its pixels where images lie on the host."""
        return draw if draw.rows is None else replace(draw, rows=None, pixels=self.fetch(draw.rows))

    def _found(self, index: Tensor, fetched: Tensor | None) -> tuple[Tensor, Tensor]:
        """Padded pixels on the device, and the places of the images of ``index`` in them."""
        return (self.pixels, index) if fetched is None else (fetched, torch.arange(len(index), device=index.device))

    def crop(self, draw: BatchSpec) -> Tensor:
        """Normalised float32 images (V B, C, H, W), channels_last in memory, from windows of the padded ones."""
        images = self._cropped(draw)
        return draw.mixed(lambda places: images[places])

    def _cropped(self, draw: BatchSpec) -> Tensor:
        pixels, index = self._found(draw.index, draw.pixels)
        index = index.repeat(len(draw.top) // len(index))
        if not (self.padding or self.flip or self.turns is not None or self.randaugment):
            return self._with_holes(self._normalised(pixels[index], self.mean), draw)
        image = self._turned(self._windows(pixels, index * pixels.shape[1] + draw.top, draw), draw)
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

    def plain(self, index: Tensor, fetched: Tensor | None = None) -> Tensor:
        """Normalised images (B, C, H, W) as they are, for evaluation. fetched: what ``fetch`` gives for them."""
        p, (h, w) = self.padding, self.size
        pixels, index = self._found(index, fetched)
        mean = self.mean if self.mean.dim() == 1 else self.mean[p : p + h, p : p + w]
        return self._normalised(pixels[index, p : p + h, p : p + w], mean)

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
