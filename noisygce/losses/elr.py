from typing import Any, Self

from noisygce import check
from noisygce.losses.base import Loss, Tensor
from noisygce.losses.probabilities import log_p, log_softmax, pick

_CLAMP = 1e-4  # of the authors' code: keeps <p, t> below 1, where the logarithm ends
_LEAST = 1e-38  # target that weighs a label, so that one of two has a weight where both underflow


class ELR(Loss):
    """Early-learning regularisation: -log p_y + lam log(1 - <p, t>), t <- b t + (1 - b) p for each sample.

    Liu et al. 2020 (arXiv 2007.00151): t, the running mean of what the network has said of the sample,
    starts at 0 and takes in p before it is used; p is clamped to [1e-4, 1 - 1e-4] as in the authors' code, and scaled
    to sum 1 in t. lam >= 0, b in [0, 1). In your own loop:

        criterion = ELR(lam=3, b=0.7).bind(samples=N, classes=K).to("cuda")
        criterion(logits, labels, index).backward()                      # index (B,) into the training set
    """

    targets: Tensor  # (N, K)

    def __init__(
        self, lam: float = 3.0, b: float = 0.7, *, reduction: str = "mean", ignore_index: int | None = None
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.lam = check.number("lam", lam, "[0, 1000]")
        self.b = check.number("b", b, "[0, 1)")

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import torch

        if not samples:
            raise TypeError("ELR remembers samples: samples is missing: call bind(samples=N, classes=K) once")
        self.targets = torch.zeros((samples, classes), device=device)
        return self

    def state(self) -> dict[str, Tensor]:
        return {"targets": self._bound("targets")}

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        ce = -log_p(logits, labels)  # first: a wrong label raises before anything is remembered
        said = log_softmax(logits.detach()).exp().clamp(_CLAMP, 1 - _CLAMP)
        said = said / said.sum(1, keepdim=True)
        targets = self._bound("targets")
        before = targets.index_select(0, index)  # targets[index] would take the index -1 as N - 1
        targets[index] = self.b * before + (1 - self.b) * said.to(targets.dtype)
        p = log_softmax(logits).exp().clamp(_CLAMP, 1 - _CLAMP)
        return ce + self.lam * (1 - (p * targets[index]).sum(1)).log()


class ELRPlus(Loss):
    """ELR+: elr of two networks and mixed images; each network's targets come from the other one's moving average.

    Liu et al. 2020 (arXiv 2007.00151). t <- b t + (1 - b) p for each sample and network, p of the other network's
    teacher for the image before it is mixed. Of an image mixed with weight w, t = w t_i + (1 - w) t_j, and the loss is
    -w log p_i - (1 - w) log p_j + lam log(1 - <p, t>), p clamped as in ELR; the sum over both networks. The mean of
    their logits is evaluated. alpha of ``Mixup``; 0: none are mixed.
    gamma: decay of the teachers. It rises to its value as r(s) = exp(-5 (1 - s / ramp)^2) over ``ramp`` steps s, and
    lam over ``lam_ramp``; 0: at once. reweight: w and 1 - w are scaled by t at the two labels, to sum 1, as the
    authors' code does for 100 classes.

    In your own loop (``of_mixed`` knows no ``ignore_index``):

        criterion = ELRPlus().bind(samples=N, classes=K, device="cuda")
        with torch.no_grad():
            criterion.observe(torch.cat([first_teacher(images), second_teacher(images)]), index)
        logits = torch.cat([first(mixed), second(mixed)])               # mixed: w images + (1 - w) images[partner]
        criterion.of_mixed(logits, labels, index, partner, w).mean().backward()
        ...                                                             # a step of the optimizer, then of the teachers:
        decay = criterion.teacher_decay()                               # m <- decay m + (1 - decay) network
    """

    networks = 2
    ensemble = mixes_labels = True
    needs_steps = {"ramp": "the decay of the teachers stays below gamma", "lam_ramp": "the weight stays below lam"}
    targets: Tensor  # (N, 2, K), of each network
    steps: Tensor  # (), int64, that have begun

    def __init__(
        self,
        lam: float = 3.0,
        b: float = 0.7,
        alpha: float = 1.0,
        gamma: float = 0.997,
        ramp: int = 40000,
        lam_ramp: int = 0,
        reweight: bool = False,
        *,
        reduction: str = "mean",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(reduction=reduction, ignore_index=ignore_index)
        self.lam = check.number("lam", lam, "[0, 1000]")
        self.b = check.number("b", b, "[0, 1)")
        self.mixup = self.alpha = check.number("alpha", alpha, "[0, 1000]")
        self.gamma = check.number("gamma", gamma, "[0, 1)")
        self.ramp = check.whole("ramp", ramp, "[0, 1e9]")
        self.lam_ramp = check.whole("lam_ramp", lam_ramp, "[0, 1e9]")
        self.reweight = check.flag("reweight", reweight)

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        import torch

        if not samples:
            raise TypeError("ELRPlus remembers samples: samples is missing: call bind(samples=N, classes=K) once")
        self.targets = torch.zeros((samples, self.networks, classes), device=device)
        self.steps = torch.zeros((), dtype=torch.int64, device=device)
        return self

    def state(self) -> dict[str, Tensor]:
        return {"targets": self._bound("targets"), "steps": self._bound("steps")}

    def teacher_decay(self) -> Tensor:
        return self.gamma * _risen(self._bound("steps") + 1, self.ramp)

    def observe(self, logits: Tensor, index: Tensor) -> None:
        import torch

        targets = self._bound("targets")
        before = targets.index_select(0, index)  # targets[index] would take the index -1 as N - 1
        first, second = log_softmax(logits.detach()).exp().chunk(2)
        said = torch.stack([second, first], 1)
        targets[index] = self.b * before + (1 - self.b) * said.to(targets.dtype)
        self._bound("steps").add_(1)

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        import torch

        alone = torch.arange(len(index), device=index.device)
        return self.of_mixed(logits, labels, index, alone, torch.ones((), device=index.device))

    def of_mixed(self, logits: Tensor, labels: Tensor, index: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
        labels, targets = labels.long(), self._bound("targets").index_select(0, index)
        mixed = (weight * targets + (1 - weight) * targets[partner]).unbind(1)
        lam = self.lam * _risen(self._bound("steps"), self.lam_ramp)
        first, second = (
            self._of(log_softmax(one), t, labels, labels[partner], weight, lam)
            for one, t in zip(logits.chunk(2), mixed, strict=True)
        )
        return first + second

    def _of(self, log_ps: Tensor, t: Tensor, one: Tensor, other: Tensor, weight: Tensor, lam: Tensor) -> Tensor:
        """The loss (B,) of one network with the targets t (B, K) and the labels ``one`` and ``other`` (B,)."""
        log_one, log_other = pick(log_ps, one), pick(log_ps, other)
        if self.reweight:
            ratio = pick(t, other).clamp(min=_LEAST) / pick(t, one).clamp(min=_LEAST)
            weight = weight / (weight + (1 - weight) * ratio)
        p = log_ps.exp().clamp(_CLAMP, 1 - _CLAMP)
        return lam * (1 - (p * t).sum(1)).log() - weight * log_one - (1 - weight) * log_other


def _risen(steps: Tensor, ramp: int) -> Tensor:
    """exp(-5 (1 - steps / ramp)^2), () float64, 1 from ``ramp`` steps on (Laine & Aila 2017, arXiv 1610.02242)."""
    left = 1 - steps.double().clamp(max=ramp) / ramp if ramp else 0 * steps.double()
    return (-5 * left.square()).exp()
