from typing import Any, Self

from noisygce import check
from noisygce.losses.base import Learned, Loss, Tensor
from noisygce.losses.forward import ForwardHat
from noisygce.losses.gce import CE
from noisygce.losses.probabilities import log_softmax, pick, rows
from noisygce.losses.volminnet import learned_transition

_LOWEST = 1e-8  # entry of T, so that its logarithm has a gradient


class TRevision(ForwardHat):
    """Importance reweighting with an estimated T that is revised: -b log p_y, b = p_y / sum_j p_j (T + dT)[j, y].

    Xia et al. 2019 (NeurIPS, arXiv 1906.00189). T: the estimate ``anchor`` of a run with the loss ``source``, as in
    ``ForwardHat``. In the first ``start`` epochs dT is 0; then dT is learned with the network, by SGD with the learning
    rate lr_t. For the network b is a constant: if b had a gradient, the loss would be least at p_y = 0, where b is 0.
    No entry of T + dT falls below 1e-8; its rows are scaled to sum 1, since the loss would fall by larger entries.
    """

    needs_epochs = {"start": "T is not revised"}
    revised: Tensor  # (K, K), T + dT
    revising: Tensor  # (), bool

    def __init__(
        self,
        anchor: str = "q97",
        start: int = 20,
        lr_t: float = 1e-5,
        source: Loss | None = None,
        *,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(anchor, source or CE(), reduction=reduction, ignore_index=ignore_index)
        self.start = check.whole("start", start, "[0, 100000]")
        self.lr_t = check.number("lr_t", lr_t, "(0, 1000]")

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import torch

        super().bind(samples=samples, classes=classes, device=device, transition=transition)
        given = torch.as_tensor(self._transition, dtype=torch.float32).clamp(min=_LOWEST).to(device)
        self.revised, self._true = torch.nn.Parameter(given), transition
        self.revising = torch.zeros((), dtype=torch.bool, device=device)
        return self

    def start_epoch(self, epoch: int) -> None:
        self._bound("revising").fill_(epoch >= self.start)

    def state(self) -> dict[str, Tensor]:
        return {"revised": self._bound("revised").detach(), "revising": self._bound("revising")}

    def learned(self) -> dict[str, Learned]:
        return {"revised": Learned(self._bound("revised"), self.lr_t, low=_LOWEST)}

    def _log_t(self) -> Tensor:
        """log (T + dT) (K, K)."""
        revised = self._bound("revised").clamp(min=_LOWEST).log()  # an optimizer of one's own knows no bound
        return revised - revised.logsumexp(1, keepdim=True)

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = log_softmax(logits)
        log_py = pick(log_ps, labels)
        fixed = log_ps.detach()
        b = (log_py.detach() - (fixed + rows(self._log_t().t(), labels, fixed)).logsumexp(1)).exp()
        return -b.where(self._bound("revising"), b.detach()) * log_py

    def report(self) -> dict[str, Any]:
        """As of ``ForwardHat``; transition, error: of T + dT at the end; before: the error of T."""
        learned = learned_transition(self._log_t().detach().exp(), self._true)
        before = {"before": self._report["error"]} if "error" in self._report else {}
        return {"transition_hat": {**self._report, **learned, **before}}
