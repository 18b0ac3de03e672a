"""Asymmetric losses, which go with the more frequent label of an image (Zhou et al. 2021, arXiv 2106.03110)."""

from noisygce import check
from noisygce.losses.base import Pointwise, Tensor


class AGCE(Pointwise):
    """Asymmetric generalized cross entropy: ((a + 1)^q - (a + p_y)^q) / q.

    a in [0.001, 100], q in [0.01, 10], beyond which float32 has no digits left: q = 1 is half of MAE; a -> 0 is L_q.
    """

    def __init__(
        self, a: float = 0.6, q: float = 0.6, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.a = check.number("a", a, "[0.001, 100]")
        self.q = check.number("q", q, "[0.01, 10]")

    def of(self, log_py: Tensor) -> Tensor:
        return ((self.a + 1) ** self.q - (self.a + log_py.exp()) ** self.q) / self.q


class AUL(Pointwise):
    """Asymmetric unhinged loss: ((a - p_y)^q - (a - 1)^q) / q. a in [1.001, 100], q in [0.01, 10]; q = 1 is mae / 2."""

    def __init__(
        self, a: float = 5.5, q: float = 3.0, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.a = check.number("a", a, "[1.001, 100]")
        self.q = check.number("q", q, "[0.01, 10]")

    def of(self, log_py: Tensor) -> Tensor:
        return ((self.a - 1 - log_py.expm1()) ** self.q - (self.a - 1) ** self.q) / self.q


class AEL(Pointwise):
    """Asymmetric exponential loss: exp(-p_y / a). a in [0.05, 1000]; a -> inf is MAE / 2 a, up to a constant."""

    def __init__(self, a: float = 2.5, *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.a = check.number("a", a, "[0.05, 1000]")

    def of(self, log_py: Tensor) -> Tensor:
        return (-log_py.exp() / self.a).exp()
