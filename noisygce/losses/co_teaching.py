from typing import Any, Self

from noisygce import check
from noisygce.losses.base import Tensor
from noisygce.losses.probabilities import log_softmax, pick
from noisygce.losses.small_loss import SmallLoss


class CoTeaching(SmallLoss):
    """Co-teaching: each of two networks trains on the samples whose -log p_y is small for the other one.

    mean of -log p1_y over the R(e) B smallest -log p2_y, and the same with the networks exchanged (Han et al. 2018,
    arXiv 1804.06872, algorithm 1). Parameters and R(e) as in ``SmallLoss``. In your own loop:

        criterion = CoTeaching(forget_rate=0.4, gradual=10)
        logits = torch.cat([one(images), other(images)])
        criterion(logits, labels, epoch=epoch).backward()                     # counted from 0
    """

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        one, two = log_softmax(logits).chunk(2)
        first, second = -pick(one, labels), -pick(two, labels)
        among = self._among(one, two)
        return self._weights(second, among) * first + self._weights(first, among) * second

    def _among(self, one: Tensor, two: Tensor) -> Tensor | None:
        """The samples (B,), bool, that are chosen from, or None for all; log p of either network (B, K)."""
        return None


class CoTeachingPlus(CoTeaching):
    """Co-teaching+: the same among the samples whose classes the two networks disagree on (Yu et al. 2019, ICML).

    arXiv 1901.04215, algorithm 1. In the first ``warm_up`` epochs it is co-teaching. Where the networks agree on a
    whole batch, nothing is trained on.
    """

    needs_epochs = {**SmallLoss.needs_epochs, "warm_up": "this run is co-teaching"}
    warming_up: Tensor  # (), bool

    def __init__(
        self,
        forget_rate: float | str | None = None,
        gradual: int = 10,
        warm_up: int = 20,
        *,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(forget_rate, gradual, reduction=reduction, ignore_index=ignore_index)
        self.warm_up = check.whole("warm_up", warm_up, "[0, 100000]")

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import torch

        super().bind(samples=samples, classes=classes, device=device, transition=transition)
        self.warming_up = torch.ones((), dtype=torch.bool, device=device)
        return self

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        self._bound("warming_up").fill_(epoch < self.warm_up)

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"warming_up": self._bound("warming_up")}

    def _among(self, one: Tensor, two: Tensor) -> Tensor:
        return (one.argmax(1) != two.argmax(1)) | self._bound("warming_up")
