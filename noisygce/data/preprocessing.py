"""How images are fed to a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisygce import check

Floats = NDArray[np.floating[Any]]
_ROWS = 4096  # that are computed with at a time, so that vectors that fill the memory need little more of it


class Preprocessing:
    """Normalisation of all images, random crop and flip of training images.

    normalise: "channel" subtracts the channel's mean and divides by its std; "pixel_mean" subtracts each pixel's mean
    over the training set (the paper's). mean, std: per channel, or one for all, in units of the full range 0..1.
    padding: zero pixels on each side before the random crop. flip: horizontally, with probability 1/2. rotation: in
    degrees; each image is then turned about its centre by an angle uniform in +-rotation, nearest pixels, zeros from
    beyond its border.
    randaugment: [N, M], then N operations of magnitude M in 0..30, each drawn from 14 (Cubuk et al. 2020, arXiv
    1909.13719); null: none. cutout: a square of so many pixels about a random one is 0 after normalisation (DeVries &
    Taylor 2017, arXiv 1708.04552); 0: none.
    """

    def __init__(
        self,
        normalise: str,
        mean: list[float],
        std: list[float],
        padding: int,
        flip: bool,
        rotation: float,
        randaugment: list[int] | None,
        cutout: int,
        *,
        channels: int = 0,
    ) -> None:
        """channels: of the images, where they are known; 0 where they are not yet."""
        self.normalise = check.choice("normalise", normalise, ("channel", "pixel_mean"))
        self.mean = check.numbers("mean", mean, "[0, 1]")
        self.std = check.numbers("std", std, "(0, 1]")
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != (channels or len(values)):
                raise check.Invalid(key, list(values), f"a list of {channels}, one for each channel")
        self.padding = check.whole("padding", padding, "[0, 64]")
        self.flip = check.flag("flip", flip)
        self.rotation = check.number("rotation", rotation, "[0, 180]")
        self.cutout = check.whole("cutout", cutout, "[0, 1024]")
        if randaugment is not None and not (isinstance(randaugment, list) and len(randaugment) == 2):
            raise check.Invalid(
                "randaugment", randaugment, "null, or [N, M]: N operations of magnitude M, such as [2, 9]"
            )
        self.randaugment = check.or_null(check.wholes, "randaugment", randaugment, "[0, 30]")
        if self.randaugment is not None and normalise == "pixel_mean":
            raise check.Invalid("randaugment", randaugment, "null where data.normalise=pixel_mean")


class Standardisation(Preprocessing):
    """How vectors are fed to a network.

    normalise: "standard" gives each of their values the mean 0 and the standard deviation 1 over the training set (a
    value that never changes becomes 0); "none" leaves them as they are. They are computed in float64, and cast to
    float32 then: a time stamp of today differs from the next one in float64 alone.
    """

    def __init__(self, normalise: str, *, channels: int = 0) -> None:
        self.normalise = check.choice("normalise", normalise, ("standard", "none"))
        self.mean, self.std = (0.0,), (1.0,)
        self.padding, self.flip, self.rotation = 0, False, 0.0
        self.randaugment, self.cutout = None, 0


def blocks(rows: int) -> Iterator[slice]:
    """All rows, some thousand at a time."""
    return (slice(start, start + _ROWS) for start in range(0, rows, _ROWS))


def units(vectors: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What ``scaled`` subtracts from each of the D values of vectors (N, ..., D), and what it divides them by, so that
    they have mean 0 and standard deviation 1, or, where they never change but for the rounding of float64, are 0."""
    flat, width = vectors.reshape(-1, vectors.shape[-1]), vectors.shape[-1]
    first = flat[0].astype(np.float64)  # differences from it are exact where numbers are large and close together
    shift, squares = np.zeros(width), np.zeros(width)
    for rows in blocks(len(flat)):
        shift += (flat[rows] - first).sum(0)
    shift /= len(flat)
    for rows in blocks(len(flat)):
        squares += ((flat[rows] - first - shift) ** 2).sum(0)
    spread = np.sqrt(squares / len(flat))
    constant = spread <= 8 * np.finfo(np.float64).eps * np.abs(first)
    return np.where(constant, first, first + shift), np.where(constant, 1.0, spread)


def scaled(vectors: Floats, centre: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float32]:
    """Vectors (N, ..., D) less ``centre`` (D,), by ``spread`` (D,), in float64, then cast to float32."""
    ready = np.empty(vectors.shape, dtype=np.float32)
    for rows in blocks(len(vectors)):
        ready[rows] = (vectors[rows] - centre) / spread
    return ready


def merged(vectors: Floats, ready: NDArray[np.float32]) -> list[int]:
    """The columns of vectors (N, D) of whose distinct values more than one in a hundred is equal to another in
    ``ready`` (N, D), what they became in float32; by chance alone one in a thousand of 10,000 may be."""
    return [int(column) for column in np.flatnonzero(_distinct(ready) < 0.99 * _distinct(vectors))]


def _distinct(values: Floats) -> NDArray[np.int64]:
    """How many values there are in each column."""
    counts: NDArray[np.int64] = 1 + (np.diff(np.sort(values, axis=0), axis=0) != 0).sum(0)
    return counts
