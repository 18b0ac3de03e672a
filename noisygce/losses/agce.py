from noisygce import check
from noisygce.losses.base import Loss, Tensor, log_p


class AGCE(Loss):
    """Asymmetric generalized cross entropy: ((a + 1)^q - (a + p_y)^q) / q (Zhou et al. 2021, arXiv 2106.03110).

    a in [0.001, 100], q in [0.01, 10], beyond which float32 has no digits left: q = 1 is half of MAE; a -> 0 is L_q.
    """

    def __init__(self, a: float, q: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.a = check.number("a", a, "[0.001, 100]")
        self.q = check.number("q", q, "[0.01, 10]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return ((self.a + 1) ** self.q - (self.a + log_p(logits, labels).exp()) ** self.q) / self.q
