"""Losses corrected by a transition matrix T: the network predicts true labels, T turns them into given ones."""

from collections.abc import Mapping
from typing import Any, Self

from noisygce import check
from noisygce.errors import ConfigError
from noisygce.losses.base import Loss, Matrix, Tensor
from noisygce.losses.gce import CE
from noisygce.losses.probabilities import clipped, log_softmax, rows

# The quantile of p_i at which the sample stands that represents class i: q97 leaves outliers above it.
ANCHORS = {"q97": 0.97, "max": 1.0}
# Estimates of T that a ce run leaves: by anchors, each of these as one factor of Dual-T, and by confident learning.
ESTIMATES = (*ANCHORS, *(f"dual_{anchor}" for anchor in ANCHORS), "confident_joint")


class Forward(Loss):
    """Forward correction with the true T: -log sum_j p_j T[j, y] (Patrini et al. 2017, theorem 2, arXiv 1609.03683).

    T is that of the noise; where the noise depends on more than the true class, the share of each given label among the
    samples of each true class. Call ``bind`` before use. clip in (0, 0.1] or None: of all p, as ``clipped``.
    """

    log_transition: Tensor  # (K, K), float64: log T, -inf where T is 0

    def __init__(self, *, clip: float | None = None, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.clip = self._clip(clip)

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import torch

        self.log_transition = torch.as_tensor(_given(transition, classes)).log().to(device)
        return self

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        # In logarithms: the sum underflows where the network is sure of a class that never turns into y.
        log_ps = clipped(log_softmax(logits), self.clip)
        return -(log_ps + rows(self._bound("log_transition").t(), labels, log_ps)).logsumexp(1)


class Backward(Loss):
    """Backward correction with the true T: -sum_k (T^-1)[y, k] log p_k (Patrini et al. 2017, theorem 1).

    Its expectation over the noise is the cross entropy with the true label, for which T must have an inverse; the
    losses themselves have no lower bound. T and clip as in ``Forward``. Call ``bind`` before use.
    """

    inverse: Tensor  # (K, K)

    def __init__(self, *, clip: float | None = None, reduction: str = "mean", ignore_index: int | None = None) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.clip = self._clip(clip)

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import numpy as np
        import torch

        given = _given(transition, classes)
        if np.linalg.cond(given) > 1e6:  # float32 has no digits left beyond
            raise ConfigError("loss=backward: the noise's T has no inverse; choose another rate, or loss=forward")
        self.inverse = torch.as_tensor(np.linalg.inv(given)).to(device)
        return self

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = clipped(log_softmax(logits), self.clip)
        return -(rows(self._bound("inverse"), labels, log_ps) * log_ps).sum(1)


class ForwardHat(Forward):
    """Forward correction with an estimated T: T_hat[i] = p(x_i) (Patrini et al. 2017, arXiv 1609.03683).

    p: of the best-validation model of a run with the loss ``source`` and all else equal. x_i: the training sample at
    quantile ``anchor`` of p_i (q97: 0.97; max: the largest, which the paper takes on CIFAR-100). Other estimates of
    the same run: dual_q97 and dual_max, Dual-T (Yao et al. 2020, arXiv 2006.07805); confident_joint, confident learning
    (Northcutt et al. 2021, arXiv 1911.00068). Call ``load_source_estimates`` before ``bind``, whose transition, the
    true T, is only compared with T_hat and may be None.
    """

    def __init__(
        self,
        anchor: str = "q97",
        source: Loss | None = None,
        *,
        clip: float | None = None,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(clip=clip, reduction=reduction, ignore_index=ignore_index)
        self.anchor = check.choice("anchor", anchor, ESTIMATES)
        source = CE() if source is None else source
        if not isinstance(source, Loss) or not source.estimates_transition:
            raise check.Invalid("source", source, "a loss whose p estimates P(given label | image), such as ce")
        self.source = source
        self._report: dict[str, Any] = {}
        self._transition: Matrix

    def load_source_estimates(self, run_id: str, estimates: Mapping[str, Any]) -> None:
        import numpy as np

        self._transition = np.asarray(estimates[self.anchor], dtype=np.float64)
        self._report = {"run_id": run_id, "anchor": self.anchor, "transition": estimates[self.anchor]}

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        if "_transition" not in vars(self):
            raise TypeError(
                f"ForwardHat: T_hat is missing: call load_source_estimates(RUN_ID, {{{self.anchor!r}: T_hat}}) first, "
                "T_hat (K, K) of a finished ce run (transition_hat.json); or take Forward() with transition=T_hat"
            )
        super().bind(samples=samples, classes=classes, device=device, transition=self._transition)
        if transition is not None:
            self._report["error"] = transition_error(self._transition, transition)
        return self

    def report(self) -> dict[str, Any]:
        """error: ``transition_error`` of T_hat, where T is known."""
        return {"transition_hat": self._report}


class DualT(ForwardHat):
    """Forward correction with the T of Dual-T: ``ForwardHat`` but for its default (Yao et al. 2020, arXiv 2006.07805).

    T is a product: from true classes to those that the model predicts, by anchors, and from these to given labels, by
    counting. anchor: dual_q97 or dual_max.
    """

    def __init__(
        self,
        anchor: str = "dual_q97",
        source: Loss | None = None,
        *,
        clip: float | None = None,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(anchor, source, clip=clip, reduction=reduction, ignore_index=ignore_index)


def _given(transition: Matrix | None, classes: int) -> Matrix:
    """T (K, K), with a row of the identity for a class without samples, whose shares are all 0. Raises TypeError where
    T is missing, ValueError where it is none of K classes."""
    import numpy as np
    import torch

    what = "T (K, K), T[y, z] = P(given label z | true class y)"
    if transition is None:
        raise TypeError(f"transition is missing: {what}")
    given: Matrix = torch.as_tensor(transition, dtype=torch.float64, device="cpu").numpy()
    if given.shape != (classes, classes):
        raise ValueError(f"transition must be {what}, for K = {classes}; its shape is {given.shape}")
    if given.any():
        given = np.where(given.any(1, keepdims=True), given, np.eye(classes))
    if not (given >= 0).all() or not np.allclose(given.sum(1), 1, rtol=0, atol=1e-3):
        raise ValueError(f"transition must be {what}: entries of at least 0, rows of sum 1")
    return given


def transition_error(estimate: Matrix, transition: Matrix) -> float:
    """sum |T_hat - T| / sum T: the relative L1 distance of an estimate (K, K) from the true T (K, K); from 0 to 2."""
    return float(abs(estimate - transition).sum() / transition.sum())
