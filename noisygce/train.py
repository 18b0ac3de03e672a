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

from noisygce import check, checkpoint, command, config, device, explain, guard, runs, watch
from noisygce.config import Experiment
from noisygce.errors import CheckpointError, ConfigError, NonFinite, Stopped
from noisygce.manifest import commit, manifest_of
from noisygce.runs import Run
from noisygce.spoken import duration

if TYPE_CHECKING:
    from noisygce.fit import Training

log = logging.getLogger("noisygce")


def main() -> None:
    """Runs the command line; exits with the code of its outcome."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what went wrong instead of printing a stack trace
    # Hydra wants its options before or after all settings; here -m and --config-dir may stand between them too.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: "=" in word and not word.startswith("-"))
    prepare_process()
    with exits():
        if mistake := explain.mistake(sys.argv[1:]) or explain.options(sys.argv[1:]):
            raise ConfigError(mistake)
        with guard.guarded():
            hydra.main(config_path=str(config.config_dir()), config_name="train", version_base="1.3")(_task)()


def prepare_process() -> None:
    """Sets up what a process that trains needs: messages on standard error, and signals that save and stop."""
    logging.raiseExceptions = False  # a full disk is said once, in one line, not by train.log too
    console = logging.StreamHandler()
    console.setLevel(logging.INFO)
    console.setFormatter(_Named())
    log.addHandler(console)
    log.setLevel(logging.DEBUG)
    watch.listen()


class _Named(logging.Formatter):
    """Runs side by side say which they are: each is a thread that has the run's id as its name."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        beside = threading.current_thread() is not threading.main_thread()
        return f"{record.threadName}: {line}" if beside and not line.startswith(str(record.threadName)) else line


def exits() -> AbstractContextManager[None]:
    """``command.exits``, saying how to go on."""
    return command.exits(
        on_interrupt=f"stopped at once; {watch.GO_ON} from the last checkpoint",
        on_os_error=f"; what was saved is whole: {watch.GO_ON} once this is mended",
    )


def run_one_of_many(cfg: DictConfig) -> float:
    """Trains the run of a composed config, one of a sweep's, or returns at once if it is finished."""
    try:
        return train(config.read(cfg), runs.identity(config.resolved(cfg)), say_finished=False)
    except Exception as error:
        if not command.expected(error):  # the sweep will only name it
            log.error("", exc_info=True)
        link: BaseException | None = error
        while link is not None:  # a trace holds the training that failed, and with it its memory
            link.__traceback__, link = None, link.__cause__ or link.__context__
        raise


def at_once(cfg: DictConfig) -> int:
    """How many runs of a sweep to train at a time: ``runtime.concurrent`` on a GPU, and one on a CPU, which says so."""
    wanted = check.whole("runtime.concurrent", cfg.runtime.concurrent, "[1, 64]")
    if wanted == 1:
        return 1
    if not str(cfg.hydra.launcher._target_).endswith(".BasicLauncher"):
        raise ConfigError(
            f"runtime.concurrent={wanted}: side by side runs are threads of one process, and hydra/launcher starts "
            "others; leave one of the two out"
        )
    if device.prepare(cfg.runtime.device, cfg.runtime.threads).startswith("cuda"):
        return wanted
    log.info(f"runtime.concurrent={wanted}: one run fills a CPU, so they go one after another here")
    return 1


def _task(cfg: DictConfig) -> float:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if HydraConfig.get().mode == RunMode.MULTIRUN:  # an error is one of many, and Hydra hands it to the sweep
        return run_one_of_many(cfg)
    with exits():  # here, because Hydra would print a line of its own above ours
        return train(config.read(cfg), runs.identity(config.resolved(cfg)))


def train(experiment: Experiment, shaping: dict[str, Any], say_finished: bool = True) -> float:
    """Trains a run, goes on with it, or returns at once if it is finished: test accuracy under the ``val`` rule.

    shaping: what its id is made from. say_finished: print the result of a run that was finished before, too. Raises
    NoisygceError, Stopped or OSError.
    """
    run = Run(experiment.paths.results, shaping)
    if reason := watch.reason_to_stop(experiment.runtime):
        raise Stopped(f"stopped ({reason}); {watch.GO_ON}")
    manifest = run.manifest()
    before = ", finished before" if manifest else ""
    if manifest is None:
        run.refuse_if_failed()
        experiment.data.require(experiment.paths.data)
        _learn_from_source(experiment, shaping)
        if reason := watch.reason_not_to_start(experiment.runtime):
            raise Stopped(f"not started ({reason}); {watch.GO_ON}")
        if threading.current_thread() is not threading.main_thread():
            threading.current_thread().name = run.id  # for the log
        with run.claim(), watch.timed():
            manifest = run.manifest() or _train(experiment, run)
    percent = {rule: f"{rule} {100 * manifest['results'][rule]:.2f}" for rule in runs.RULES}
    rules, oracles = ([percent[r] for r in runs.RULES if (r in runs.ORACLES) == oracle] for oracle in (False, True))
    line = f"{run.folder}: test accuracy in %: {', '.join(rules)}; oracles: {', '.join(oracles)}{before}"
    if say_finished or not before:
        print(line, flush=True)
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
        with device.stream(at):
            return _train_on(at, experiment, run)
    finally:
        if at != "cpu":
            from noisygce import capture

            capture.release()


