"""Noise that depends on the image."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from noisygce import check
from noisygce.noise.base import Images, Labels, Matrix, Noise, Vector, uniforms

_FLIP, _DRAW, _DIRECTION = 1, 2, 3  # purposes of draws
_SPREAD = 0.1  # standard deviation of the flip rates, the paper's


class Instance(Noise):
    """Instance-dependent noise: P(z | y, x) = q_x softmax(x W_y without y)_z for z != y, and 1 - q_x for z = y.

    Xia et al. 2020, algorithm 2 (arXiv 2006.07836): q_x ~ N(r, 0.1^2) truncated to [0, 1], one for each image;
    W_y (D, K) ~ N(0, 1), one for each class; x (D,) the D = H W C pixels of the image, not augmented. Vectors of
    data=features are taken as they are.

    pixels: "raw", in 0..1, or "normalised" by mean and standard deviation of each channel over the training images, as
    code that draws from a loader's images has them. That is another noise: all raw images have a mean in common, which
    picks much the same wrong class for all images of a class, and normalised ones have none (docs/noise.md).

    The authors' code takes raw pixels in 0..255, float32 and the library's own generators, so that its labels are
    others for the same seed; some code has one W for all classes. Here all is float64 from raw PCG64 bits: q by the
    inverse normal distribution function, W by the Box-Muller transform. Platforms whose logarithm or matrix product
    rounds otherwise may differ in a label of a million; the manifest's digest shows it.

    x W_y has a standard deviation of |x|, about 28 on CIFAR-10, so that softmax picks one class almost surely.
    """

    def __init__(self, rate: float, seed: int | None, pixels: str) -> None:
        super().__init__(rate, seed)
        self.pixels = check.choice("pixels", pixels, ("raw", "normalised"))

    def draw(self, labels: Labels, images: Images, classes: Sequence[str], seed: int) -> Labels:
        k = len(classes)
        flip = truncated_normals(self.rate, uniforms(len(labels), seed, _FLIP))
        u = uniforms(len(labels), seed, _DRAW)
        pixels = images.reshape(len(images), -1)
        shift, scale = self._units(images)
        noisy = labels.copy()
        for y in range(k):  # a class at a time: all of W would be 245 MB for CIFAR-100
            own = np.flatnonzero(labels == y)
            direction = normals(pixels.shape[1] * k, seed, _DIRECTION, y + 1).reshape(-1, k)
            p = others_softmax(((pixels[own] - shift) / scale) @ direction, y) * flip[own, None]
            p[:, y] = 1 - flip[own]
            noisy[own] = (u[own, None] >= np.cumsum(p, axis=1)[:, :-1]).sum(1)
        return noisy

    def _units(self, images: Images) -> tuple[Vector, Vector]:
        """What is subtracted from the D pixels of an image, and what they are divided by."""
        channels = images.shape[-1]
        shift, scale = np.zeros(channels), np.full(channels, 255.0)
        if images.dtype != np.uint8:
            scale[:] = 1
            if self.pixels == "normalised":
                flat = images.reshape(-1, channels)
                shift, scale = flat.mean(0, dtype=np.float64), flat.std(0, dtype=np.float64)
        elif self.pixels == "normalised":
            counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(channels)]
            values = np.arange(256)
            shift = np.array([np.average(values, weights=n) for n in counts])
            scale = np.array(
                [np.average((values - m) ** 2, weights=n) ** 0.5 for m, n in zip(shift, counts, strict=True)]
            )
        scale[scale <= 1e-9 * np.abs(shift)] = 1  # of a channel that never changes, but for the rounding of float64
        places = images[0, ..., 0].size
        return np.tile(shift, places), np.tile(scale, places)


def others_softmax(scores: Matrix, y: int) -> Matrix:
    """softmax over the classes but y (n, K); 0 at y."""
    scores = scores.copy()
    scores[:, y] = -np.inf
    p = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-1e300))
    return p / p.sum(axis=1, keepdims=True)


def truncated_normals(mean: float, u: Vector) -> Vector:
    """N(mean, 0.1^2) truncated to [0, 1], at the quantiles ``u`` (n,)."""
    normal = NormalDist(mean, _SPREAD)
    low, high = normal.cdf(0), normal.cdf(1)
    within = np.clip(low + u * (high - low), 1e-300, 1 - 2.0**-53)  # inv_cdf is for the open interval
    return np.clip([normal.inv_cdf(float(p)) for p in within], 0, 1)


def normals(count: int, seed: int, *purpose: int) -> Vector:
    """Independent standard normal numbers (count,), by the Box-Muller transform."""
    half = -(-count // 2)
    u = uniforms(2 * half, seed, *purpose)
    radius, angle = np.sqrt(-2 * np.log1p(-u[:half])), 2 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
