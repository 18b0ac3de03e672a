from typing import Any, Self

from noisygce import check
from noisygce.losses.base import Learned, Loss, Tensor
from noisygce.losses.probabilities import log_softmax, pick

START = 1e-8  # of every entry of u and v; the authors draw them with this standard deviation, and only squares count
_CLAMP = 1e-4  # of the authors' code: the smallest probability


class SOP(Loss):
    """Sparse over-parameterisation: -log q_y + sum_k (h_k + s_k - e_y,k)^2, q ~ p + s, a sparse s learned per sample.

    Liu et al. 2022 (ICML, arXiv 2202.14026). s_y = u^2 for the given label and s_k = -v_k^2 for the others, squares at
    most 1, stand for what is wrong about the label; h is 1 at the likeliest class, else 0. In q, at least 1e-4 and
    scaled to sum 1, v is a constant of the gradient, as in the authors' code. u (N,) and v (N, K) are learned by plain
    SGD with learning rates of their own, lr_u and lr_v, which do not fall with the network's. In your own loop:

        criterion = SOP(lr_u=10, lr_v=10).bind(samples=N, classes=K, device="cuda")
        learned = [{"params": each.tensor, "lr": each.lr} for each in criterion.learned().values()]
        noise = torch.optim.SGD(learned)                                      # a step of it beside each of the network
        criterion(logits, labels, index).backward()                           # index (B,) into the training set
    """

    u: Tensor  # (N,)
    v: Tensor  # (N, K); that of the given label takes no part

    def __init__(
        self, lr_u: float = 10.0, lr_v: float = 10.0, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.lr_u = check.number("lr_u", lr_u, "[0, 1e6]")
        self.lr_v = check.number("lr_v", lr_v, "[0, 1e6]")

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import torch

        if not samples:
            raise TypeError("SOP remembers samples: samples is missing: call bind(samples=N, classes=K) once")
        self.u = torch.nn.Parameter(torch.full((samples,), START, device=device))
        self.v = torch.nn.Parameter(torch.full((samples, classes), START, device=device))
        return self

    def state(self) -> dict[str, Tensor]:
        return {"u": self._bound("u").detach(), "v": self._bound("v").detach()}

    def learned(self) -> dict[str, Learned]:
        return {"u": Learned(self._bound("u"), self.lr_u), "v": Learned(self._bound("v"), self.lr_v)}

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        import torch

        if self._bound("u").dtype == torch.float16:
            raise TypeError(f"SOP cannot learn u and v in float16, which has no {START}; keep them in float32")
        p = log_softmax(logits).exp()
        classes = torch.arange(p.shape[1], device=p.device)
        given = (classes == labels[:, None]).to(p.dtype)
        likeliest = (classes == p.detach().argmax(1, keepdim=True)).to(p.dtype)
        u, v = self._bound("u").index_select(0, index), self._bound("v").index_select(0, index)
        more = (u[:, None].square() * given).clamp(0, 1)
        less = (v.square() * (1 - given)).clamp(0, 1)
        q = (p + more - less.detach()).clamp(min=_CLAMP)
        q = (q / q.sum(1, keepdim=True)).clamp(_CLAMP, 1)
        return (likeliest + more - less - given).square().sum(1) - pick(q.log(), labels)
