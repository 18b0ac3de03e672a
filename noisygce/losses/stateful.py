"""Losses that remember each sample, or see two augmented views of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from noisygce import check
from noisygce.losses.base import Loss, log_softmax, pick
from noisygce.losses.gce import cross_entropy

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray
    from torch import Tensor

_CLAMP = 1e-4  # of the authors' code: keeps <p, t> below 1, where the logarithm ends


def early_learning(logits: Tensor, labels: Tensor, targets: Tensor, lam: float) -> Tensor:
    """-log p_y + lam log(1 - <p, t>) (B,), targets t (B, K): Liu et al. 2020 (arXiv 2007.00151)."""
    p = log_softmax(logits).exp().clamp(_CLAMP, 1 - _CLAMP)
    return cross_entropy(logits, labels) + lam * (1 - (p * targets).sum(1)).log()


class ELR(Loss):
    """Early-learning regularisation: -log p_y + lam log(1 - <p, t>), t <- b t + (1 - b) p for each sample.

    Liu et al. 2020 (arXiv 2007.00151): t, the running mean of what the network has said of the sample,
    starts at 0 and takes in p before it is used; p is clamped to [1e-4, 1 - 1e-4] as in the authors' code, and scaled
    to sum 1 in t. lam >= 0, b in [0, 1). In your own loop:

        criterion = ELR(lam=3, b=0.7)
        criterion.bind(samples=N, classes=K, device="cuda")
        criterion.of_batch(logits, labels, index).mean().backward()      # index (B,) into the training set
    """

    _targets: Tensor  # (N, K)

    def __init__(self, lam: float, b: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.lam = check.number("lam", lam, "[0, 1000]")
        self.b = check.number("b", b, "[0, 1)")

    def bind(self, *, samples: int, classes: int, device: str, transition: NDArray[float64] | None = None) -> None:
        import torch

        self._targets = torch.zeros((samples, classes), device=device)

    def state(self) -> dict[str, Tensor]:
        return {"targets": self._targets}

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        raise TypeError("ELR remembers samples: call of_batch(logits, labels, index)")

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        p = log_softmax(logits.detach()).exp().clamp(_CLAMP, 1 - _CLAMP)
        p = p / p.sum(1, keepdim=True)
        self._targets[index] = self.b * self._targets[index] + (1 - self.b) * p.to(self._targets.dtype)
        return early_learning(logits, labels, self._targets[index], self.lam)


def generalized_js(logits: Tensor, labels: Tensor, pi: float) -> Tensor:
    """(pi KL(e_y | m) + w KL(p1 | m) + w KL(p2 | m)) / Z (B,), w = (1 - pi) / 2, m = pi e_y + w (p1 + p2).

    Z = -(1 - pi) log(1 - pi). logits (2 B, K): of one view of each image, then of the other.
    Englesson & Azizpour 2021 (arXiv 2105.04522).
    """
    w = (1 - pi) / 2
    one, two = log_softmax(logits).chunk(2)
    log_rest = math.log(w) + one.logaddexp(two)  # log m, but for the given label
    log_rest_y = pick(log_rest, labels)
    log_my = (pi + log_rest_y.exp()).log()
    towards_p = w * (one.exp() * (one - log_rest) + two.exp() * (two - log_rest)).sum(1)
    towards_p = towards_p + log_rest_y.exp() * (log_rest_y - log_my)
    return (-pi * log_my + towards_p) / (-(1 - pi) * math.log1p(-pi))


class GJS(Loss):
    """Generalised Jensen-Shannon divergence of the given label and the p of two augmented views.

    Weights pi, (1 - pi)/2, (1 - pi)/2, scaled by -1/((1 - pi) log(1 - pi)) (Englesson & Azizpour 2021, arXiv
    2105.04522). pi in [0.001, 0.999]. logits (2 B, K): of one view of each image, then of the other.
    """

    views = 2

    def __init__(self, pi: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.pi = check.number("pi", pi, "[0.001, 0.999]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return generalized_js(logits, labels, self.pi)
