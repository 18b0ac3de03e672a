from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.probabilities import clipped, log_softmax, pick


class BootstrapSoft(Loss):
    """Soft bootstrapping: -sum_k (b e_y,k + (1 - b) p_k) log p_k, p not detached (Reed et al. 2015, arXiv 1412.6596).

    b in [0, 1]: 1 is cross entropy; the paper has 0.95. clip in (0, 0.1] or None: of all p, as ``clipped``.
    """

    def __init__(
        self, b: float = 0.95, *, clip: float | None = None, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.b = check.number("b", b, "[0, 1]")
        self.clip = self._clip(clip)

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = clipped(log_softmax(logits), self.clip)
        return -self.b * pick(log_ps, labels) - (1 - self.b) * (log_ps.exp() * log_ps).sum(1)


class BootstrapHard(BootstrapSoft):
    """Hard bootstrapping: -b log p_y - (1 - b) log max_k p_k (Reed et al. 2015). b as above; the paper has 0.8."""

    def __init__(
        self, b: float = 0.8, *, clip: float | None = None, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(b, clip=clip, reduction=reduction, ignore_index=ignore_index)

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = clipped(log_softmax(logits), self.clip)
        return -self.b * pick(log_ps, labels) - (1 - self.b) * pick(log_ps, log_ps.argmax(1))
