"""``python -m noisygce.train -m ...``: Hydra's multirun over a union of grids, each run on its own.

Hydra's basic sweeper takes one product of choices, and stops at the first error that it comes to; a table is a union
of products (noise and rate go together), and one failed run must not hide the others. The runs are launched by
whichever Hydra launcher is configured.

Hydra imports this module in every Hydra program of the environment: it imports nothing but Hydra until it is used.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="noisygce",
    node={"_target_": "hydra_plugins.noisygce_sweeper.NoisygceSweeper"},
    provider="noisygce",
)


class NoisygceSweeper(Sweeper):
    def __init__(self) -> None:
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from noisygce import results, train
        from noisygce.runs import loggers
        from noisygce.settings import guard, resolvers
        from noisygce.settings.arguments import typed
        from noisygce.settings.compose import as_typed
        from noisygce.sweep.engines import Engine, is_engine
        from noisygce.sweep.jobs import Job, at_once, check_all, from_share, kinds, launch_all, side_by_side
        from noisygce.sweep.plan import plan_of

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        loader, launcher = self.hydra_context.config_loader, self.launcher
        config = self.config
        looked_at: list[bool] = []

        def look_at(cfg: DictConfig) -> None:
            guard.refuse(cfg.hydra)
            loggers.read(cfg)
            looked_at.append(True)

        def composed(job: Job) -> DictConfig:
            cfg = loader.load_sweep_config(config, job)
            resolvers.refuse_others(cfg)
            guard.refuse(cfg.hydra)
            return cfg

        folder = [word for word in config.hydra.overrides.hydra if word.startswith("hydra.searchpath=")]
        asked = [as_typed(word) for word in arguments if not word.startswith("runtime.share=")]  # of one worker alone
        plan = plan_of([*folder, *asked], look_at)
        runs = plan.results / "runs"
        # A logger is given the finished runs too. Without one a finished run needs no config at all.
        done = [not config.get("logger") and results.of_folder(runs / run.id).state == "done" for run in plan.runs]
        jobs = [[*run.job] for run, is_done in zip(plan.runs, done, strict=True) if not is_done]
        if not looked_at:  # a stored plan is not trusted: what it left out is looked at before any run starts
            check_all(composed, kinds(jobs))

        jobs = from_share(jobs, config.runtime.share)
        engine = Engine(launcher, config, {run.job: runs / run.id for run in plan.runs}) if is_engine(config) else None

        def launch(some: Sequence[Job]) -> Sequence[JobReturn]:
            if (side := at_once(config)) == 1:
                return engine.launch(some) if engine else launcher.launch(some, initial_job_idx=0)
            configs = (loader.load_sweep_config(config, job) for job in some)
            return side_by_side(train.run_one_of_many, configs, some, side)

        ended = launch_all(launch, jobs, sum(done))
        if len(plan.runs) > 1:
            print(f"their table: python -m noisygce.table {shlex.join([*typed(folder), *asked])}", file=sys.stderr)
        return ended
