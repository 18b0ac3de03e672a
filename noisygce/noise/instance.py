"""Noise that depends on the image."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from noisygce.noise.base import Images, Labels, Matrix, Noise, Vector, uniforms

_FLIP, _DRAW, _DIRECTION = 1, 2, 3  # purposes of draws
_SPREAD = 0.1  # standard deviation of the flip rates, the paper's


class Instance(Noise):
    """Instance-dependent noise: P(z | y, x) = q_x softmax(x W_y without y)_z for z != y, and 1 - q_x for z = y.

    Xia et al. 2020, algorithm 2 (arXiv 2006.07836): q_x ~ N(r, 0.1^2) truncated to [0, 1], one for each image;
    W_y (D, K) ~ N(0, 1), one for each class; x (D,) the D = H W C raw pixels in 0..1, neither normalised nor augmented.

    Where public code differs: some of it feeds normalised images, or one W for all classes; all of it takes float32 and
    the library's own generators, so that its labels are others for the same seed. Here all is float64 from raw PCG64
    bits: q by the inverse normal distribution function, W by the Box-Muller transform. Platforms whose logarithm or
    matrix product rounds otherwise may differ in a label of a million; the manifest's digest shows it.

    x W_y has a standard deviation of |x|, about 28 on CIFAR-10, so that softmax picks one class almost surely.
    """

    def draw(self, labels: Labels, images: Images, classes: Sequence[str], seed: int) -> Labels:
        seed, k = self._seed(seed), len(classes)
        flip = truncated_normals(self.rate, uniforms(len(labels), seed, _FLIP))
        u = uniforms(len(labels), seed, _DRAW)
        pixels = images.reshape(len(images), -1)
        noisy = labels.copy()
        for y in range(k):  # a class at a time: all of W would be 245 MB for CIFAR-100
            own = np.flatnonzero(labels == y)
            direction = normals(pixels.shape[1] * k, seed, _DIRECTION, y + 1).reshape(-1, k)
            p = others_softmax((pixels[own] / 255) @ direction, y) * flip[own, None]
            p[:, y] = 1 - flip[own]
            noisy[own] = (u[own, None] >= np.cumsum(p, axis=1)[:, :-1]).sum(1)
        return noisy


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
