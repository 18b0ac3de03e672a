"""Losses that look at all of p, not at p_y alone. All shapes: logits (B, K), labels (B,) -> (B,)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisygce import check
from noisygce.losses.base import Loss, log_softmax, pick

if TYPE_CHECKING:
    from torch import Tensor


def bootstrap_soft(logits: Tensor, labels: Tensor, b: float) -> Tensor:
    """-sum_k (b e_y,k + (1 - b) p_k) log p_k (B,): Reed et al. 2015 (arXiv 1412.6596); p is not detached."""
    log_ps = log_softmax(logits)
    return -b * pick(log_ps, labels) - (1 - b) * (log_ps.exp() * log_ps).sum(1)


def bootstrap_hard(logits: Tensor, labels: Tensor, b: float) -> Tensor:
    """-b log p_y - (1 - b) log max_k p_k (B,): Reed et al. 2015 (arXiv 1412.6596)."""
    log_ps = log_softmax(logits)
    return -b * pick(log_ps, labels) - (1 - b) * pick(log_ps, log_ps.argmax(1))


def label_smoothing(logits: Tensor, labels: Tensor, s: float) -> Tensor:
    """-(1 - s) log p_y - s mean_k log p_k (B,): Szegedy et al. 2016, section 7 (arXiv 1512.00567)."""
    log_ps = log_softmax(logits)
    return -(1 - s) * pick(log_ps, labels) - s * log_ps.mean(1)


def normalized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y / sum_k log p_k (B,): Ma et al. 2020 (arXiv 2006.13554)."""
    log_ps = log_softmax(logits)
    return pick(log_ps, labels) / log_ps.sum(1)


class BootstrapSoft(Loss):
    """Soft bootstrapping: cross entropy with the target b e_y + (1 - b) p (Reed et al. 2015, arXiv 1412.6596).

    b in [0, 1]: 1 is cross entropy; the paper has 0.95.
    """

    def __init__(self, b: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.b = check.number("b", b, "[0, 1]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return bootstrap_soft(logits, labels, self.b)


class BootstrapHard(BootstrapSoft):
    """Hard bootstrapping: the target is b e_y + (1 - b) e_argmax(p) (Reed et al. 2015, arXiv 1412.6596).

    b in [0, 1]: 1 is cross entropy; the paper has 0.8.
    """

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return bootstrap_hard(logits, labels, self.b)


class LabelSmoothing(Loss):
    """Label smoothing: (1 - s) CE + s mean_k(-log p_k) (Szegedy et al. 2016, arXiv 1512.00567).

    s < 1: 0 is cross entropy. Below 0 it is negative label smoothing (Wei et al. 2022, arXiv 2106.04149), which has no
    lower bound.
    """

    def __init__(self, s: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.s = check.number("s", s, "[-100, 1)")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return label_smoothing(logits, labels, self.s)


class NCE(Loss):
    """Normalised cross entropy: log p_y / sum_k log p_k, in (0, 1) (Ma et al. 2020, arXiv 2006.13554). Symmetric."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return normalized_cross_entropy(logits, labels)
