from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.probabilities import log_softmax, pick


class LabelSmoothing(Loss):
    """Label smoothing: -(1 - s) log p_y - s mean_k log p_k (Szegedy et al. 2016, section 7, arXiv 1512.00567).

    s < 1: 0 is cross entropy. Below 0 it is negative label smoothing (Wei et al. 2022, arXiv 2106.04149), which has no
    lower bound.
    """

    def __init__(self, s: float = 0.1, *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.s = check.number("s", s, "[-100, 1)")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = log_softmax(logits)
        return -(1 - self.s) * pick(log_ps, labels) - self.s * log_ps.mean(1)