def training_of(e: Experiment, at: str) -> Training:
    """The training of an experiment on a prepared device, at its beginning. Raises ConfigError or DataError."""
    from noisygce.fit import Training
    from noisygce.task import prepare

    graph = device.graphs(at, e.runtime.graph)
    if e.compile:
        device.require_compiler()
    try:
        task = prepare(e.data, e.noise, e.seed, e.paths.data)
    except check.Invalid as error:  # what only the data set's classes show
        raise ConfigError(str(check.Invalid(f"noise.{error.key}", error.value, error.allowed))) from None
    shape = task.arrays.train_images.shape[1:]
    network = e.model.build(shape, len(task.arrays.classes), e.seed)
    return Training(
        task, e.data, network, e.loss, e.schedule, e.pruning, e.seed, e.precision, at, compile=e.compile, graph=graph
    )


def _train_on(at: str, experiment: Experiment, run: Run) -> dict[str, Any]:
    from noisygce.fit import fit, transition_hat
    from noisygce.losses.corrected import ANCHORS

    e, training = experiment, training_of(experiment, at)
    handler = logging.FileHandler(run.folder / "train.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    thread = threading.get_ident()
    handler.addFilter(lambda record: record.thread == thread)  # not what runs side by side have to say
    log.addHandler(handler)
    try:
        saved, passed_over = checkpoint.read(run.folder, run.id)
        if passed_over:
            log.warning(f"{passed_over}; going on from the checkpoint before it")
        if saved:
            _load(training, saved, run)
            log.info(f"{run.id}: going on at epoch {training.progress.epoch + 1}, step {training.progress.step}")
        else:
            log.info(f"{run.id}: {len(training.train):,} images on {at}")
            if at == "cpu":
                _say_how_long(training)
            if e.loss.prunes and not any(e.pruning.due(epoch) for epoch in range(1, e.schedule.epochs)):
                log.warning(
                    f"this run ends before its first pruning (prune.start={e.pruning.start}): nothing is pruned"
                )
        run.write_metrics(training.progress.rows)
        before: dict[str, Any] = saved or {"seconds": 0.0, "made": []}
        made = {**device.describe(at), **commit()}
        with watch.Watch(run, training, e.runtime, before["seconds"], [*before["made"], made]) as watcher:
            for row in fit(training, watcher):
                run.write_metrics(training.progress.rows)
                watcher.epoch(row)
                if training.progress.prunings and training.progress.prunings[-1]["after_epoch"] == row["epoch"]:
                    _say_pruning(training.progress.prunings[-1])
            estimated: dict[str, Any] = {}
            if e.loss.estimates_transition:
                hat = {name: transition_hat(training, q) for name, q in ANCHORS.items()}
                estimated = {"transition_hat_sha256": run.write_transition_hat(hat)}
            manifest = {**manifest_of(experiment, run, training, watcher), **estimated}
            run.finish(manifest)
        return manifest
    except NonFinite as error:
        run.fail(str(error))
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def _load(training: Training, saved: dict[str, Any], run: Run) -> None:
    """Goes on from a checkpoint. Raises CheckpointError for one that is whole but fits no training of this config."""
    from noisygce.fit import Progress

    try:
        training.load(saved["tensors"], Progress(**saved["progress"]))
    except (CheckpointError, TypeError) as error:  # TypeError: progress of other names
        reason = f"{error}".partition("\n")[0]
        raise CheckpointError(
            f"the checkpoint in {run.folder} does not fit this run, as after a change of code ({reason}); "
            "delete it to start afresh"
        ) from None


def _say_pruning(row: dict[str, Any]) -> None:
    def percent(share: float | None) -> str:
        return "-" if share is None else f"{100 * share:.1f} %"

    log.info(
        f"pruned by the model of epoch {row['by_epoch']}: {percent(row['kept_share'])} kept, of the pruned "
        f"{percent(row['precision'])} mislabelled, of the mislabelled {percent(row['recall'])} pruned"
    )
    if row["warning"]:
        log.warning(row["warning"])


def _say_how_long(training: Training) -> None:
    """A run that takes long on this CPU says so first, and names smaller ones."""
    seconds = training.estimate()
    if training.precision == "bf16" and not device.fast_bf16_cpu():
        log.info("this processor has no bf16 arithmetic and emulates it: precision=fp32 is faster here, another run")
    if seconds > 600:
        log.info(
            f"no GPU: this run will take about {duration(seconds)} here; smaller: data.subset=2000 "
            "schedule.epochs=4 prune.start=2 for a smoke run, data=digits for a whole one in seconds"
        )


if __name__ == "__main__":
    main()
