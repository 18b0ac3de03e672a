"""Weighted sums of two losses: sce, nce_mae, nce_rce, nce_agce and others are leaves of one class."""

from noisygce import check
from noisygce.losses.base import Loss, Matrix, Tensor


class WeightedSum(Loss):
    """a first + b second.

    With CE and RCE it is symmetric cross entropy (Wang et al. 2019, arXiv 1908.06112); with NCE and MAE, RCE or AGCE
    an active-passive loss (Ma et al. 2020, arXiv 2006.13554; Zhou et al. 2021, arXiv 2106.03110).
    a, b >= 0. first, second: losses; in a config each is a group of its own, such as ``loss.second.A``.
    """

    def __init__(self, a: float, b: float, first: Loss, second: Loss, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.a = check.number("a", a, "[0, 1e6]")
        self.b = check.number("b", b, "[0, 1e6]")
        self.first, self.second = self._part("first", first), self._part("second", second)

    @staticmethod
    def _part(key: str, loss: Loss) -> Loss:
        if not isinstance(loss, Loss) or loss.prunes or loss.views > 1 or loss.source:
            raise check.Invalid(key, loss, "a loss that neither prunes, nor sees two views, nor needs another run")
        return loss

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.a * self.first.per_sample(logits, labels) + self.b * self.second.per_sample(logits, labels)

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        first, second = (part.of_batch(logits, labels, index) for part in (self.first, self.second))
        return self.a * first + self.b * second

    def bind(self, *, samples: int, classes: int, device: str, transition: Matrix) -> None:
        for part in (self.first, self.second):
            part.bind(samples=samples, classes=classes, device=device, transition=transition)

    def state(self) -> dict[str, Tensor]:
        parts = {"first": self.first, "second": self.second}
        return {f"{name}.{k}": v for name, part in parts.items() for k, v in part.state().items()}
