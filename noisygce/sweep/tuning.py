"""A search for hyper-parameters by an installed sweeper of Hydra: what it is told, and what it has found.

It sees what a run returns, the best accuracy on the noisy validation labels, and nothing that knows a clean label.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from noisygce import runs, settings
from noisygce.errors import ConfigError

# What Optuna's sweeper is told where the command line says nothing else. It would minimise; draw two trials at a time
# and run them one after another; and draw others the next time, so that no search could be continued.
_OPTUNA = {"direction": "maximize", "n_jobs": "1", "sampler.seed": "0"}


def overrides(hydra: DictConfig, words: Sequence[str]) -> list[str]:
    """The overrides that a search needs beside ``words``; none for a sweep over a grid. hydra: as composed."""
    if "optuna" not in str(hydra.sweeper.get("_target_")):
        return []
    keys = {f"hydra.sweeper.{key}": value for key, value in _OPTUNA.items() if _has(hydra.sweeper, key)}
    keys |= {"hydra.sweep.dir": "${paths.results}/tuning", "+hydra.callbacks.best._target_": f"{__name__}.Best"}
    given = {word.partition("=")[0].lstrip("+") for word in words}
    return [f"{key}={value}" for key, value in keys.items() if key.lstrip("+") not in given]


def require(hydra: Any, cfg: DictConfig) -> None:
    """Raises ConfigError where a search would have nothing to look at, for a run that its sweeper asks for."""
    grid = str(hydra.sweeper.get("_target_")).endswith((".NoisygceSweeper", ".BasicSweeper"))
    if not grid and not settings.read(cfg).split.holds_out:
        raise ConfigError(
            f"data.validation={cfg.data.validation}: a search looks at accuracy on noisy validation labels alone, and "
            "nothing is held out; data.validation=0.1 holds out a tenth"
        )


def _has(node: DictConfig, key: str) -> bool:
    """Whether a node has a dotted key, whatever its value."""
    first, _, rest = key.partition(".")
    return first in node and (not rest or _has(node[first], rest))


class Best(Callback):
    """Prints the best run at the end, and with which of the swept values it was made."""

    def __init__(self) -> None:
        self.ended: list[tuple[float, list[str], DictConfig]] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if job_return.status == JobStatus.COMPLETED and not math.isnan(share := float(job_return.return_value)):
            assert job_return.cfg is not None
            self.ended.append((share, [*(job_return.overrides or ())], job_return.cfg))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if not self.ended:
            return
        share, job, cfg = max(self.ended, key=lambda ended: ended[0])
        varied = [override for override in job if not all(override in other for _, other, _ in self.ended)]
        name = runs.run_id(runs.identity(settings.resolved(cfg)))
        values = " ".join(varied or job)
        print(f"best of {len(self.ended)} by noisy validation, {100 * share:.2f} %: {values} ({name})", flush=True)
