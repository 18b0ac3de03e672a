from noisygce import check
from noisygce.losses.base import Pointwise, Tensor


class Taylor(Pointwise):
    """Taylor cross entropy: sum_{i=1..t} (1 - p_y)^i / i, the series of -log p_y (Feng et al. 2020, IJCAI 2020, 305).

    t whole: 1 is half of MAE, t -> inf is cross entropy.
    """

    def __init__(self, t: int = 2, *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.t = check.whole("t", t, "[1, 100]")

    def of(self, log_py: Tensor) -> Tensor:
        u = -log_py.expm1()
        total = u / self.t
        for i in range(self.t - 1, 0, -1):  # Horner's scheme
            total = u * (1 / i + total)
        return total
