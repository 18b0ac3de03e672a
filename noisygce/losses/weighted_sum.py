"""Weighted sums of two losses: sce, nce_mae, nce_rce, nce_agce and others are leaves of one class."""

from noisygce import check
from noisygce.losses.base import Loss, Tensor


class WeightedSum(Loss):
    """a first + b second.

    With CE and RCE it is symmetric cross entropy (Wang et al. 2019, arXiv 1908.06112); with NCE and MAE, RCE or AGCE
    an active-passive loss (Ma et al. 2020, arXiv 2006.13554; Zhou et al. 2021, arXiv 2106.03110).
    a, b >= 0. first, second: losses; in a config each is a group of its own, such as ``loss.second.A``.
    """

    def __init__(
        self, a: float, b: float, first: Loss, second: Loss, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.a = check.number("a", a, "[0, 1e6]")
        self.b = check.number("b", b, "[0, 1e6]")
        self.first, self.second = self._part("first", first), self._part("second", second)

    def parts(self) -> dict[str, Loss]:
        return {"first": self.first, "second": self.second}

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.a * self.first.per_sample(logits, labels) + self.b * self.second.per_sample(logits, labels)

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        first, second = (part.of_batch(logits, labels, index) for part in (self.first, self.second))
        return self.a * first + self.b * second
