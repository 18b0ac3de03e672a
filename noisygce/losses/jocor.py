from noisygce import check
from noisygce.losses.base import Tensor
from noisygce.losses.probabilities import log_softmax, pick
from noisygce.losses.small_loss import SmallLoss


class JoCoR(SmallLoss):
    """Joint training with co-regularisation: mean of the R(e) B smallest joint losses of two networks.

    (1 - lam) (-log p1_y - log p2_y) + lam (KL(p1 | p2) + KL(p2 | p1)) (Wei et al. 2020, CVPR, arXiv 2003.02752).
    lam in [0, 1]; forget_rate, gradual and R(e) as in ``SmallLoss``.
    """

    def __init__(
        self,
        forget_rate: float | str | None = None,
        gradual: int = 10,
        lam: float = 0.9,
        *,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(forget_rate, gradual, reduction=reduction, ignore_index=ignore_index)
        self.lam = check.number("lam", lam, "[0, 1]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        one, two = log_softmax(logits).chunk(2)
        apart = ((one.exp() - two.exp()) * (one - two)).sum(1)  # both divergences at once
        joint = self.lam * apart - (1 - self.lam) * (pick(one, labels) + pick(two, labels))
        return self._weights(joint) * joint
