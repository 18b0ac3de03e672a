"""How long and how fast to train, and when to prune: plain numbers, no torch."""

from __future__ import annotations

import math

from noisygce import check


class Schedule:
    """SGD with momentum and a learning rate that changes from epoch to epoch.

    epochs: passes over the training samples. batch_size: images a step; the last batch of an epoch is kept as it comes.
    lr: of the first epoch. annealing: "step" multiplies it by ``gamma`` after each of the ``milestones`` (numbers of
    finished epochs); "cosine" takes lr_end + (lr - lr_end) (1 + cos(pi e / epochs)) / 2 in the epoch after e finished
    ones (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts), and has no milestones.
    momentum, weight_decay, nesterov: as in torch.optim.SGD, without dampening.
    ema: the model that is evaluated and kept is the exponential moving average of the trained one, weights and batch
    norm statistics: m <- ema m + (1 - ema) w after each step, from the initial weights on; null: the trained one.
    clip_norm: a gradient whose Euclidean norm over all weights is larger is scaled to it (Pascanu et al. 2013, arXiv
    1211.5063); null: none is.
    """

    def __init__(
        self,
        epochs: int,
        batch_size: int,
        lr: float,
        annealing: str,
        milestones: list[int],
        momentum: float,
        weight_decay: float,
        clip_norm: float | None,
        nesterov: bool,
        gamma: float,
        lr_end: float,
        ema: float | None,
    ) -> None:
        self.epochs = check.whole("epochs", epochs, "[1, 100000]")
        self.batch_size = check.whole("batch_size", batch_size, "[2, 65536]")
        self.lr = check.number("lr", lr, "(0, 100]")
        self.milestones = list(check.wholes("milestones", milestones, "[1, 100000]"))
        if any(a >= b for a, b in zip(self.milestones, self.milestones[1:], strict=False)):
            raise check.Invalid("milestones", milestones, "increasing")
        self.annealing = check.choice("annealing", annealing, ("step", "cosine"))
        if self.annealing == "cosine" and self.milestones:
            raise check.Invalid("milestones", milestones, "[] where schedule.annealing=cosine")
        self.momentum = check.number("momentum", momentum, "[0, 1)")
        self.weight_decay = check.number("weight_decay", weight_decay, "[0, 1)")
        self.clip_norm = check.or_null(check.number, "clip_norm", clip_norm, "(0, 1e6]")
        self.nesterov = check.flag("nesterov", nesterov)
        if nesterov and not self.momentum:
            raise check.Invalid("nesterov", nesterov, "false where schedule.momentum=0")
        self.gamma = check.number("gamma", gamma, "(0, 1]")
        if self.annealing == "cosine" and self.gamma != 0.1:
            raise check.Invalid("gamma", gamma, "0.1, which it has no use for, where schedule.annealing=cosine")
        self.lr_end = check.number("lr_end", lr_end, f"[0, {self.lr}]")
        if self.annealing == "step" and self.lr_end:
            raise check.Invalid("lr_end", lr_end, "0 where schedule.annealing=step")
        self.ema = check.or_null(check.number, "ema", ema, "(0, 1)")

    def lr_of(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        if self.annealing == "cosine":
            return self.lr_end + (self.lr - self.lr_end) * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return self.lr * self.gamma ** sum(epoch >= m for m in self.milestones)


class Pruning:
    """When a loss that prunes does so, and what becomes of the pruned samples.

    mode: "drop" takes them out of the epoch; "mask" keeps them in their batches with weight 0, and the mean still
    counts them. start, every: prune once ``start`` epochs are done, and then again every ``every`` epochs.
    """

    def __init__(self, mode: str, start: int, every: int) -> None:
        self.mode = check.choice("mode", mode, ("drop", "mask"))
        self.start = check.whole("start", start, "[1, 100000]")
        self.every = check.whole("every", every, "[1, 100000]")

    def due(self, done: int) -> bool:
        """Whether to prune with ``done`` epochs finished."""
        return done >= self.start and (done - self.start) % self.every == 0
