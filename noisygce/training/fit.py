"""The training loop, on one screen; yields one row of metrics an epoch."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from noisygce.data import Preprocessing
from noisygce.errors import CheckpointError, ConfigError, NonFinite, user_code_error
from noisygce.losses import Loss
from noisygce.models.resnet import can_fuse
from noisygce.schedule import Pruning, Schedule
from noisygce.training import dropout, prune
from noisygce.training.cuda_graph import Pool
from noisygce.training.evaluate import Evaluation, accuracy
from noisygce.training.images import BatchSpec, Images
from noisygce.training.loader import Loader
from noisygce.training.own_loss import refuse_untrained
from noisygce.training.step import Step
from noisygce.training.task import Task

Row = dict[str, Any]


@dataclass
class Progress:
    """Where a training is: plain values, saved in a checkpoint beside the tensors."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the epoch under way
    best_epoch: int = 0
    best_accuracy: float = -1.0  # on the noisy validation labels; without any the latest epoch is the best
    rows: list[Row] = field(default_factory=list)
    prunings: list[Row] = field(default_factory=list)


class Training:
    """A task, a network and a loss on a device, and how far they have come."""

    def __init__(
        self,
        task: Task,
        preprocessing: Preprocessing,
        network: nn.Module,
        loss: Loss,
        schedule: Schedule,
        pruning: Pruning,
        seed: int,
        precision: str,
        device: str,
        compile: bool = False,
        graph: str = "off",
        fused: bool = False,
        on_host: bool | None = None,
    ) -> None:
        """graph: replay CUDA graphs, on the current stream, where batches have their full size ("auto": if they can be
        recorded; "on"; "off"); changes no number. fused: steps in bf16 use the kernels of noisygce.models.fused.
        on_host: see ``Images``; changes no number."""
        self.task, self.loss, self.schedule, self.pruning, self.precision = task, loss, schedule, pruning, precision
        self.progress = Progress()
        arrays = task.arrays
        self.images = Images(arrays.train_images, preprocessing, arrays.train_images, device, on_host)
        self.test_images = Images(arrays.test_images, preprocessing, arrays.train_images, device, on_host)
        self.noisy, self.clean, self.test_labels, self.train, self.validation, self.test = (
            torch.from_numpy(a).to(device)
            for a in (task.noisy, task.clean, arrays.test_labels, task.train, task.validation, task.test)
        )
        if len(self.train) == 1 and any(
            isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules()
        ):
            raise ConfigError("one training sample: the batch norm of this network needs at least two")
        self.network, self.fused = network.to(device), fused
        for layer in network.modules():
            if can_fuse(layer):
                layer.fused = fused
        dropout.from_seed(self.network, seed, device)
        known = task.transition if arrays.truth else None
        try:
            loss.bind(samples=len(task.noisy), classes=len(arrays.classes), device=device, transition=known)
        except TypeError as error:
            if arrays.truth:
                raise
            raise user_code_error(error) or ConfigError(
                f"{type(loss).__name__} needs the true T, and which labels of this data set are wrong is not known: "
                "give loss.forget_rate where the loss has it, or take a loss that estimates T, such as loss=forward_hat"
            ) from error
        refuse_untrained(loss)
        self.loader = Loader(self.images, self.train, schedule.batch_size, seed, loss.views, loss.mixup)
        pool = Pool(required=graph == "on") if graph != "off" else None
        self.step = Step(self.network, loss, self.images, self.noisy, schedule, precision, compile, pool)
        self.logits = Evaluation(self.network, self.images, precision, pool)  # of training and validation images
        self.test_logits = Evaluation(self.network, self.test_images, precision, pool)
        self.best = {k: v.clone() for k, v in self.network.state_dict().items()}

    def batches(self) -> list[BatchSpec]:
        """The batches of the epoch under way. Masked samples take part with weight 0, dropped ones do not."""
        return self.loader.epoch(self.progress.epoch, self._taking_part())

    def images_an_epoch(self) -> int:
        at = self.progress
        return at.prunings[-1]["kept"] if at.prunings and self.pruning.mode == "drop" else len(self.train)

    def _taking_part(self) -> Tensor:
        return torch.ones_like(self.step.kept) if self.pruning.mode == "mask" else self.step.kept

    def estimate(self) -> float:
        """Seconds that the whole training will take here, from two steps of a throwaway copy; evaluation is a third a
        training image each. On one thread: what it would take alone, where others keep the machine busy."""
        network, loss = copy.deepcopy((self.network, self.loss))
        loss.start_epoch(self.progress.epoch)
        step = Step(network, loss, self.images, self.noisy, self.schedule, self.precision)
        draws = self.batches()[:2]
        for draw in draws:
            started = time.perf_counter(), time.process_time()
            step(draw)
        # Others lengthen the first of the two, threads of its own the second.
        seconds = min(time.perf_counter() - started[0], time.process_time() - started[1])
        an_image = seconds / len(draws[-1].index)
        an_epoch = len(self.train) + (len(self.validation) + len(self.test)) / 3
        return self.schedule.epochs * an_epoch * an_image

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the training by name, not copied."""
        return self.step.state() | {f"best.{k}": v for k, v in self.best.items()}

    def load(self, tensors: dict[str, Tensor], progress: Progress) -> None:
        """Goes on from saved ``tensors`` and ``progress``. Raises CheckpointError, and changes nothing, where names,
        shapes or types are not those of this training: copying would cast and broadcast without a word."""
        own = self.tensors()
        if other := sorted(own.keys() ^ tensors.keys()):
            raise CheckpointError(f"{len(other)} tensors are in one and not in the other, {other[0]} among them")
        for name, tensor in own.items():
            saved = tensors[name]
            here, there = (f"{t.dtype} {tuple(t.shape)}" if isinstance(t, Tensor) else t for t in (tensor, saved))
            if here != there:
                raise CheckpointError(f"{name} is {there}, not {here}")
        if progress.epoch < self.schedule.epochs:  # an own loss may keep the epoch beside its tensors
            self.loss.start_epoch(progress.epoch)
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        self.step.lr.fill_(self.schedule.lr_of(progress.epoch))
        self.progress = progress


def fit(
    training: Training, after_step: Callable[[Training, int], None], stop: Callable[[], None] = lambda: None
) -> Iterator[Row]:
    """Trains to the last epoch from wherever ``training`` is.

    ``after_step(training, images of the step)`` is called after each step, ``stop()`` between the batches of an
    evaluation. Both may raise to stop there: a training that is saved then resumes from its last step. Raises
    NonFinite at the end of an epoch in which the loss was not finite.
    """
    at, step = training.progress, training.step
    while at.epoch < training.schedule.epochs:
        if at.step == 0:
            step.start_epoch(at.epoch)
        for draw in training.batches()[at.step :]:
            step(draw)
            at.step += 1
            after_step(training, len(draw.index))
        row, epoch = _measure(training, stop), at.epoch + 1
        share = row["val_accuracy"]
        if share is None or share > at.best_accuracy:  # None: nothing is held out, and the last model is kept
            at.best_accuracy, at.best_epoch = -1.0 if share is None else share, epoch
            for name, tensor in step.evaluated().items():
                training.best[name].copy_(tensor)
        if training.loss.prunes and training.pruning.due(epoch) and epoch < training.schedule.epochs:
            at.prunings.append(_prune(training, epoch, stop))
        at.epoch, at.step = epoch, 0  # only now: a stop in an evaluation resumes from the last step before it
        at.rows.append(row)
        yield row


def _measure(t: Training, stop: Callable[[], None]) -> Row:
    """The metrics of the epoch that just ended; every share a fraction."""
    s, at = t.step, t.progress
    with latest(t):
        on_validation = t.logits(t.validation, stop).argmax(1)
        on_test = t.test_logits(t.test, stop).argmax(1)
    said, noisy, clean = s.predictions[t.train], t.noisy[t.train], t.clean[t.train]
    known, unknown = t.task.arrays.truth, torch.full_like(s.loss_sum, math.nan)
    numbers = {
        "good_steps": s.good_steps,
        "finite": s.finite(),
        "kept": s.kept[t.train].sum(),
        "train_loss": s.loss_sum / s.steps,
        "train_accuracy": (said == noisy).sum() / (said >= 0).sum().clamp(min=1).double(),
        "val_accuracy": accuracy(on_validation, t.noisy[t.validation]),
        "val_clean_accuracy": accuracy(on_validation, t.clean[t.validation]) if known else unknown,
        "test_accuracy": accuracy(on_test, t.test_labels[t.test]),
        **prune.memorisation(said, noisy, clean if known else noisy),  # unknown: none is known to be wrong
        "prediction_changes": prune.changes(s.predictions_before[t.train], said),
    }
    # The one copy to the host in an epoch, but for the number of images in the next one.
    read = dict(zip(numbers, torch.stack([n.double() for n in numbers.values()]).tolist(), strict=True))
    good, finite, kept = int(read.pop("good_steps")), read.pop("finite"), int(read.pop("kept"))
    if good < at.step:
        raise NonFinite(
            f"the loss was not finite at epoch {at.epoch + 1}, step {good + 1}; a lower schedule.lr may help"
        )
    if not finite:
        raise NonFinite(f"the weights were not finite after epoch {at.epoch + 1}; a lower schedule.lr may help")
    row: Row = {"epoch": at.epoch + 1, "lr": t.schedule.lr_of(at.epoch), "kept": kept}
    return row | {name: None if math.isnan(value) else value for name, value in read.items()}


def _prune(t: Training, epoch: int, stop: Callable[[], None]) -> Row:
    """Solves the kept set again with the best-validation weights; training continues from the current ones."""
    kept, warning = prune.kept_set(t.loss, logits_of_best(t, stop), t.noisy, t.train, t.step.kept)
    t.step.kept.copy_(kept)
    row = {"after_epoch": epoch, "by_epoch": t.progress.best_epoch, "warning": warning}
    clean = t.clean if t.task.arrays.truth else None
    return row | prune.report(kept, t.noisy, clean, t.train, len(t.task.arrays.classes))


def logits_of_best(t: Training, stop: Callable[[], None] = lambda: None) -> Tensor:
    """Logits of all training samples, kept or not, by the best-validation weights; the current ones come back."""
    with weights(t, t.best):
        return t.logits(t.train, stop)


@contextmanager
def weights(t: Training, of: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it the network has other weights; the current ones come back."""
    current = {name: tensor.clone() for name, tensor in t.network.state_dict().items()}
    t.network.load_state_dict(of)
    try:
        yield
    finally:
        t.network.load_state_dict(current)


def latest(t: Training) -> AbstractContextManager[None]:
    """Within it the network is the model that is evaluated: its moving average where there is one."""
    return weights(t, t.step.ema) if t.step.ema else nullcontext()


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of named tensors: of each, in the order of names, its name, shape, type and values."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        whole.update(value.numpy().tobytes())
    return whole.hexdigest()
