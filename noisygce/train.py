"""``python -m noisygce.train``: the course of a run, the same from the command line and from Python (noisygce.run):
compose, plan, claim, fit, finish. Exit codes: errors.py."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from noisygce import check, results, settings
from noisygce.data import Folder
from noisygce.errors import (
    ConfigError,
    DataError,
    Locked,
    ManifestError,
    NonFinite,
    Stopped,
    UserCodeError,
    defined,
    first_line,
    user_code_error,
)
from noisygce.losses import CE, Loss
from noisygce.runs import Run, archive, artifacts, changed, identity, loaded, loggers, messages, noisy_validation
from noisygce.runs.begin import resume, training_of
from noisygce.runs.ids import with_loss
from noisygce.runs.manifest import commit, manifest_of
from noisygce.runs.stops import process
from noisygce.runs.watch import RunMonitor
from noisygce.settings import Experiment, arguments, command, guard, resolvers
from noisygce.settings.compose import of_each_run
from noisygce.sweep import tuning, worker
from noisygce.training import device, hardware

log = logging.getLogger("noisygce")
_CE = {"_target_": "noisygce.losses.CE", "name": "ce"}  # the source of a loss whose leaf names none
Manifest = dict[str, Any]
Say = Callable[[Run, Manifest, bool], object]


def main() -> None:
    """Runs the command line; exits with the code of its outcome."""
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what went wrong instead of printing a stack trace
    with exits():
        prepare_process()
        sys.argv[1:] = _for_hydra(sys.argv[1:])
        with tuning.whole(), arguments.any_help():
            compose = hydra.main(config_path=str(settings.config_dir()), config_name="train", version_base="1.3")
            compose(_task)()


def train_config(cfg: DictConfig, alone: bool = True, say: Say | None = None) -> float:
    """Plans the run of a composed config, and trains it (``train``)."""
    experiment, run_config = settings.read(cfg), identity(settings.resolved(cfg))
    loaded.refuse_changed(run_config)
    return train(experiment, run_config, loggers.read(cfg), alone, say or announce)


def train(
    experiment: Experiment,
    run_config: Mapping[str, Any],
    followers: loggers.Loggers | None = None,
    alone: bool = True,
    say: Say | None = None,
) -> float:
    """Trains a run, resumes it, or returns at once if it is finished: its best accuracy on noisy validation.

    A search for hyper-parameters may look at no other number. NaN where nothing was held out.

    run_config: what its id is made from. alone: it is not one of a sweep, which is silent about runs that were finished
    before. say: called with the run, its manifest, and whether it was finished before. Raises NoisygceError, Stopped or
    OSError.
    """
    run, followers, say = Run(experiment.paths.results, run_config), followers or loggers.Loggers({}), say or announce
    if reason := process.reason_to_stop(experiment.runtime):
        raise Stopped(f"stopped ({reason}); {messages.HOW_TO_RESUME}")
    if finished := run.manifest():
        run.drop_left_over()
    manifest = finished or _claim(experiment, run, followers, alone, say)
    if finished and followers.active:
        with contextlib.suppress(Locked), run.locked():  # another worker may be sending it
            rows = results.of_folder(run.folder).epochs()
            with followers.following(run.id, run.identity, run.folder, rows, manifest["pruning"]):
                followers.done(manifest)
    if alone or not finished:
        say(run, manifest, finished is not None)
    best = (manifest.get("noisy_validation") or noisy_validation(results.of_folder(run.folder).rows()))["best"]
    return math.nan if best is None else float(best)


def _claim(e: Experiment, run: Run, followers: loggers.Loggers, alone: bool, say: Say) -> Manifest:
    """Trains a run that is not finished, while holding its lock, once its data and the run that its loss starts from
    are there."""
    commit()  # kept from here on: data may be fetched for hours, and another commit be checked out meanwhile
    run.refuse_if_failed()
    if e.loss.source is not None:
        _refuse_source(e.loss, run.identity["loss"])
    e.data.require(e.paths.data)
    if e.loss.source is not None:
        its_identity = with_loss(run.identity, run.identity["loss"].get("source", _CE))
        train(dataclasses.replace(e, loss=e.loss.source), its_identity, say=say)
        source = Run(e.paths.results, its_identity)
        try:
            e.loss.load_source_estimates(source.id, source.estimates())
        except KeyError as error:
            raise ManifestError(
                f"{source.folder} has no estimate {error}, as runs of older code; delete it to train that run again"
            ) from None
    if reason := process.reason_not_to_start(e.runtime):
        raise Stopped(f"not started ({reason}); {messages.HOW_TO_RESUME}")
    with run.claim(), process.run():
        return run.manifest() or _prepare(e, run, followers, alone)


def _refuse_source(loss: Loss, leaf: Mapping[str, Any]) -> None:
    """Raises UserCodeError for a source that the id of its own run would not hold, or that estimates no T."""
    source: Any = loss.source
    kind = getattr(source, "made_of", type(source))
    if not source.estimates_transition:
        raise UserCodeError(
            f"{defined(type(loss))}: its source is {source}, which has no p that estimates P(given label | image), as "
            "that of CE() does"
        )
    if "source" not in leaf and (kind is not CE or source.values() != CE.from_config().values()):
        raise UserCodeError(
            f"{defined(type(loss))}: its source is {source}, and a run's id holds no source but CE() where the loss "
            "has no parameter source; give it one"
        )


def _prepare(e: Experiment, run: Run, followers: loggers.Loggers, alone: bool) -> Manifest:
    """Fits a claimed run on its device, and leaves word in its folder of what ended it where that fails."""
    try:
        with (
            device.prepared(e.runtime.device, e.threads) as place,
            messages.to_file(run.folder / "train.log"),
            messages.trace(),
        ):
            return _fit(place, e, run, followers, alone)
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
            run.crash(str(told or first_line(error)))
        if told:
            raise UserCodeError(f"{told}; {run.folder / 'train.log'} has its whole trace") from error
        raise


def _fit(place: str, e: Experiment, run: Run, followers: loggers.Loggers, alone: bool) -> Manifest:
    """The epochs of a run, from its checkpoint on where there is one, and its manifest."""
    from noisygce.training.fit import fit

    if reason := process.reason_to_stop(e.runtime):  # of a signal whose exception an import has swallowed
        raise Stopped(f"stopped ({reason}); {messages.HOW_TO_RESUME}")
    training = training_of(e, place)
    if other := changed(run.identity, e.data, e.paths.data, e.model, e.noise):
        raise DataError(f"{other} has changed since the run's id was made from it; run the same command again")
    saved = resume(training, run)
    if saved is None:
        messages.begin(run, training, place)
        if place == "cpu" and not alone:
            messages.workers()
    rows, prunings = training.progress.rows, training.progress.prunings
    run.write_metrics(rows)
    with (
        followers.following(run.id, run.identity, run.folder, rows, prunings),
        RunMonitor(
            run, training, e.runtime, saved, hardware.describe(place, training.fused, isinstance(e.data, Folder))
        ) as watch,
    ):
        for row in fit(training, watch.after_step, watch.stop_if_asked):
            watch.after_epoch(row)
            followers.epoch(row)
        manifest = _finish(e, run, training, watch)
        followers.done(manifest)
    return manifest


def _finish(e: Experiment, run: Run, training: Any, watch: RunMonitor) -> Manifest:
    """Writes what a run that has come to its last epoch keeps; its manifest last, which makes it a finished one."""
    from noisygce.training.predictions import estimate

    estimated: dict[str, Any] = {}
    if e.split.holds_out:
        estimated["estimated"], hat = estimate(training, watch.stop_if_asked)
        if hat:
            estimated["transition_hat_sha256"] = run.write_transition_hat(hat)
    files = artifacts.write(run, training, e.runtime, watch.stop_if_asked)
    written = {"metrics_sha256": archive.digest(archive.read_rows(run.folder / archive.METRICS))}
    manifest = {**manifest_of(e, run.identity, training), **written, **watch.record(), **estimated, **files}
    run.finish(manifest)
    return manifest


def announce(run: Run, manifest: Manifest, finished_before: bool, called: object = None) -> None:
    """Prints the result of a run. called: what it is printed under, else the run's folder."""
    with contextlib.suppress(BrokenPipeError):  # training is done, whether or not someone reads this
        line = messages.result(called or run.folder, manifest)
        print(f"{line}{' (finished before)' if finished_before else ''}", flush=True)


