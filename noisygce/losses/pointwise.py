"""Losses that are functions of p_y, the probability of the given label, alone; q = 1 - p_y is taken as -expm1(log p_y).

All shapes: logits (B, K), labels (B,) -> (B,).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from noisygce import check
from noisygce.losses.base import Loss, log_p

if TYPE_CHECKING:
    from torch import Tensor


def focal(logits: Tensor, labels: Tensor, g: float) -> Tensor:
    """-(1 - p_y)^g log p_y (B,): Lin et al. 2017 (arXiv 1708.02002)."""
    log_py = log_p(logits, labels)
    # p_y = 1 has the finite gradient 0, but 0^(g - 1) in it is infinite for g < 1: stay above 0.
    return -((-log_py.expm1()).clamp(min=1e-30) ** g) * log_py


def reverse_cross_entropy(logits: Tensor, labels: Tensor, A: float) -> Tensor:
    """-sum_k p_k log e_y,k = -A (1 - p_y) (B,), with log 0 set to A: Wang et al. 2019 (arXiv 1908.06112)."""
    return A * log_p(logits, labels).expm1()


def asymmetric_gce(logits: Tensor, labels: Tensor, a: float, q: float) -> Tensor:
    """((a + 1)^q - (a + p_y)^q) / q (B,): Zhou et al. 2021 (arXiv 2106.03110)."""
    return ((a + 1) ** q - (a + log_p(logits, labels).exp()) ** q) / q


def partially_huberised(logits: Tensor, labels: Tensor, t: float) -> Tensor:
    """-t p_y + log t + 1 where p_y <= 1/t, else -log p_y (B,): Menon et al. 2020 (OpenReview rklB76EKPr)."""
    log_py = log_p(logits, labels)
    p_y = log_py.exp()
    return (-log_py).where(p_y > 1 / t, math.log(t) + 1 - t * p_y)


def taylor_cross_entropy(logits: Tensor, labels: Tensor, t: int) -> Tensor:
    """sum_{i=1..t} (1 - p_y)^i / i (B,), the series of -log p_y: Feng et al. 2020 (IJCAI 2020, 305)."""
    u = -log_p(logits, labels).expm1()
    total = u / t
    for i in range(t - 1, 0, -1):  # Horner's scheme
        total = u * (1 / i + total)
    return total


def jensen_shannon(logits: Tensor, labels: Tensor, pi: float) -> Tensor:
    """(pi KL(e_y | m) + (1 - pi) KL(p | m)) / Z (B,), m = pi e_y + (1 - pi) p, Z = -(1 - pi) log(1 - pi).

    Englesson & Azizpour 2021 (arXiv 2105.04522). Only m_y = pi + (1 - pi) p_y depends on the logits: in every
    other class p_k / m_k = 1 / (1 - pi), so that no sum over classes is left.
    """
    log_py = log_p(logits, labels)
    p_y, rest = log_py.exp(), -log_py.expm1()
    log_my = (pi + (1 - pi) * p_y).log()
    towards_p = p_y * (log_py - log_my) - rest * math.log1p(-pi)
    return (-pi * log_my + (1 - pi) * towards_p) / (-(1 - pi) * math.log1p(-pi))


class Focal(Loss):
    """Focal loss: -(1 - p_y)^g log p_y (Lin et al. 2017, arXiv 1708.02002).

    g >= 0: 0 is cross entropy. Studies of noisy labels use 0.5.
    """

    def __init__(self, g: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.g = check.number("g", g, "[0, 100]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return focal(logits, labels, self.g)


class RCE(Loss):
    """Reverse cross entropy: -A (1 - p_y) (Wang et al. 2019, arXiv 1908.06112). Symmetric: MAE times -A/2.

    A < 0 stands for log 0: the paper has -4, public code ln 1e-4 = -9.21 (it clamps the one-hot label at 1e-4).
    """

    def __init__(self, A: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.A = check.number("A", A, "[-1000, 0)")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return reverse_cross_entropy(logits, labels, self.A)


class AGCE(Loss):
    """Asymmetric generalized cross entropy: ((a + 1)^q - (a + p_y)^q) / q (Zhou et al. 2021, arXiv 2106.03110).

    a in [0.001, 100], q in [0.01, 10], beyond which float32 has no digits left: q = 1 is half of MAE; a -> 0 is L_q.
    """

    def __init__(self, a: float, q: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.a = check.number("a", a, "[0.001, 100]")
        self.q = check.number("q", q, "[0.01, 10]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return asymmetric_gce(logits, labels, self.a, self.q)


class PHuber(Loss):
    """Partially Huberised cross entropy: linear in p_y below 1/t, -log p_y above (Menon et al. 2020, ICLR).

    t > 1: the largest slope; t -> inf is cross entropy.
    """

    def __init__(self, t: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.t = check.number("t", t, "(1, 1e6]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return partially_huberised(logits, labels, self.t)


class Taylor(Loss):
    """Taylor cross entropy: sum_{i=1..t} (1 - p_y)^i / i (Feng et al. 2020, IJCAI).

    t whole: 1 is half of MAE, t -> inf is cross entropy.
    """

    def __init__(self, t: int, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.t = check.whole("t", t, "[1, 100]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return taylor_cross_entropy(logits, labels, self.t)


class JS(Loss):
    """Jensen-Shannon divergence of the given label and p, weights pi and 1 - pi, scaled by -1/((1 - pi) log(1 - pi)).

    Englesson & Azizpour 2021 (arXiv 2105.04522). pi in [0.001, 0.999], beyond which float32 has
    too few digits: -> 0 is cross entropy, -> 1 is half of MAE.
    """

    def __init__(self, pi: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.pi = check.number("pi", pi, "[0.001, 0.999]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return jensen_shannon(logits, labels, self.pi)
