"""Training from Python: the same config, checks, IDs, locks and resume as ``noisygce.train``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from noisygce import settings, train
from noisygce.api import leaves
from noisygce.api.isolation import isolated
from noisygce.api.overrides import overrides_of
from noisygce.api.returned import TrainedRun, TrainedRuns
from noisygce.runs import Run
from noisygce.settings import guard
from noisygce.sweep import launch
from noisygce.sweep.jobs import Job

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from omegaconf import DictConfig


def run(*overrides: str, **values: Any) -> TrainedRun:
    """Trains a run, resumes it, or returns it at once if it is finished.

        noisygce.run(data="digits", loss="gce", noise="pair", rate=0.4)
        noisygce.run("data=digits", "loss.q=0.5", seed=1, **{"schedule.epochs": 10})

    overrides: as on the command line of noisygce.train, ``--config-dir`` included. values: typed; a list is one value.
    An object, or a class, of one's own may stand in the place of a choice: ``loss=MyLoss(e=1.0)``; its class must be in
    a .py file, since the run's id holds the digest of its code.

    Ctrl-C saves a checkpoint and raises KeyboardInterrupt; the same call then resumes. Raises NoisygceError, with the
    line that the command would print, or OSError.
    """
    with isolated(), leaves.chosen(values) as plain:
        train.refuse_torchrun()
        trained: list[Run] = []
        train.train_config(
            _composed(overrides_of(overrides, plain, swept=False)), say=lambda run, *_: trained.append(run)
        )
        return TrainedRun(trained[-1].folder)


def grid(*overrides: str, **values: Any) -> TrainedRuns:
    """Trains a run for each combination of values, seed by seed; those that are finished are not trained again.

        noisygce.grid(data="digits", loss=["ce", "gce"], seed=range(5))
        noisygce.grid("experiment=demo", seed=[0, 1])

    overrides, values: as in ``run``; a list, a range or an array has the values to train with. Where some runs fail,
    noisygce trains the others; then raises SweepFailed, whose notes have the line of each.
    """
    from hydra.core.utils import JobReturn, JobStatus
    from tqdm import tqdm

    notes: list[str] = []
    with isolated(quiet=True), leaves.chosen(values) as plain:
        train.refuse_torchrun()
        asked = overrides_of(overrides, plain, swept=True)
        aside = [word for word in asked if word.startswith("hydra.")]
        progress = [] if any(word.startswith("runtime.progress=") for word in asked) else ["runtime.progress=false"]

        def one(job: Job) -> JobReturn:
            cfg = _composed([*aside, *job, *progress])
            try:
                value = train.run_one_of_many(cfg, say=lambda *_: None)
                return JobReturn(overrides=job, cfg=cfg, status=JobStatus.COMPLETED, _return_value=value)
            except Exception as error:
                return JobReturn(overrides=job, cfg=cfg, status=JobStatus.FAILED, _return_value=error)

        def each(_plan: object, jobs: Sequence[Job]) -> list[JobReturn]:
            return [one(job) for job in tqdm(jobs, desc="runs", unit="run", file=sys.stderr)]

        try:
            plan, _ = launch.plan_and_train(asked, each, notes.append)
        except Exception as error:
            for note in notes[1:]:
                error.add_note(note.strip())
            raise
        return TrainedRuns(plan)


def _composed(overrides: list[str]) -> DictConfig:
    """The config of a run, as Hydra hands it to the command."""
    from omegaconf import open_dict

    cfg = settings.compose(overrides, with_hydra=True)
    guard.refuse(cfg.hydra, overrides)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg
