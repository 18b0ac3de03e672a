from typing import Any, Self

from noisygce import check
from noisygce.losses.base import Learned, Loss, Matrix, Tensor
from noisygce.losses.forward import transition_error
from noisygce.losses.probabilities import in_float, log_softmax, rows

MOMENTUM = 0.9  # of T, as in the authors' code


class VolMinNet(Loss):
    """Volume minimisation: -log sum_j p_j T[j, y] + lam log |det T|, T learned with the network, without anchor points.

    Li et al. 2021 (ICML, arXiv 2102.02414). T has rows of sum 1: 1 on the diagonal and sigmoid(w) elsewhere, scaled; w
    begins at -init. lam >= 0 weighs the volume. w is learned by SGD with momentum 0.9 and lr_t times the network's
    learning rate.

    In your own loop:

        criterion = VolMinNet().bind(classes=K, device="cuda")
        learned = [each.tensor for each in criterion.learned().values()]
        optimizer = torch.optim.SGD([*network.parameters(), *learned], lr=0.01, momentum=0.9)
    """

    w: Tensor  # (K, K); its diagonal takes no part

    def __init__(
        self,
        lam: float = 1e-4,
        init: float = 2.0,
        lr_t: float = 1.0,
        *,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.lam = check.number("lam", lam, "[0, 1000]")
        self.init = check.number("init", init, "[-20, 20]")
        self.lr_t = check.number("lr_t", lr_t, "(0, 1000]")
        self._true: Matrix | None = None

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import torch

        self.w = torch.nn.Parameter(torch.full((classes, classes), -self.init, device=device))
        self._true = transition
        return self

    def state(self) -> dict[str, Tensor]:
        return {"w": self._bound("w").detach()}

    def learned(self) -> dict[str, Learned]:
        return {"w": Learned(self._bound("w"), self.lr_t, MOMENTUM, follows=True)}

    def log_transition(self) -> Tensor:
        """log T (K, K)."""
        import torch

        w = in_float(self._bound("w"))
        same = torch.eye(len(w), dtype=torch.bool, device=w.device)
        return torch.nn.functional.logsigmoid(w).masked_fill(same, 0.0).log_softmax(1)

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        import torch

        log_ps, log_t = log_softmax(logits), self.log_transition()
        volume = torch.linalg.slogdet(log_t.exp()).logabsdet
        return self.lam * volume - (log_ps + rows(log_t.t(), labels, log_ps)).logsumexp(1)

    def report(self) -> dict[str, Any]:
        """transition: T at the end. error: its ``transition_error``."""
        return {"transition_hat": learned_transition(self.log_transition().detach().exp(), self._true)}


def learned_transition(found: Tensor, true: Matrix | None) -> dict[str, Any]:
    """A learned T (K, K), and its error where the true one is known."""
    matrix = found.double().cpu().numpy()
    known = {} if true is None else {"error": transition_error(matrix, true)}
    return {"transition": matrix.round(6).tolist(), **known}
