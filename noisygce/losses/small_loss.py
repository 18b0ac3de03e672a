"""What losses of two networks share that train on samples with small losses: how many, and which."""

import math
from collections.abc import Mapping
from typing import Any, Self

from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.gce import CE

ESTIMATED = "estimated"  # a forget_rate


class SmallLoss(Loss):
    """A loss that chooses: of each batch, the share R(e) with the smallest losses, R(e) = 1 - tau min(e / E_k, 1).

    e: epochs done. forget_rate: tau in [0, 1); None: the share of wrong labels as T has it, the mean of 1 - T[y, y]
    over the classes that have samples; "estimated": the share that a ce run, all else equal, has estimated from its
    noisy validation labels (Northcutt et al. 2021, arXiv 1911.00068). gradual: E_k, in epochs. logits (2 B, K): of one
    network, then of the other. The loss of a sample is 0 where it is not chosen, and else weighted so that the mean
    over the batch is the mean over the chosen.
    """

    networks = 2
    needs_epochs = {"gradual": "the share that is left out stays below forget_rate"}
    forgotten: Tensor  # (), float64, 1 - R(e)

    def __init__(
        self,
        forget_rate: float | str | None = None,
        gradual: int = 10,
        *,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.forget_rate: float | str | None = forget_rate
        if forget_rate == ESTIMATED:
            self.source = CE.from_config()
        elif forget_rate is not None:
            with check.or_else(f"{ESTIMATED} or null"):
                self.forget_rate = check.number("forget_rate", forget_rate, "[0, 1)")
        self._report: dict[str, Any] = {}
        self.gradual = check.whole("gradual", gradual, "[1, 100000]")

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import torch

        if self.forget_rate == ESTIMATED:
            if not self._report:
                raise TypeError(
                    f"{type(self).__name__}: the estimated rate is missing: call load_source_estimates(RUN_ID, "
                    '{"rate": RATE}) first, or give forget_rate'
                )
            self._tau = self._report["rate"]
        elif self.forget_rate is not None:
            self._tau = float(self.forget_rate)
        elif transition is not None:
            # Rounded, since floor(R B) would otherwise depend on the last bits of a mean.
            self._tau = round(float(1 - transition.trace() / transition.sum()), 12)
        else:
            raise TypeError(f"{type(self).__name__}: transition is missing: T (K, K), or give forget_rate")
        if not self._tau:  # nothing is left out, early or late
            self.needs_epochs = {key: outcome for key, outcome in self.needs_epochs.items() if key != "gradual"}
        self.forgotten = torch.zeros((), dtype=torch.float64, device=device)
        return self

    def load_source_estimates(self, run_id: str, estimates: Mapping[str, Any]) -> None:
        if self.forget_rate == ESTIMATED:
            self._report = {"run_id": run_id, "rate": round(float(estimates["rate"]), 12)}

    def report(self) -> dict[str, Any]:
        """rate: the forget_rate that was estimated, and the run that has."""
        return {"forget_rate": self._report} if self._report else {}

    def start_epoch(self, epoch: int) -> None:
        self._bound("forgotten").fill_(self._tau * min(epoch / self.gradual, 1.0))

    def state(self) -> dict[str, Tensor]:
        return {"forgotten": self._bound("forgotten")}

    def of_soft(self, logits: Tensor, labels: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} chooses samples by their label: give labels (B,)")

    def _weights(self, losses: Tensor, among: Tensor | None = None) -> Tensor:
        """B / n for the n samples with the smallest losses (B,), 0 for the others.

        n = floor(R |A|) of A, the samples ``among`` (B,), bool, or all; where that is none, all of A. Of equal losses
        the first ones.
        """
        import torch

        if among is None:
            among = torch.ones_like(losses, dtype=torch.bool)
        ranks = losses.detach().where(among, math.inf).argsort(stable=True).argsort()
        size = among.sum()
        n = ((1 - self._bound("forgotten")) * size).floor()  # as in Python's own numbers
        n = n.where(n > 0, size)
        return ((ranks < n) * (len(losses) / n.clamp(min=1))).to(losses.dtype)
