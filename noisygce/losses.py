"""Losses for learning with noisy labels.

    from noisygce.losses import GCE
    criterion = GCE(q=0.7)
    criterion(logits, labels).backward()

Shapes: logits (B, K) of any floating type, labels (B,) integers in 0..K-1; B batch, K classes. Each loss is a pure
function ``(logits, labels, ...) -> (B,)`` and a thin class that holds its parameters and reduces. Everything is
computed in float32 from log_softmax (float64 if the logits are), whatever the precision of the network:
p = softmax(logits), p_y the probability of the given label. Value and gradient are finite for logit gaps up to 1e4.

No torch is imported here: the tensors bring their methods with them, and a wrong parameter is refused at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from noisygce import check

if TYPE_CHECKING:
    from torch import Tensor


def log_p(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y (B,), in float32 or, for float64 logits, float64."""
    logits = logits if logits.element_size() == 8 else logits.float()
    return logits.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y (B,)."""
    return -log_p(logits, labels)


def mean_absolute_error(logits: Tensor, labels: Tensor) -> Tensor:
    """|e_y - p|_1 = 2 - 2 p_y (B,) (Ghosh et al. 2017, arXiv 1712.09482)."""
    return -2 * log_p(logits, labels).expm1()


def generalized_cross_entropy(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """(1 - p_y^q) / q (B,): Zhang & Sabuncu 2018, eq. 6 (arXiv 1805.07836).

    As -expm1(q log p_y) / q: ``p ** q`` has a NaN gradient once p underflows, at a logit gap above 104, and
    1 - p ** q loses all digits for small q, where the loss tends to cross entropy.
    """
    return -(q * log_p(logits, labels)).expm1() / q


class Loss:
    """A loss of logits (B, K) and labels (B,).

    reduction: "mean" (default), "sum" or "none", as in torch.nn.
    Subclasses give ``per_sample``; constructor parameters without a default are what a config leaf holds.
    """

    prunes: ClassVar[bool] = False  # whether training drops samples by ``keep`` (see TruncatedGCE)

    def __init__(self, *, reduction: str = "mean") -> None:
        self.reduction = check.choice("reduction", reduction, ("mean", "sum", "none"))

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each sample (B,)."""
        raise NotImplementedError

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._reduce(self.per_sample(logits, labels))

    def _reduce(self, values: Tensor) -> Tensor:
        return values if self.reduction == "none" else values.mean() if self.reduction == "mean" else values.sum()

    def keep(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The samples to go on training with (B,), bool; asked for only if ``prunes``."""
        raise NotImplementedError

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({values})"


class CE(Loss):
    """Cross entropy: -log p_y."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, labels)


class MAE(Loss):
    """Mean absolute error: 2 - 2 p_y (Ghosh et al. 2017, arXiv 1712.09482). Robust, and slow to train."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return mean_absolute_error(logits, labels)


class GCE(Loss):
    """Generalized cross entropy L_q: (1 - p_y^q) / q (Zhang & Sabuncu 2018, eq. 6, arXiv 1805.07836).

    q in (0, 1]: q -> 0 is cross entropy, q = 1 is half of MAE; the paper uses 0.7.
    """

    def __init__(self, q: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.q = check.number("q", q, "(0, 1]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return generalized_cross_entropy(logits, labels, self.q)


class TruncatedGCE(GCE):
    """Truncated L_q: L_q(k) where p_y <= k, else L_q(p_y) (Zhang & Sabuncu 2018, eq. 10-13, arXiv 1805.07836).

    q in (0, 1], k in (0, 1) as in ``GCE``; the paper uses 0.7 and 0.5.

    It is minimised in turns (their algorithm 1): with w_i = 1[p_y > k] solved over ALL training samples, the
    network trains on sum_i w_i L_q(p_y). In your own loop:

        criterion = TruncatedGCE(q=0.7, k=0.5)
        keep = torch.ones(N, dtype=torch.bool)                     # until the first pruning
        criterion(logits, labels, keep[index]).backward()          # each step
        keep = criterion.keep(all_logits, all_labels)              # now and then, with the best model so far

    Left out, ``keep`` is solved from these very logits. That is the loss as written above, whose gradient is 0
    wherever p_y <= k: a network with random weights would learn nothing from it.
    """

    prunes = True

    def __init__(self, q: float, k: float, *, reduction: str = "mean") -> None:
        super().__init__(q, reduction=reduction)
        self.k = check.number("k", k, "(0, 1)")

    def keep(self, logits: Tensor, labels: Tensor) -> Tensor:
        """w (B,): p_y > k. L_q falls as p_y grows, so no L_q need be computed."""
        return log_p(logits.detach(), labels).exp() > self.k

    def __call__(self, logits: Tensor, labels: Tensor, keep: Tensor | None = None) -> Tensor:
        keep = self.keep(logits, labels) if keep is None else keep
        ceiling = (1 - self.k**self.q) / self.q  # L_q(k)
        return self._reduce(self.per_sample(logits, labels).where(keep, ceiling))
