"""``python -m noisygce.train``: from a command line to the manifest of a run. Exit codes: noisygce/errors.py."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from noisygce import check, settings
from noisygce.errors import CheckpointError, ConfigError, NonFinite, Stopped
from noisygce.runs import Run, checkpoint, identity, kept, messages, watch
from noisygce.runs.manifest import commit, manifest_of
from noisygce.settings import Experiment, command, guard, hints
from noisygce.training import device

if TYPE_CHECKING:
    from noisygce.training.fit import Training

log = logging.getLogger("noisygce")


def main() -> None:
    """Runs the command line; exits with the code of its outcome."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what went wrong instead of printing a stack trace
    # Hydra wants its options before or after all settings; here -m and --config-dir may stand between them too.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: "=" in word and not word.startswith("-"))
    prepare_process()
    with exits():
        if mistake := hints.mistake(sys.argv[1:]) or hints.options(sys.argv[1:]):
            raise ConfigError(mistake)
        with guard.guarded():
            hydra.main(config_path=str(settings.config_dir()), config_name="train", version_base="1.3")(_task)()


def prepare_process() -> None:
    """Sets up what a process that trains needs: messages on standard error, and signals that save and stop."""
    messages.to_console()
    watch.listen()


def exits() -> AbstractContextManager[None]:
    """``command.exits``, saying how to go on."""
    return command.exits(
        on_interrupt=f"stopped at once; {messages.GO_ON} from the last checkpoint",
        on_os_error=f"; what was saved is whole: {messages.GO_ON} once this is mended",
    )


def _task(cfg: DictConfig) -> float:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if HydraConfig.get().mode == RunMode.MULTIRUN:  # an error is one of many, and Hydra hands it to the sweep
        return run_one_of_many(cfg)
    with exits():  # here, because Hydra would print a line of its own above ours
        return train(settings.read(cfg), identity(settings.resolved(cfg)))


def run_one_of_many(cfg: DictConfig) -> float:
    """Trains the run of a composed config, one of a sweep's, or returns at once if it is finished."""
    try:
        return train(settings.read(cfg), identity(settings.resolved(cfg)), say_finished=False)
    except Exception as error:
        if not command.expected(error):  # the sweep will only name it
            log.error("", exc_info=True)
        link: BaseException | None = error
        while link is not None:  # a trace holds the training that failed, and with it its memory
            link.__traceback__, link = None, link.__cause__ or link.__context__
        raise


def train(experiment: Experiment, shaping: dict[str, Any], say_finished: bool = True) -> float:
    """Trains a run, goes on with it, or returns at once if it is finished: test accuracy under the ``val`` rule.

    shaping: what its id is made from. say_finished: print the result of a run that was finished before, too. Raises
    NoisygceError, Stopped or OSError.
    """
    run = Run(experiment.paths.results, shaping)
    if reason := watch.reason_to_stop(experiment.runtime):
        raise Stopped(f"stopped ({reason}); {messages.GO_ON}")
    manifest = run.manifest()
    before = ", finished before" if manifest else ""
    if manifest is None:
        run.refuse_if_failed()
        experiment.data.require(experiment.paths.data)
        _learn_from_source(experiment, shaping)
        if reason := watch.reason_not_to_start(experiment.runtime):
            raise Stopped(f"not started ({reason}); {messages.GO_ON}")
        if threading.current_thread() is not threading.main_thread():
            threading.current_thread().name = run.id  # for the log
        with run.claim(), watch.timed():
            manifest = run.manifest() or _train(experiment, run)
    if say_finished or not before:
        print(f"{messages.result(run.folder, manifest)}{before}", flush=True)
    return float(manifest["results"]["val"])


def _learn_from_source(experiment: Experiment, shaping: dict[str, Any]) -> None:
    """Finds, trains or continues the run that the loss starts from, and hands the loss what it has estimated."""
    loss = experiment.loss
    if loss.source is None:
        return
    theirs = {**shaping, "loss": shaping["loss"]["source"]}
    train(dataclasses.replace(experiment, loss=loss.source), theirs)
    source = Run(experiment.paths.results, theirs)
    loss.adopt(source.id, source.transition_hat())


