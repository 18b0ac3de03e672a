import functools
import math
from typing import Any

from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.probabilities import in_float, log_softmax, pick

_EDGE = -1 + 2**-24  # 1 + (1 - t) x has no digits left below: there exp_t(x) is 0


class BiTempered(Loss):
    """Bi-tempered logistic loss: -log_t1 p_y - (1 - sum_k p_k^(2 - t1)) / (2 - t1), p = exp_t2(a - c(a)), a: logits.

    Amid et al. 2019 (arXiv 1906.03361). log_t(x) = (x^(1-t) - 1) / (1 - t), exp_t its inverse; log and exp as t -> 1.
    t1 in [0, 1] bounds the loss by 1/(1 - t1), up to a constant; t2 above 1 gives p a heavy tail, below 1 a finite
    support. t1 = t2 = 1 is cross entropy. t1 = 1 with t2 < 1 bounds it by log(2^24) / (1 - t2), where p_y is 0.
    """

    def __init__(
        self, t1: float = 0.8, t2: float = 1.2, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.t1 = check.number("t1", t1, "[0, 1]")
        self.t2 = check.number("t2", t2, "[0.3, 4]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = tempered_log_softmax(logits, self.t2)
        log_py, t1 = pick(log_ps, labels), self.t1
        if t1 == 1:
            tempered = -log_py.clamp(min=math.log1p(_EDGE) / (1 - self.t2)) if self.t2 < 1 else -log_py
        else:
            tempered = -((1 - t1) * log_py).expm1() / (1 - t1)
        return tempered - (1 - ((2 - t1) * log_ps).exp().sum(1)) / (2 - t1)


def tempered_log_softmax(logits: Tensor, t: float) -> Tensor:
    """log exp_t(a_k - c) (B, K), with the c (B, 1) that makes sum_k exp_t(a_k - c) = 1; -inf where exp_t is 0.

    The paper finds c by a fixed-point iteration where t > 1, and by bisection where t < 1. Newton's method does both,
    and converges faster.
    """
    if t == 1:
        return log_softmax(logits)
    a = in_float(logits)
    a = a - a.detach().amax(1, keepdim=True)
    return _log_exp(a - _normaliser().apply(a, t), t)


@functools.cache
def _normaliser() -> Any:
    """c of (a, t) as a torch.autograd.Function with gradients of any order; made on first use, as torch is imported."""
    import torch

    class Normaliser(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(a: Tensor, t: float) -> Tensor:
            c = a.new_zeros(len(a), 1)  # here the largest exp_t alone is 1, so the sum is not below it
            for _ in range(_steps(a.shape[1], t)):
                log_ps = _log_exp(a - c, t)
                c = c + (log_ps.exp().sum(1, keepdim=True) - 1) / (t * log_ps).exp().sum(1, keepdim=True)
            return c

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
            a, ctx.t = inputs
            ctx.save_for_backward(a, output)
            ctx.save_for_forward(a, output)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
            a, c = ctx.saved_tensors
            return gradient * _slopes(a, c, ctx.t), None

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:  # type: ignore[override]
            a, c = ctx.saved_tensors
            return (tangent * _slopes(a, c, ctx.t)).sum(1, keepdim=True)

    return Normaliser


def _slopes(a: Tensor, c: Tensor, t: float) -> Tensor:
    """dc/da (B, K), by the implicit function theorem: p_k^t / sum_j p_j^t."""
    return (t * _log_exp(a - c, t)).softmax(1)


def _steps(classes: int, t: float) -> int:
    """Newton steps that leave |sum_k p_k - 1| < 1e-8, in float64, for any logits and t in [0.3, 4].

    From below, on a convex function, each step comes closer without passing the root. Far from it a step multiplies
    1 + (t - 1) c, which is at most K^(t - 1), by t or so; the last steps double the digits.
    """
    return max(16, 6 + math.ceil((t - 1) * math.log(classes) / math.log(t)))


def _log_exp(x: Tensor, t: float) -> Tensor:
    """log exp_t(x) = log(1 + (1 - t) x) / (1 - t); where exp_t is 0 (t < 1), -inf with gradient 0."""
    y = (1 - t) * x
    if t > 1:
        return y.log1p() / (1 - t)
    inside = y > _EDGE
    return (y.where(inside, 0).log1p() / (1 - t)).where(inside, -math.inf)
