from noisygce import check
from noisygce.losses.base import Loss, Tensor, lifted, log_softmax, pick

# Newton steps for the normalisation. From below, on a convex function, each step comes closer without passing the root,
# and the last ones double the digits: 16 leave |sum_k p_k - 1| < 1e-8 for t2 in [0.3, 4], K <= 100 and any logits.
_STEPS = 16


class BiTempered(Loss):
    """Bi-tempered logistic loss: -log_t1 p_y - (1 - sum_k p_k^(2 - t1)) / (2 - t1), p = exp_t2(a - c(a)), a: logits.

    Amid et al. 2019 (arXiv 1906.03361). log_t(x) = (x^(1-t) - 1) / (1 - t), exp_t its inverse; log and exp as t -> 1.
    t1 in [0, 1] bounds the loss by 1/(1 - t1), up to a constant; t2 above 1 gives p a heavy tail, below 1 a finite
    support. t1 = t2 = 1 is cross entropy.
    """

    def __init__(self, t1: float, t2: float, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.t1 = check.number("t1", t1, "[0, 1]")
        self.t2 = check.number("t2", t2, "[0.3, 4]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = tempered_log_softmax(logits, self.t2)
        log_py, t1 = pick(log_ps, labels), self.t1
        tempered = -log_py if t1 == 1 else -((1 - t1) * log_py).expm1() / (1 - t1)
        return tempered - (1 - ((2 - t1) * log_ps).exp().sum(1)) / (2 - t1)


def tempered_log_softmax(logits: Tensor, t: float) -> Tensor:
    """log exp_t(a_k - c) (B, K), with the c (B, 1) that makes sum_k exp_t(a_k - c) = 1.

    The paper finds c by a fixed-point iteration where t > 1, and by bisection where t < 1. Newton's method does both,
    and converges faster. No gradient flows through the search: by the implicit function theorem
    dc/da_k = p_k^t / sum_j p_j^t, so one linear term gives c its exact gradient.
    """
    if t == 1:
        return log_softmax(logits)
    a = lifted(logits)
    a = a - a.detach().amax(1, keepdim=True)
    fixed = a.detach()
    c = fixed.new_zeros(len(a), 1)  # here the largest exp_t alone is 1, so the sum is not below it
    for _ in range(_STEPS):
        log_ps = _log_exp(fixed - c, t)
        c = c + (log_ps.exp().sum(1, keepdim=True) - 1) / (t * log_ps).exp().sum(1, keepdim=True)
    weights = (t * _log_exp(fixed - c, t)).softmax(1)
    return _log_exp(a - c - (weights * (a - fixed)).sum(1, keepdim=True), t)


def _log_exp(x: Tensor, t: float) -> Tensor:
    """log exp_t(x) = log(1 + (1 - t) x) / (1 - t); where exp_t is 0 (t < 1), far below 0 with gradient 0."""
    return ((1 - t) * x).clamp(min=-1 + 2**-24).log1p() / (1 - t)