def _for_hydra(given: Sequence[str]) -> list[str]:
    """The words of a command line as Hydra wants them, and those that a search needs beside them."""
    asked = arguments.ordered(arguments.words(given))
    if {"-sc", "--shell-completion"} & {*asked}:  # what is completed is no config yet
        return asked
    if {"-m", "--multirun"} & {*asked}:
        asked = of_each_run(asked)
    return [*asked, *tuning.overrides(guard.checked(asked), asked)]


def prepare_process() -> None:
    """Sets up what a process that trains needs: messages on standard error, and signals that save and stop.

    May be called again. Raises ConfigError in one of several processes that are meant to train one run.
    """
    resolvers.register()
    messages.to_console()
    process.listen()
    refuse_torchrun()


def refuse_torchrun() -> None:
    """Raises ConfigError in one of several processes that are meant to train one run."""
    if (world := os.environ.get("WORLD_SIZE", "1")).isdecimal() and int(world) > 1:
        raise ConfigError(
            f"WORLD_SIZE={world}: a run uses one GPU; start a sweep (-m) without torchrun, once for each GPU: the "
            "processes share its runs (scripts/workers)"
        )


@contextlib.contextmanager
def exits() -> Iterator[None]:
    """``command.exits``, saying how to resume; a signal is then passed to the handler that was installed before."""
    on_interrupt = f"stopped at once; {messages.HOW_TO_RESUME} from the last checkpoint"
    on_os_error = f"; what was saved is whole: {messages.HOW_TO_RESUME} once this is repaired"
    with command.exits(on_interrupt, on_os_error), process.handing_on():
        yield


def _task(cfg: DictConfig) -> float:
    """A run that Hydra has composed: alone, or one of a sweep, which its error is handed to."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    process.launched |= not process.listens  # main would listen
    prepare_process()
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        if tuning.searches(hydra):
            with process.handing_on():  # in a process of a launcher nothing else is around it
                return tuning.trial(run_one_of_many, cfg)
        with worker.launched(hydra.runtime.cwd):
            return run_one_of_many(cfg)
    with exits():  # here, because Hydra would print a line of its own above ours
        return train_config(cfg)


def run_one_of_many(cfg: DictConfig, say: Say | None = None) -> float:
    """Trains the run of a composed config, one of a sweep's, or returns at once if it is finished."""
    try:
        return train_config(cfg, alone=False, say=say)
    except Exception as error:
        if not command.expected(error):  # the sweep will only name it
            log.error("", exc_info=True)
        link: BaseException | None = error
        while link is not None:  # a trace holds the training that failed, and with it its memory
            link.__traceback__, link = None, link.__cause__ or link.__context__
        if "torch" in sys.modules:  # a training is a circle of objects: the next run would start beside it
            from noisygce.training import cuda_graph

            cuda_graph.release()
        raise


if __name__ == "__main__":
    from noisygce import train as importable  # launchers send the task by name, which __main__ has only here

    importable.main()
