import math

from noisygce import check
from noisygce.losses.base import Pointwise, Tensor
from noisygce.losses.probabilities import log_softmax, pick


class JS(Pointwise):
    """Jensen-Shannon divergence of the given label and p: (pi KL(e_y | m) + (1 - pi) KL(p | m)) / Z.

    m = pi e_y + (1 - pi) p, Z = -(1 - pi) log(1 - pi) (Englesson & Azizpour 2021, arXiv 2105.04522).
    pi in [0.001, 0.999], beyond which float32 has too few digits: -> 0 is cross entropy, -> 1 is half of MAE.
    """

    def __init__(self, pi: float = 0.5, *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.pi = check.number("pi", pi, "[0.001, 0.999]")

    @property
    def _scale(self) -> float:
        return -(1 - self.pi) * math.log1p(-self.pi)

    def of(self, log_py: Tensor) -> Tensor:
        # Only m_y depends on the logits: in every other class p_k / m_k = 1 / (1 - pi), so no sum over classes is left.
        p_y, rest = log_py.exp(), -log_py.expm1()
        log_my = (self.pi + (1 - self.pi) * p_y).log()
        towards_p = p_y * (log_py - log_my) - rest * math.log1p(-self.pi)
        return (-self.pi * log_my + (1 - self.pi) * towards_p) / self._scale


class GJS(JS):
    """The same of two augmented views: (pi KL(e_y | m) + w KL(p1 | m) + w KL(p2 | m)) / Z, m = pi e_y + w (p1 + p2).

    w = (1 - pi) / 2. logits (2 B, K): of one view of each image, then of the other.
    """

    views = 2

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        w = (1 - self.pi) / 2
        one, two = log_softmax(logits).chunk(2)
        log_rest = math.log(w) + _log_sum(one, two)  # log m, but for the given label
        log_rest_y = pick(log_rest, labels)
        log_my = (self.pi + log_rest_y.exp()).log()
        towards_p = w * (one.exp() * (one - log_rest) + two.exp() * (two - log_rest)).sum(1)
        towards_p = towards_p + log_rest_y.exp() * (log_rest_y - log_my)
        return (-self.pi * log_my + towards_p) / self._scale


def _log_sum(one: Tensor, two: Tensor) -> Tensor:
    """log(exp(one) + exp(two)), the bits of ``logaddexp``, whose second derivative is NaN where exp(one - two) is
    infinite."""
    far = (one - two).detach().abs().exp().isinf()
    return one.maximum(two).where(far, one.where(~far, 0).logaddexp(two.where(~far, 0)))
