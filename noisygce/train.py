"""``python -m noisygce.train``: the course of a run, from its config to its manifest; exit codes: errors.py."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import DictConfig

from noisygce import check, results, settings
from noisygce.errors import ConfigError, DataError, NonFinite, Stopped, UserCodeError, user_code_error
from noisygce.runs import Run, archive, identity, kept, loggers, messages, noisy_validation
from noisygce.runs.begin import resume, training_of
from noisygce.runs.manifest import manifest_of
from noisygce.runs.stops import process
from noisygce.runs.watch import RunMonitor
from noisygce.settings import Experiment, arguments, command, guard, resolvers, words
from noisygce.settings.compose import of_each_run
from noisygce.sweep import engines, tuning
from noisygce.training import device, hardware

log = logging.getLogger("noisygce")
resolvers.register()  # here too: a worker that a launcher starts imports this module, and never runs ``main``


def train(
    experiment: Experiment,
    run_config: dict[str, Any],
    say_finished: bool = True,
    followers: loggers.Loggers | None = None,
    called: Callable[[Run], object] = lambda run: run.folder,
) -> float:
    """Trains a run, goes on with it, or returns at once if it is finished: its best accuracy on noisy validation.

    A search for hyper-parameters may look at no other number. NaN where nothing was held out.

    run_config: what its id is made from. say_finished: print the result of a run that was finished before, too. called:
    what its result is printed under. Raises NoisygceError, Stopped or OSError.
    """
    run, followers = Run(experiment.paths.results, run_config), followers or loggers.Loggers({})
    if reason := process.reason_to_stop(experiment.runtime):
        raise Stopped(f"stopped ({reason}); {messages.GO_ON}")
    manifest = run.manifest()
    finished_before = manifest is not None
    if manifest is None:
        run.refuse_if_failed()
        experiment.data.require(experiment.paths.data)
        _learn_from_source(experiment, run_config, called)
        if reason := process.reason_not_to_start(experiment.runtime):
            raise Stopped(f"not started ({reason}); {messages.GO_ON}")
        with run.claim(), process.run():
            manifest = run.manifest() or _train(experiment, run, followers, alone=say_finished)
    if finished_before and followers.active:
        rows = results.of_folder(run.folder).epochs()
        with followers.following(run.id, run.identity, run.folder, rows, manifest["pruning"]):
            followers.done(manifest)
    if say_finished or not finished_before:
        with contextlib.suppress(BrokenPipeError):  # training is done, whether or not someone reads this
            line = messages.result(called(run), manifest)
            print(f"{line}{', finished before' if finished_before else ''}", flush=True)
    best = (manifest.get("noisy_validation") or noisy_validation(results.of_folder(run.folder).rows()))["best"]
    return math.nan if best is None else float(best)


def _learn_from_source(experiment: Experiment, run_config: dict[str, Any], called: Callable[[Run], object]) -> None:
    """Finds, trains or continues the run that the loss starts from, and hands the loss what it has estimated."""
    loss = experiment.loss
    if loss.source is not None:
        theirs = {**run_config, "loss": run_config["loss"]["source"]}
        train(dataclasses.replace(experiment, loss=loss.source), theirs, called=called)
        source = Run(experiment.paths.results, theirs)
        loss.load_source_estimates(source.id, source.transition_hat())


def _train(e: Experiment, run: Run, followers: loggers.Loggers, alone: bool) -> dict[str, Any]:
    """Trains a claimed run to its end and returns its manifest. alone: it is not one of a sweep."""
    place = device.prepare(e.runtime.device, e.threads)
    device.warn_if_crowded(place)
    try:
        with device.stream(place), messages.to_file(run.folder / "train.log"), messages.trace():
            return _train_on(place, e, run, followers, alone)
    except NonFinite as error:
        run.fail(str(error))
        raise
    except (ConfigError, DataError, UserCodeError, check.Invalid) as error:  # refused, in a line that says all
        if not run.forget():
            run.crash(str(error))
        raise
    except Exception as error:
        told = user_code_error(error)
        if told or not command.expected(error):
            run.crash(str(told or f"{type(error).__name__}: {error}".splitlines()[0]))
        if told:
            raise UserCodeError(f"{told}; {run.folder / 'train.log'} has its whole trace") from error
        raise
    finally:
        device.release(place)


def _train_on(place: str, e: Experiment, run: Run, followers: loggers.Loggers, alone: bool) -> dict[str, Any]:
    from noisygce.losses.forward import ANCHORS
    from noisygce.training.fit import fit, transition_hat

    training = training_of(e, place)
    saved = resume(training, run)
    if saved is None:
        messages.begin(run, training, place)
        if place == "cpu" and not alone:
            messages.workers()
    run.write_metrics(training.progress.rows)
    rows, prunings = training.progress.rows, training.progress.prunings
    with (
        followers.following(run.id, run.identity, run.folder, rows, prunings),
        RunMonitor(run, training, e.runtime, saved, hardware.describe(place, training.fused)) as watch,
    ):
        for row in fit(training, watch.after_step, watch.stop_if_asked):
            watch.after_epoch(row)
            followers.epoch(row)
        estimated: dict[str, Any] = {}
        if e.loss.estimates_transition and e.split.holds_out:
            hat = {name: transition_hat(training, q, watch.stop_if_asked) for name, q in ANCHORS.items()}
            estimated = {"transition_hat_sha256": run.write_transition_hat(hat)}
        files = kept.write(run, training, e.runtime, watch.stop_if_asked)
        written = {"metrics_sha256": archive.digest(archive.read_rows(run.folder / archive.METRICS))}
        manifest = {**manifest_of(e, run.identity, training), **written, **watch.record(), **estimated, **files}
        run.finish(manifest)
        followers.done(manifest)
    return manifest


def main() -> None:
    """Runs the command line; exits with the code of its outcome."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what went wrong instead of printing a stack trace
    with exits():
        prepare_process()
        sys.argv[1:] = words.ordered(arguments.words(sys.argv[1:]))
        if not {"-sc", "--shell-completion"} & {*sys.argv}:  # what is completed is no config yet
            if {"-m", "--multirun"} & {*sys.argv}:
                sys.argv[1:] = of_each_run(sys.argv[1:])
            sys.argv += tuning.overrides(guard.checked(sys.argv[1:]), sys.argv)
        with tuning.whole():
            hydra.main(config_path=str(settings.config_dir()), config_name="train", version_base="1.3")(_task)()


