import math

from noisygce import check
from noisygce.losses.base import Loss, Tensor, log_p


class PHuber(Loss):
    """Partially Huberised cross entropy: -t p_y + log t + 1 where p_y <= 1/t, else -log p_y.

    Menon et al. 2020 (ICLR, OpenReview rklB76EKPr). t > 1: the largest slope; t -> inf is cross entropy.
    """

    def __init__(self, t: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.t = check.number("t", t, "(1, 1e6]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_py = log_p(logits, labels)
        p_y = log_py.exp()
        return (-log_py).where(p_y > 1 / self.t, math.log(self.t) + 1 - self.t * p_y)
