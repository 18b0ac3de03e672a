import math

from noisygce import check
from noisygce.losses.base import Pointwise, Tensor


class RCE(Pointwise):
    """Reverse cross entropy: -sum_k p_k log e_y,k = -A (1 - p_y), with log 0 set to A; symmetric: MAE times -A/2.

    Wang et al. 2019 (arXiv 1908.06112). A < 0: the paper has -4, public code ln 1e-4 = -9.21 (it clamps the one-hot
    label at 1e-4).
    """

    def __init__(self, A: float = math.log(1e-4), *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.A = check.number("A", A, "[-1000, 0)")

    def of(self, log_py: Tensor) -> Tensor:
        return self.A * log_py.expm1()
