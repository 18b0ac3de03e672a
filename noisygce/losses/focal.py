from noisygce import check
from noisygce.losses.base import Pointwise, Tensor


class Focal(Pointwise):
    """Focal loss: -(1 - p_y)^g log p_y (Lin et al. 2017, arXiv 1708.02002).

    g >= 0: 0 is cross entropy. Studies of noisy labels use 0.5. detached: true takes (1 - p_y)^g as a constant of the
    gradient, as the code of APL, ALFs and epsilon-softmax does; null does not.
    """

    def __init__(
        self, g: float = 0.5, *, detached: bool | None = None, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.g = check.number("g", g, "[0, 100]")
        self.detached = check.or_null(check.flag, "detached", detached)

    def of(self, log_py: Tensor) -> Tensor:
        # p_y = 1 has the finite gradient 0, but 0^(g - 1) in it is infinite for g < 1: stay above 0.
        weight = (-log_py.expm1()).clamp(min=1e-30) ** self.g
        return -(weight.detach() if self.detached else weight) * log_py
