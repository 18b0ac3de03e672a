from noisygce import check
from noisygce.losses.base import Loss, Matrix, Tensor, log_p, log_softmax

_CLAMP = 1e-4  # of the authors' code: keeps <p, t> below 1, where the logarithm ends


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

    def bind(self, *, samples: int, classes: int, device: str, transition: Matrix | None = None) -> None:
        import torch

        if not samples:
            raise TypeError("ELR remembers samples: samples is missing: call bind(samples=N, classes=K) once")
        self.targets = torch.zeros((samples, classes), device=device)

    def state(self) -> dict[str, Tensor]:
        return {"targets": self._bound("targets")}

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        raise TypeError("ELR remembers samples: call of_batch(logits, labels, index)")

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        ce = -log_p(logits, labels)  # first: a wrong label raises before anything is remembered
        said = log_softmax(logits.detach()).exp().clamp(_CLAMP, 1 - _CLAMP)
        said = said / said.sum(1, keepdim=True)
        targets = self._bound("targets")
        before = targets.index_select(0, index)  # targets[index] would take the index -1 as N - 1
        targets[index] = self.b * before + (1 - self.b) * said.to(targets.dtype)
        p = log_softmax(logits).exp().clamp(_CLAMP, 1 - _CLAMP)
        return ce + self.lam * (1 - (p * targets[index]).sum(1)).log()
