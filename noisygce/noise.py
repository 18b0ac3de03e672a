"""Label noise: transition matrices and one draw per label.

``T[y, z] = P(noisy label z | true label y)``; K classes, N samples, rate r. Every draw is a pure function of
(true labels, T, seed), so the noisy labels of a seed are the same for every loss, on every platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisygce import check

Labels = NDArray[np.int64]
Matrix = NDArray[np.float64]
Images = NDArray[np.uint8]

_STREAM = 1  # keeps the draws of noise apart from those of other purposes (docs/protocol.md, Randomness)


def corrupt(labels: Labels, transition: Matrix, seed: int) -> Labels:
    """One draw of ``P(z | y)`` for every label.

    labels (N,) in 0..K-1, transition (K, K), any integer seed >= 0 -> noisy labels (N,).

    Inverse-CDF sampling: the noisy label is the number of the first K-1 cumulative sums of row y that the
    uniform u in [0, 1) has reached. The K-th sum is left out because rounding may leave it below 1. The bits
    come from PCG64's raw 64-bit stream, which NumPy guarantees never to change, not from a distribution
    method, which it does not.
    """
    classes = len(transition)
    _verify(labels, transition, classes)
    raw = np.random.PCG64(np.random.SeedSequence([seed, _STREAM])).random_raw(len(labels))
    u = (raw >> np.uint64(11)) * 2.0**-53
    thresholds = np.cumsum(transition, axis=1)[:, :-1]
    noisy = np.zeros(len(labels), dtype=np.int64)
    for column in range(classes - 1):  # a column at a time: K = 100 would need (N, K) float64 at once
        noisy += u >= thresholds[labels, column]
    return noisy


def _verify(labels: Labels, transition: Matrix, classes: int) -> None:
    if transition.shape != (classes, classes) or (transition < 0).any():
        raise ValueError(f"transition must be a (K, K) matrix of probabilities, got shape {transition.shape}")
    if not np.allclose(transition.sum(axis=1), 1.0, rtol=0, atol=1e-9):
        raise ValueError("each row of the transition matrix must sum to 1")
    if labels.ndim != 1 or (len(labels) and not 0 <= labels.min() <= labels.max() < classes):
        raise ValueError(f"labels must be a vector of integers in 0..{classes - 1}")


def empirical_transition(clean: Labels, noisy: Labels, classes: int) -> Matrix:
    """Share of each noisy label z among the samples of true label y, (K, K); a class without samples has a row of 0."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (clean, noisy), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def realised_rate(clean: Labels, noisy: Labels) -> float:
    """Share of labels that the draw has changed."""
    return float(np.mean(clean != noisy))


class Noise:
    """Noise that depends on the true label alone gives ``transition``; any other gives ``draw`` too.

    rate: r, its meaning given by the subclass. seed: of the draw; null follows the run's seed.
    """

    def __init__(self, rate: float, seed: int | None) -> None:
        self.rate = check.number("rate", rate, "[0, 1)")
        self.seed = seed if seed is None else check.whole("seed", seed, "[0, 4294967296)")

    def transition(self, classes: Sequence[str]) -> Matrix:
        """T (K, K) for the data set with these K class names."""
        raise NotImplementedError

    def draw(self, labels: Labels, images: Images, classes: Sequence[str], seed: int) -> Labels:
        """Noisy labels (N,) for the true ``labels`` (N,) and ``images`` (N, H, W, C) of a run with this ``seed``."""
        return corrupt(labels, self.transition(classes), seed if self.seed is None else self.seed)


class Clean(Noise):
    """No noise: T = I."""

    def __init__(self, rate: float, seed: int | None) -> None:
        if rate != 0:
            raise check.Invalid("rate", rate, "0 with noise=clean")
        super().__init__(rate, seed)

    def transition(self, classes: Sequence[str]) -> Matrix:
        return np.eye(len(classes))


class Uniform(Noise):
    """Symmetric noise: 1 - r on the diagonal, r / (K - 1) elsewhere (Zhang & Sabuncu 2018, section 4).

    include_true: the other definition in use (DivideMix, ELR): with probability r a label is drawn from all K
    classes, the true one among them: r / K everywhere plus 1 - r on the diagonal, real rate r (K - 1) / K.
    """

    def __init__(self, rate: float, seed: int | None, include_true: bool) -> None:
        super().__init__(rate, seed)
        self.include_true = check.flag("include_true", include_true)

    def transition(self, classes: Sequence[str]) -> Matrix:
        k, r = len(classes), self.rate
        if self.include_true:
            return np.full((k, k), r / k) + (1 - r) * np.eye(k)
        return np.full((k, k), r / (k - 1)) + (1 - r - r / (k - 1)) * np.eye(k)


class Pair(Noise):
    """Pair flipping: y -> y + 1 mod K with probability r (Han et al. 2018, Co-teaching, arXiv 1804.06872)."""

    def transition(self, classes: Sequence[str]) -> Matrix:
        eye = np.eye(len(classes))
        return (1 - self.rate) * eye + self.rate * np.roll(eye, 1, axis=1)


class ClassMap(Noise):
    """Class-dependent noise: each class of ``map`` turns into its image with probability r, the others stay clean.

    map: {source: target} of class names (each data leaf brings its own: Patrini et al. 2017, arXiv 1609.03683;
    Zhang & Sabuncu 2018, section 4), or "next" for y -> y + 1 mod K (their CIFAR-100).
    """

    def __init__(self, rate: float, seed: int | None, map: Mapping[str, str] | str) -> None:
        super().__init__(rate, seed)
        if map != "next" and not isinstance(map, Mapping):
            raise check.Invalid("map", map, "next, or {class: class, ...}")
        self.map: Any = map

    def transition(self, classes: Sequence[str]) -> Matrix:
        matrix = np.eye(len(classes))
        for source, target in self._pairs(classes):
            matrix[source, source] -= self.rate
            matrix[source, target] += self.rate
        return matrix

    def _pairs(self, classes: Sequence[str]) -> list[tuple[int, int]]:
        if self.map == "next":
            return [(y, (y + 1) % len(classes)) for y in range(len(classes))]
        index = {name: y for y, name in enumerate(classes)}
        for name in (*self.map, *self.map.values()):
            if str(name) not in index:
                raise check.Invalid("map", self.map, f"of class names of the data set ({', '.join(classes)})")
        return [(index[str(source)], index[str(target)]) for source, target in self.map.items()]
