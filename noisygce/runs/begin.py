"""The training of a run: at its beginning, or as its checkpoint left it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from noisygce.errors import CheckpointError
from noisygce.runs import checkpoint
from noisygce.training import device

if TYPE_CHECKING:
    from noisygce.runs.run import Run
    from noisygce.settings import Experiment
    from noisygce.training.fit import Progress, Training

log = logging.getLogger("noisygce")


def training_of(e: Experiment, place: str, on_host: bool | None = None) -> Training:
    """The training of an experiment at its beginning, on a prepared device. on_host: whether images stay in host
    memory; null where they do not fit on the device. Raises ConfigError or DataError."""
    from noisygce.models.resnet import can_fuse
    from noisygce.training.fit import Training
    from noisygce.training.task import prepare

    graph = device.graphs(place, e.runtime.graph)
    device.require(place, e.precision, e.compile)
    task = prepare(e.data, e.split, e.verdicts, e.noise, e.seed, e.paths.data)
    shape = task.arrays.train_images.shape[1:]
    network = e.model.build(shape, len(task.arrays.classes), e.seed, e.loss.networks, ensemble=e.loss.ensemble)
    fused = any(can_fuse(layer) for layer in network.modules()) and device.fused(
        place, e.runtime.fused, e.precision, e.compile
    )
    how = (e.seed, e.precision, place, e.compile, graph, fused, on_host)
    return Training(task, e.preprocessing, network, e.loss, e.schedule, e.pruning, *how)


def seconds_on_a_core(e: Experiment) -> float:
    """What a run on CIFAR-10 takes one CPU core, by the processor time of a step on a few made-up images.

    Evaluation is a third of a training image each. A busy machine makes it longer, but not by what the others take.
    """
    import torch

    from noisygce.training.evaluate import autocast

    images = torch.zeros(32, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    network, threads = e.model.build((32, 32, 3), 10, 0, e.loss.networks).train(), torch.get_num_threads()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.set_num_threads(1)
    for _ in range(2):  # the first one allocates
        started = time.process_time()
        with autocast("cpu", e.precision):
            scores = network(images)
        scores.float().square().mean().backward()
        step = time.process_time() - started
    torch.set_num_threads(threads)
    return e.schedule.epochs * (45_000 + 15_000 / 3) * step / len(images)


def resume(training: Training, run: Run) -> dict[str, Any] | None:
    """Goes on from the checkpoint of the run; what it holds, or None where there is none. Raises CheckpointError, also
    for one that is whole but fits no training of this config."""
    saved, passed_over = checkpoint.read(run.folder, run.id)
    if passed_over:
        log.warning(f"{passed_over}; resumes from the checkpoint before it")
    if saved is None:
        return None
    try:
        training.load(saved["tensors"], _progress(saved["progress"]))
    except CheckpointError as error:
        reason = f"{error}".partition("\n")[0]
        raise CheckpointError(
            f"the checkpoint in {run.folder} does not fit this run, perhaps after a change of code ({reason}); "
            "delete it to start over"
        ) from None
    log.info(f"{run.id}: resumes at epoch {training.progress.epoch + 1}, step {training.progress.step}")
    return saved


def _progress(values: dict[str, Any]) -> Progress:
    """What a checkpoint has of a training's progress. Raises CheckpointError where its names are others."""
    from noisygce.training.fit import Progress

    try:
        return Progress(**values)
    except TypeError as error:
        raise CheckpointError(str(error)) from None
