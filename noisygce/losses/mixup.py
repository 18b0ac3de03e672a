from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.gce import CE


class Mixup(Loss):
    """Another loss of images mixed in pairs: w l(x, y_i) + (1 - w) l(x, y_j), x = w x_i + (1 - w) x_j.

    w ~ Beta(alpha, alpha), drawn for each batch; j a permutation of it (Zhang et al. 2018, ICLR, arXiv 1710.09412).
    alpha in (0, 1000]; -> 0 is the loss alone, -> inf the mean of two images. of: the loss, not one that remembers what
    was said of each sample, since a mixed image is none of them. Training mixes, as it crops; this class asks it to. In
    your own loop mix the images yourself, and give mixed labels (B, K).
    """

    def __init__(
        self, alpha: float = 8.0, of: Loss | None = None, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.mixup = self.alpha = check.number("alpha", alpha, "(0, 1000]")
        self.of = self._part("of", CE() if of is None else of)
        if self.of.uses_sample_index:
            raise check.Invalid("of", of, "a loss that remembers no samples, since a mixed image is none of them")

    def parts(self) -> dict[str, Loss]:
        return {"of": self.of}

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.of.per_sample(logits, labels)

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        return self.of.of_batch(logits, labels, index)
