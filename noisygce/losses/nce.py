"""Normalised losses: a loss over the sum of what it would be under each label (Ma et al. 2020, arXiv 2006.13554).

All are symmetric: they sum to 1 over the labels.
"""

from noisygce.losses.base import Loss, Tensor
from noisygce.losses.focal import Focal
from noisygce.losses.gce import GCE
from noisygce.losses.probabilities import log_softmax, pick


class NCE(Loss):
    """Normalised cross entropy: log p_y / sum_k log p_k, in (0, 1)."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return _share(log_softmax(logits), labels)


class NFL(Focal):
    """Normalised focal loss: (1 - p_y)^g log p_y / sum_k (1 - p_k)^g log p_k. g = 0 is NCE; public code has 0.5.

    detached: true takes every (1 - p_k)^g as a constant of the gradient, as public code does.
    """

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return _share(self.of(log_softmax(logits)), labels)


class NGCE(GCE):
    """Normalised generalized cross entropy: (1 - p_y^q) / (K - sum_k p_k^q).

    q in (0, 1]: -> 0 is NCE; 1 is half of MAE over K - 1.
    """

    def __init__(self, q: float = 0.1, *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(q, reduction=reduction, ignore_index=ignore_index)

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return _share(self.of(log_softmax(logits)), labels)


def _share(values: Tensor, labels: Tensor) -> Tensor:
    """The value under the given label (B,), over the sum of all (B, K)."""
    return pick(values, labels) / values.sum(1)
