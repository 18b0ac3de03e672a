"""Calibration: whether a model is right as often as it is confident.

n samples, K classes, log_p (n, K) float64 log probabilities, labels (n,). NumPy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisygce.data import Ints

Floats = NDArray[np.float64]

BINS = 15  # as most papers since Guo et al. 2017
_BETAS = (1e-3, 1e3)  # bounds of 1 / temperature


def log_softmax(logits: Floats) -> Floats:
    """log p (n, K)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def measure(log_p: Floats, labels: Ints) -> dict[str, Any]:
    """How well calibrated a model is on n >= 1 samples.

    nll: mean of -log p_y. brier: mean of the sum over classes of (p_k - 1[k = y])^2, in [0, 2] (Brier 1950).
    ece: expected calibration error, the mean over samples of |accuracy - mean confidence| of their bin, 15 bins of
    equal numbers of samples by confidence (Nguyen & O'Connor 2015); samples of equal confidence count by their mean
    accuracy, whatever their order. ece_equal_width: the same with 15 bins of equal width (Guo et al. 2017, arXiv
    1706.04599). bins: of ``ece``, each with count, confidence and accuracy.
    """
    rows = np.arange(len(labels))
    p = np.exp(log_p)
    own = p[rows, labels]
    confidence, right = p.max(axis=1), (p.argmax(axis=1) == labels).astype(np.float64)
    _, equal, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    right = (np.bincount(equal, right) / counts)[equal]
    order = np.argsort(confidence, kind="stable")
    equal_mass = [part for part in np.array_split(order, BINS) if len(part)]
    width = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)  # bins are (i / 15, (i + 1) / 15]
    equal_width = [part for i in range(BINS) if len(part := np.flatnonzero(width == i))]
    return {
        "nll": float(-log_p[rows, labels].mean()),
        "brier": float(((p**2).sum(axis=1) - 2 * own + 1).mean()),
        "ece": _ece(equal_mass, confidence, right),
        "ece_equal_width": _ece(equal_width, confidence, right),
        "bins": [
            {"count": len(b), "confidence": round(confidence[b].mean(), 6), "accuracy": round(right[b].mean(), 6)}
            for b in equal_mass
        ],
    }


def _ece(bins: list[Ints], confidence: Floats, right: Floats) -> float:
    return float(sum(abs(right[b].sum() - confidence[b].sum()) for b in bins) / len(right))


def temperature(logits: Floats, labels: Ints) -> float:
    """T > 0 that minimises the mean NLL of softmax(logits / T) (Guo et al. 2017, section 4.2), within [1e-3, 1e3].

    The NLL is convex in 1 / T, so that its derivative has one zero, which is found by bisection.
    """
    given = logits[np.arange(len(labels)), labels]
    low, high = np.log(_BETAS)
    for _ in range(60):  # to the last bits of a float64
        middle = (low + high) / 2
        expected = (np.exp(log_softmax(np.exp(middle) * logits)) * logits).sum(axis=1)
        low, high = (low, middle) if (expected - given).mean() > 0 else (middle, high)
    return float(np.exp(-(low + high) / 2))
