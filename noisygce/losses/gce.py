"""Cross entropy, mean absolute error, and what lies between: the losses of Zhang & Sabuncu 2018 (arXiv 1805.07836)."""

from noisygce import check
from noisygce.losses.base import Pointwise, Tensor
from noisygce.losses.probabilities import clipped, log_p


class CE(Pointwise):
    """Cross entropy: -log p_y. clip in (0, 0.1] or None: of p, as ``clipped``."""

    estimates_transition = True  # its minimum is p = P(given label | image)

    def __init__(self, *, clip: float | None = None, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.clip = self._clip(clip)

    def of(self, log_py: Tensor) -> Tensor:
        return -clipped(log_py, self.clip)


class MAE(Pointwise):
    """Mean absolute error: |e_y - p|_1 = 2 - 2 p_y (Ghosh et al. 2017, arXiv 1712.09482). Robust, and slow to train."""

    def of(self, log_py: Tensor) -> Tensor:
        return -2 * log_py.expm1()


class GCE(Pointwise):
    """Generalized cross entropy L_q: (1 - p_y^q) / q (Zhang & Sabuncu 2018, eq. 6, arXiv 1805.07836).

    q in (0, 1]: q -> 0 is cross entropy, q = 1 is half of MAE; the paper uses 0.7.
    """

    def __init__(self, q: float = 0.7, *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.q = check.number("q", q, "(0, 1]")

    def of(self, log_py: Tensor) -> Tensor:
        # p ** q has a NaN gradient once p underflows, at a logit gap above 104, and 1 - p ** q loses all digits for
        # small q, where the loss tends to cross entropy.
        return -(self.q * log_py).expm1() / self.q


class TruncatedGCE(GCE):
    """Truncated L_q: L_q(k) where p_y <= k, else L_q(p_y) (Zhang & Sabuncu 2018, eq. 10-13, arXiv 1805.07836).

    q in (0, 1], k in (0, 1) as in ``GCE``; the paper uses 0.7 and 0.5.

    It is minimised in turns (their algorithm 1): with w_i = 1[p_y > k] solved over ALL training samples, the
    network trains on sum_i w_i L_q(p_y). In your own loop:

        criterion = TruncatedGCE(q=0.7, k=0.5)
        keep = torch.ones(N, dtype=torch.bool)                     # until the first pruning
        criterion(logits, labels, keep=keep[index]).backward()     # each step
        keep = criterion.keep(all_logits, all_labels)              # now and then, with the best model so far

    ``keep`` (B,) may not be left out. Solved from these very logits, keep=criterion.keep(logits, labels), it gives the
    loss as written above, whose gradient is 0 wherever p_y <= k: a network with random weights would learn nothing.
    """

    prunes = True

    def __init__(
        self, q: float = 0.7, k: float = 0.5, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(q, reduction=reduction, ignore_index=ignore_index)
        self.k = check.number("k", k, "(0, 1)")

    @property
    def ceiling(self) -> float:  # type: ignore[override]
        """L_q(k)."""
        return (1 - self.k**self.q) / self.q

    def keep(self, logits: Tensor, labels: Tensor) -> Tensor:
        """w (B,): p_y > k, and False of the label ``ignore_index``. L_q falls as p_y grows: none need be computed."""
        labels = labels.long()
        if self.ignore_index is None:
            return log_p(logits.detach(), labels).exp() > self.k
        some = labels != self.ignore_index
        return some & (log_p(logits.detach(), labels.where(some, 0)).exp() > self.k)