def _train(experiment: Experiment, run: Run) -> dict[str, Any]:
    """Trains a claimed run to its end and returns its manifest."""
    at = device.prepare(experiment.runtime.device, experiment.runtime.threads)
    try:
        with device.stream(at), messages.to_file(run.folder / "train.log"):
            return _train_on(at, experiment, run)
    except NonFinite as error:
        run.fail(str(error))
        raise
    finally:
        if at != "cpu":
            from noisygce.training import cuda_graph

            cuda_graph.release()


def _train_on(at: str, e: Experiment, run: Run) -> dict[str, Any]:
    from noisygce.losses.forward import ANCHORS
    from noisygce.training.fit import fit, transition_hat

    training = training_of(e, at)
    saved = _go_on(training, run)
    if saved is None:
        log.info(f"{run.id}: {len(training.train):,} images on {at}")
        if at == "cpu":
            messages.how_long(training)
        if e.loss.prunes and not any(e.pruning.due(epoch) for epoch in range(1, e.schedule.epochs)):
            log.warning(f"this run ends before its first pruning (prune.start={e.pruning.start}): nothing is pruned")
    run.write_metrics(training.progress.rows)
    before: dict[str, Any] = saved or {"seconds": 0.0, "made": []}
    made = {**device.describe(at), **commit()}
    with watch.Watch(run, training, e.runtime, before["seconds"], [*before["made"], made]) as watcher:
        for row in fit(training, watcher, watcher.stop_if_asked):
            run.write_metrics(training.progress.rows)
            watcher.epoch(row)
            if training.progress.prunings and training.progress.prunings[-1]["after_epoch"] == row["epoch"]:
                messages.pruning(training.progress.prunings[-1])
        estimated: dict[str, Any] = {}
        if e.loss.estimates_transition:
            hat = {name: transition_hat(training, q, watcher.stop_if_asked) for name, q in ANCHORS.items()}
            estimated = {"transition_hat_sha256": run.write_transition_hat(hat)}
        files = kept.write(run, training, e.runtime, watcher.stop_if_asked)
        manifest = {**manifest_of(e, run, training, watcher), **estimated, **files}
        run.finish(manifest)
    return manifest


def training_of(e: Experiment, at: str) -> Training:
    """The training of an experiment on a prepared device, at its beginning. Raises ConfigError or DataError."""
    from noisygce.training.fit import Training
    from noisygce.training.task import prepare

    graph = device.graphs(at, e.runtime.graph)
    device.require(at, e.precision, e.compile)
    try:
        task = prepare(e.data, e.noise, e.seed, e.paths.data)
    except check.Invalid as error:  # what only the data set's classes show
        raise ConfigError(str(check.Invalid(f"noise.{error.key}", error.value, error.allowed))) from None
    shape = task.arrays.train_images.shape[1:]
    network = e.model.build(shape, len(task.arrays.classes), e.seed)
    return Training(
        task, e.data, network, e.loss, e.schedule, e.pruning, e.seed, e.precision, at, compile=e.compile, graph=graph
    )


def _go_on(training: Training, run: Run) -> dict[str, Any] | None:
    """Goes on from the checkpoint of the run; what it holds, or None where there is none. Raises CheckpointError, also
    for one that is whole but fits no training of this config."""
    from noisygce.training.fit import Progress

    saved, passed_over = checkpoint.read(run.folder, run.id)
    if passed_over:
        log.warning(f"{passed_over}; going on from the checkpoint before it")
    if saved is None:
        return None
    try:
        training.load(saved["tensors"], Progress(**saved["progress"]))
    except (CheckpointError, TypeError) as error:  # TypeError: progress of other names
        reason = f"{error}".partition("\n")[0]
        raise CheckpointError(
            f"the checkpoint in {run.folder} does not fit this run, as after a change of code ({reason}); "
            "delete it to start afresh"
        ) from None
    log.info(f"{run.id}: going on at epoch {training.progress.epoch + 1}, step {training.progress.step}")
    return saved


if __name__ == "__main__":
    main()