def prepare_process() -> None:
    """Sets up what a process that trains needs: messages on standard error, and signals that save and stop.

    May be called again. Raises ConfigError in one of several processes that are meant to train one run.
    """
    messages.to_console()
    process.listen()
    if (world := os.environ.get("WORLD_SIZE", "1")).isdecimal() and int(world) > 1:
        raise ConfigError(
            f"WORLD_SIZE={world}: a run uses one GPU; start a sweep (-m) without torchrun, once for each GPU: the "
            "processes share its runs (scripts/workers)"
        )


@contextlib.contextmanager
def exits() -> Iterator[None]:
    """``command.exits``, saying how to go on; a signal is then passed to the handler that was installed before."""
    on_interrupt = f"stopped at once; {messages.GO_ON} from the last checkpoint"
    on_os_error = f"; what was saved is whole: {messages.GO_ON} once this is repaired"
    with command.exits(on_interrupt, on_os_error), process.handing_on():
        yield


def _task(cfg: DictConfig) -> float:
    """A run that Hydra has composed: alone, or one of a sweep, which its error is handed to."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    process.launched |= not process.listens  # main would listen
    prepare_process()
    hydra = HydraConfig.get()
    guard.refuse(hydra)
    if hydra.mode == RunMode.MULTIRUN:
        if tuning.searches(hydra):
            with process.handing_on():  # in a process of a launcher nothing else is around it
                return tuning.trial(run_one_of_many, cfg)
        with engines.worker(hydra.runtime.cwd):
            return run_one_of_many(cfg)
    with exits():  # here, because Hydra would print a line of its own above ours
        return _of_config(cfg)


def _of_config(cfg: DictConfig, say_finished: bool = True) -> float:
    return train(settings.read(cfg), identity(settings.resolved(cfg)), say_finished, loggers.read(cfg))


def run_one_of_many(cfg: DictConfig) -> float:
    """Trains the run of a composed config, one of a sweep's, or returns at once if it is finished."""
    try:
        return _of_config(cfg, say_finished=False)
    except Exception as error:
        if not command.expected(error):  # the sweep will only name it
            log.error("", exc_info=True)
        link: BaseException | None = error
        while link is not None:  # a trace holds the training that failed, and with it its memory
            link.__traceback__, link = None, link.__cause__ or link.__context__
        raise


if __name__ == "__main__":
    from noisygce import train as importable  # launchers send the task by name, which __main__ has only here

    importable.main()
