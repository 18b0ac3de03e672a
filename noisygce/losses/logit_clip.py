from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.gce import CE
from noisygce.losses.probabilities import in_float


class LogitClip(Loss):
    """Another loss of clipped logits: a delta / |a| where the norm |a| exceeds ``above`` (Wei et al. 2023, ICML).

    arXiv 2212.04055: above = delta, which bounds the loss. The authors' code has above = 1 / delta. Both in
    [0.01, 1000]; above None: delta. of: the loss, None: cross entropy.
    """

    def __init__(
        self,
        delta: float = 1.0,
        above: float | None = None,
        of: Loss | None = None,
        *,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.delta = check.number("delta", delta, "[0.01, 1000]")
        self.above = check.or_null(check.number, "above", above, "[0.01, 1000]") or self.delta
        self.of = self._part("of", CE() if of is None else of)

    def parts(self) -> dict[str, Loss]:
        return {"of": self.of}

    def _clipped(self, logits: Tensor) -> Tensor:
        a = in_float(logits)
        short = a.detach().norm(dim=1, keepdim=True) <= self.above
        norm = a.where(~short, 1).norm(dim=1, keepdim=True)  # of 0 it has no second derivative
        return a.where(short, a * (self.delta / norm))

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.of.per_sample(self._clipped(logits), labels)

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        return self.of.of_batch(self._clipped(logits), labels, index)
