import math

from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.probabilities import log_softmax, pick


class EpsSoftmaxCE(Loss):
    """Cross entropy of the epsilon-softmax: -log max((p_y + m [y = argmax p]) / (1 + m), clip).

    Wang et al. 2024 (NeurIPS, OpenReview vjsd8Bcipv): m pulls the largest p to 1, the others to 0. m in [0, 1e9]: 0 is
    cross entropy. clip in [0, 0.1], 1e-8 in the authors' code: a label that the network does not favour has gradient 0
    where p_y < clip (1 + m), which at m = 1e5 is p_y < 0.001.
    """

    def __init__(
        self, m: float = 1e5, clip: float = 1e-8, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.m = check.number("m", m, "[0, 1e9]")
        self.clip = check.number("clip", clip, "[0, 0.1]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = log_softmax(logits)
        log_py = pick(log_ps, labels)
        favoured = (log_py.expm1() / (1 + self.m)).clamp(min=-1 + 2**-24).log1p()  # log((p_y + m) / (1 + m))
        chosen = favoured.where(log_ps.argmax(1) == labels, log_py - math.log1p(self.m))
        return -chosen.clamp(min=math.log(self.clip)) if self.clip else -chosen
