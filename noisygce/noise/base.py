"""What every noise is: ``Noise``; one draw per label; what a draw came to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from noisygce import check

Labels = NDArray[np.int64]
Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Images = NDArray[Any]  # uint8, or floats of data=features

_WHO, _INTO = 6, 7  # purposes of draws
_STREAM = 1  # keeps the draws of noise apart from those of other purposes (docs/protocol.md, Randomness)


def uniforms(count: int, seed: int, *purpose: int) -> Vector:
    """Independent uniform numbers in [0, 1), (count,), a pure function of seed and ``purpose`` (integers >= 1).

    From PCG64's raw 64-bit stream, which NumPy guarantees never to change, not from a distribution method, which it
    does not.
    """
    raw = np.random.PCG64(np.random.SeedSequence([seed, _STREAM, *purpose])).random_raw(count)
    u: Vector = (raw >> np.uint64(11)) * np.float64(2.0**-53)
    return u


def corrupt(labels: Labels, transition: Matrix, seed: int) -> Labels:
    """One draw of ``P(z | y)`` for every label.

    labels (N,) in 0..K-1, transition (K, K), any integer seed >= 0 -> noisy labels (N,).

    Inverse-CDF sampling: the noisy label is the number of the first K-1 cumulative sums of row y that the
    uniform u in [0, 1) has reached. The K-th sum is left out because rounding may leave it below 1.
    """
    classes = len(transition)
    _verify(labels, transition, classes)
    u = uniforms(len(labels), seed)
    thresholds = np.cumsum(transition, axis=1)[:, :-1]
    noisy = np.zeros(len(labels), dtype=np.int64)
    for column in range(classes - 1):  # a column at a time: K = 100 would need (N, K) float64 at once
        noisy += u >= thresholds[labels, column]
    return noisy


def corrupt_exactly(labels: Labels, transition: Matrix, seed: int, step: int = 1) -> Labels:
    """As ``corrupt``, but of the n labels of each class y exactly floor((1 - T[y, y]) n), drawn by seed, turn wrong.

    Into which class is drawn from the rest of row y. step: >= 1, tells the draws of a sequence apart.
    """
    classes = len(transition)
    _verify(labels, transition, classes)
    order = np.argsort(uniforms(len(labels), seed, _WHO, step), kind="stable")  # who turns wrong first
    u = uniforms(len(labels), seed, _INTO, step)
    noisy = labels.copy()
    for y in range(classes):
        members = order[labels[order] == y]
        others = transition[y].copy()
        others[y] = 0
        chosen = members[: int(others.sum() * len(members) + 1e-9)]  # 0.3 * 10 is 2.9999...
        if len(chosen):
            noisy[chosen] = (u[chosen, None] >= np.cumsum(others / others.sum())[:-1]).sum(1)
    return noisy


def _verify(labels: Labels, transition: Matrix, classes: int) -> None:
    if transition.shape != (classes, classes) or (transition < 0).any():
        raise ValueError(f"transition must be a (K, K) matrix of probabilities, got shape {transition.shape}")
    if not np.allclose(transition.sum(axis=1), 1.0, rtol=0, atol=1e-9):
        raise ValueError("each row of the transition matrix must sum to 1")
    if labels.ndim != 1 or (len(labels) and not 0 <= labels.min() <= labels.max() < classes):
        raise ValueError(f"labels must be a vector of integers in 0..{classes - 1}")


def empirical_transition(clean: Labels, noisy: Labels, classes: int) -> Matrix:
    """Share of each noisy label z among the samples of true label y, (K, K); a class without samples has a row of 0.

    Samples of true label -1, which are of none of the classes, are left out.
    """
    known = clean >= 0
    counts = np.zeros((classes, classes))
    np.add.at(counts, (clean[known], noisy[known]), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def realised_rate(clean: Labels, noisy: Labels) -> float:
    """Share of labels that the draw has changed."""
    return float(np.mean(clean != noisy))


def check_rate(rate: float, found: float, name: str) -> None:
    """Raises Invalid unless a rate is, to four decimals, the one that the labels of a set have."""
    if abs(rate - found) > 5.1e-5:
        raise check.Invalid("rate", rate, f"left out, or the {found:.4f} that noise.set={name} has")


def digest(labels: Labels) -> str:
    """SHA-256 of labels (N,) as little-endian int64: what manifests and ``noise.sha256`` hold."""
    return hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()


def describe(rate: float, clean: Labels, noisy: Labels, classes: int) -> dict[str, Any]:
    """What was asked for and what was drawn, over the whole training set; digest of the labels as little-endian int64.

    clean, noisy (N,) in 0..classes-1.
    """
    return {
        "nominal_rate": rate,
        "realised_rate": realised_rate(clean, noisy),
        "transition": empirical_transition(clean, noisy, classes).round(6).tolist(),
        "labels_sha256": digest(noisy),
    }


class Noise:
    """Noise that depends on the true label alone gives ``transition``; any other gives ``draw`` or ``replace``.

    rate: r, its meaning given by the subclass. seed: of the draw; null follows the run's seed.
    """

    files: tuple[str, ...] = ()  # below the data root, of other data sets
    makes_wrong: ClassVar[bool] = True  # a label that it changes is wrong, whoever gave the one before
    sample_names: Sequence[str] = ()  # of the training set, set before ``bind``; none where they are known by number

    def __init__(self, rate: float, seed: int | None) -> None:
        self.rate = check.number("rate", rate, "[0, 1)")
        self.seed = check.or_null(check.whole, "seed", seed, "[0, 4294967296)")

    def fits(self, classes: Sequence[str], side: int, channels: int) -> None:
        """Raises ConfigError or Invalid where the noise cannot be on a data set, before any file is read or fetched.

        classes: its names, none where they are not known yet; side, channels: of its images, 0 where not known yet.
        """

    def bind(self, root: Path, labels: Labels, classes: Sequence[str]) -> None:
        """Called before all else: reads the files that the noise needs below the data ``root``; most need none."""

    def contents(self, root: Path) -> Mapping[str, str]:
        """SHA-256 of the files that noise of one's own reads below the data ``root``, by the value that names each: a
        run's ID is made from what they hold. noisygce's own files are known by digests in the code or the config."""
        return {}

    def transition(self, classes: Sequence[str]) -> Matrix | None:
        """T (K, K) for the data set with these K class names; None where noise depends on more than the true label."""
        return None

    def draw(self, labels: Labels, images: Images, classes: Sequence[str], seed: int) -> Labels:
        """Noisy labels (N,) for the true ``labels`` (N,), which may be written into, and ``images`` (N, H, W, C), which
        may not. seed: that of the noise, or the run's where it is null."""
        transition = self.transition(classes)
        if transition is None:
            if type(self).replace is Noise.replace:
                raise NotImplementedError(f"{type(self).__name__} has neither a transition nor a draw nor a replace")
            return labels
        return corrupt(labels, np.asarray(transition), seed)

    def replace(self, images: Images, labels: Labels, others: Callable[[], Images], seed: int) -> tuple[Images, Labels]:
        """The images (N, H, W, C) that training gets, and their true labels (N,), -1 for none of the classes.

        Almost always those given, which may be written into. others(): the 50,000 training images of CIFAR-100.
        """
        return images, labels


class Given(Noise):
    """Labels that are there already: ``bind`` sets ``_given`` (N,), and nothing is drawn."""

    _given: Labels

    def draw(self, labels: Labels, images: Images, classes: Sequence[str], seed: int) -> Labels:
        return self._given
