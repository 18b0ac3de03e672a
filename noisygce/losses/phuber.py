"""Partially Huberised losses: linear in p_y where they would be steeper than t, as if that gradient were clipped.

Menon et al. 2020 (ICLR, OpenReview rklB76EKPr).
"""

import math

from noisygce import check
from noisygce.losses.base import Tensor
from noisygce.losses.gce import CE, GCE


class PHuber(CE):
    """Partially Huberised cross entropy: -t p_y + log t + 1 where p_y <= 1/t, else -log p_y.

    t > 1: the largest slope; t -> inf is cross entropy.
    """

    estimates_transition = False

    def __init__(self, t: float = 2.0, *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.t = check.number("t", t, "(1, 1e6]")

    def of(self, log_py: Tensor) -> Tensor:
        p_y = log_py.exp()
        return super().of(log_py).where(p_y > 1 / self.t, math.log(self.t) + 1 - self.t * p_y)


class PHuberGCE(GCE):
    """Partially Huberised L_q: t (s - p_y) + (1 - s^q) / q where p_y <= s = t^(1 / (q - 1)), else (1 - p_y^q) / q.

    q in (0, 1); t > 1: the largest slope; t -> inf is L_q.
    """

    def __init__(
        self, q: float = 0.7, t: float = 10.0, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(check.number("q", q, "(0, 1)"), reduction=reduction, ignore_index=ignore_index)
        self.t = check.number("t", t, "(1, 1e6]")

    def of(self, log_py: Tensor) -> Tensor:
        p_y, s = log_py.exp(), self.t ** (1 / (self.q - 1))
        return super().of(log_py).where(p_y > s, self.t * (s - p_y) + (1 - s**self.q) / self.q)
