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
        from noisygce import train
        from noisygce.settings.arguments import typed
        from noisygce.settings.compose import as_typed
        from noisygce.sweep.engines import Engine, is_engine
        from noisygce.sweep.jobs import Job, at_once, share_of, side_by_side
        from noisygce.sweep.launch import plan_and_train
        from noisygce.sweep.plan import Plan

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        config, launcher, loader = self.config, self.launcher, self.hydra_context.config_loader

        def launch(plan: Plan, some: Sequence[Job]) -> Sequence[JobReturn]:
            if (side := at_once(config)) == 1:
                return Engine(launcher, config, plan).launch(some) if is_engine(config) else launcher.launch(some, 0)
            configs = (loader.load_sweep_config(config, job) for job in some)
            return side_by_side(train.run_one_of_many, configs, some, side)

        share = share_of(config)
        ours = ("hydra.searchpath=", "hydra.job.name=")  # --config-dir and name=, see settings/arguments.py
        asked = [word for word in config.hydra.overrides.hydra if word.startswith(ours)]
        asked = [word.replace("hydra.job.name=", "name=", 1) for word in asked]
        # A share is of one worker; the plan is of all.
        asked += [as_typed(argument) for argument in arguments if not argument.startswith("runtime.share=")]
        # A logger receives the finished runs too. Without one a finished run needs no config at all.
        plan, ended = plan_and_train(asked, launch, followed=bool(config.get("logger")), share=share)
        if len(plan.runs) > 1:
            print(f"their table: python -m noisygce.table {shlex.join(typed(asked))}", file=sys.stderr)
        return ended
