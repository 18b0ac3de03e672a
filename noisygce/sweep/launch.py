"""Launching a plan: the runs that are not finished, each kind checked before the first one starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from noisygce import results
from noisygce.runs import loggers
from noisygce.settings import guard, resolvers
from noisygce.sweep.jobs import Job, check_all, kinds, launch_all
from noisygce.sweep.plan import Plan, plan_of

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn


def plan_and_train(
    arguments: Sequence[str],
    compose: Callable[[Job], DictConfig],
    launch: Callable[[Sequence[Job]], Sequence[JobReturn]],
    say: Callable[[str], object] = lambda line: print(line, file=sys.stderr),
    followed: bool = False,
) -> tuple[Plan, list[JobReturn]]:
    """The plan of a sweep, and how the runs have ended that were not finished before.

    compose: the config of a job, Hydra's own values in it. launch: trains jobs. say: what is said at the end.
    followed: finished runs are launched too, since their loggers may lack them. Raises ConfigError before any run is
    started, SweepFailed where some have failed.
    """
    looked_at: list[bool] = []

    def look_at(cfg: DictConfig) -> None:
        guard.refuse(cfg.hydra)
        loggers.read(cfg)
        looked_at.append(True)

    def checked(job: Job) -> DictConfig:
        cfg = compose(job)
        resolvers.refuse_others(cfg)
        guard.refuse(cfg.hydra)
        return cfg

    plan = plan_of(arguments, look_at)
    runs = plan.results / "runs"
    done = [not followed and results.of_folder(runs / run.id).state == "done" for run in plan.runs]
    jobs = [[*run.job] for run, is_done in zip(plan.runs, done, strict=True) if not is_done]
    if not looked_at:  # a stored plan is not trusted: what it left out is looked at before any run starts
        check_all(checked, kinds(jobs))
    return plan, launch_all(launch, jobs, sum(done), say)
