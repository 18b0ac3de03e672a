import math

from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.probabilities import in_float, pick


class LDRKL(Loss):
    """Label-distributionally robust loss: lam log mean_k exp((s_k - s_y + c [k != y]) / lam).

    s_k = K softplus(a_k) / sum_j softplus(a_j), a: logits, as in the authors' code (Zhu et al. 2023, ICML, arXiv
    2112.14869). lam in [0.05, 1000]: -> 0 leaves the largest term alone (a hinge loss), -> inf is the mean of all
    terms. c in [0, 100]: the margin.
    """

    def __init__(
        self, lam: float = 10.0, c: float = 0.1, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.lam = check.number("lam", lam, "[0.05, 1000]")
        self.c = check.number("c", c, "[0, 100]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        a = in_float(logits)
        # softplus(a) = log(1 + e^-|a|) + max(a, 0), in halves that meet at 0, where |a| alone has no slope.
        below = a <= 0
        softplus = a.where(below, -a).exp().log1p() + a.where(~below, 0)
        # log softplus(a), which is a up to e^a / 2 where a is far below 0 and softplus underflows.
        s = a.shape[1] * a.where(a < -30, softplus.clamp(min=1e-14).log()).softmax(1)
        s_y = pick(s, labels).unsqueeze(1)
        margin = s.new_full(s.shape, self.c).scatter(1, labels.unsqueeze(1), 0)
        terms = (s - s_y + margin) / self.lam
        return self.lam * (terms.logsumexp(1) - math.log(a.shape[1]))
