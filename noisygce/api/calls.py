"""Training from Python: the same config, checks, IDs, locks and resume as ``noisygce.train``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisygce import settings, train
from noisygce.api import leaves
from noisygce.api.isolation import isolated
from noisygce.api.overrides import overrides_of
from noisygce.api.returned import TrainedRun, TrainedRuns
from noisygce.errors import ConfigError, Locked, counted
from noisygce.runs import Run
from noisygce.settings import guard
from noisygce.settings.compose import of_each_run, sweeps
from noisygce.sweep import launch
from noisygce.sweep.jobs import Job, outcome
from noisygce.sweep.plan import look

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig


def run(*overrides: str, **values: Any) -> TrainedRun:
    """Trains a run, resumes it, or returns it at once if it is finished.

        noisygce.run(data="digits", loss="gce", noise="pair", rate=0.4)
        noisygce.run("data=digits", "loss.q=0.5", seed=1, **{"schedule.epochs": 10})

    overrides: arguments of the command line, ``--config-dir`` included. values: Python values of keys; a list is one
    value. An object or a class of your own can replace a choice: ``loss=MyLoss(e=1.0)``. Its class must be in a .py
    file, because the run ID contains the digest of its code.

    Ctrl-C saves a checkpoint and raises KeyboardInterrupt; the same call then resumes. Raises NoisygceError, with the
    line that the command would print, or OSError.
    """
    with isolated(), leaves.chosen(values) as plain:
        train.refuse_torchrun()
        trained: list[Run] = []
        asked = overrides_of(overrides, plain, swept=False)
        _refuse_ignored(asked)
        cfg = _composed(asked)
        if cfg.get("grid"):
            raise ConfigError(
                "noisygce.run trains one run, and this experiment has a grid: noisygce.grid trains the grid, and "
                "grid=None leaves it out"
            )
        train.train_config(cfg, say=lambda run, *_: trained.append(run))
        return TrainedRun(trained[-1].folder)


def grid(*overrides: str, **values: Any) -> TrainedRuns:
    """Trains a run for each combination of values, seed by seed. Finished runs are not trained again.

        noisygce.grid(data="digits", loss=["ce", "gce"], seed=range(5))
        noisygce.grid("experiment=demo", seed=[0, 1])

    overrides, values: as in ``run``; grid trains with each value of a list, a range or an array. If runs fail, grid
    trains all other runs and then raises SweepFailed, whose notes name each failure.
    """
    from tqdm import tqdm

    notes: list[str] = []
    with isolated(quiet=True), leaves.chosen(values) as plain:
        train.refuse_torchrun()
        asked = overrides_of(overrides, plain, swept=True)
        _refuse_ignored(asked)
        followed = any(word.lstrip("+").startswith("logger") for word in asked) or _follows(asked)
        aside = [word for word in asked if word.startswith("hydra.")]
        progress = [] if any(word.startswith("runtime.progress=") for word in asked) else ["runtime.progress=false"]

        def one(job: Job) -> JobReturn:
            quiet = functools.partial(train.run_one_of_many, say=lambda *_: None)
            return outcome(quiet, _composed([*aside, *job, *progress]), job)

        def each(_plan: object, jobs: Sequence[Job]) -> list[JobReturn]:
            return [one(job) for job in tqdm(jobs, desc="runs", unit="run", file=sys.stderr)]

        try:
            plan, _ = launch.plan_and_train(asked, each, notes.append, followed)
        except Exception as error:
            for note in notes[1:]:
                error.add_note(note.strip())
            raise
        if held := [run for run in look(plan) if run.state == "running"]:
            who = held[0].owner
            raise Locked(
                f"another process trains {counted(len(held), 'run')} of these {len(plan.runs)}, {held[0].id} first "
                f"(process {who.get('pid', '?')} on {who.get('host', '?')}); the others are done: the same call gives "
                "all of them once these are"
            )
        given = {key: [*v] if isinstance(v, tuple) else v for key, v in values.items() if key in leaves.BASES}
        of_objects = any(plain[key] != value for key, value in given.items())
        return TrainedRuns(plan, _call(overrides, values) if of_objects else "")


def _call(overrides: Sequence[str], values: Mapping[str, Any]) -> str:
    """A call of ``grid`` as its text."""
    names = [f"{key}={value!r}" for key, value in values.items() if key.isidentifier()]
    others = {key: value for key, value in values.items() if not key.isidentifier()}
    return f"noisygce.grid({', '.join([*map(repr, overrides), *names, *([f'**{others!r}'] if others else [])])})"


def _follows(words: Sequence[str]) -> bool:
    """Whether a config file of a person, or an experiment, chooses a logger."""
    if not any(word.startswith(("experiment=", "hydra.searchpath=")) for word in words):
        return False
    return bool(settings.compose([word for word in of_each_run(words) if not sweeps(word)]).get("logger"))


# What only the command line can do, each with the value that asks for nothing.
_COMMAND_LINE = {
    "hydra/sweeper": "noisygce",
    "hydra/launcher": "basic",
    "runtime.trial_seeds": "null",
    "runtime.share": "null",
    "runtime.concurrent": "1",
}


def _refuse_ignored(words: Sequence[str]) -> None:
    """Raises ConfigError for what only the command line can do: from Python one run is trained after another, in this
    process."""
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if value != _COMMAND_LINE.get(key, value):
            raise ConfigError(
                f"{word}: from Python one run is trained after another, here; use python -m noisygce.train -m"
            )


def _composed(overrides: list[str]) -> DictConfig:
    """The config of a run, as Hydra hands it to the command."""
    from omegaconf import open_dict

    cfg = settings.compose(overrides, with_hydra=True)
    guard.refuse(cfg.hydra, overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg
