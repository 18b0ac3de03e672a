"""A search for hyper-parameters by an installed sweeper of Hydra: its settings, and the best run that it has found.

The search sees the value that a run returns, its best accuracy on the noisy validation labels, and nothing that knows a
clean label.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf

from noisygce import runs, settings
from noisygce.errors import ConfigError, Locked, NonFinite
from noisygce.runs import atomic
from noisygce.settings.compose import sweeps
from noisygce.sweep.stored import results_folder

log = logging.getLogger("noisygce")

# Defaults of Optuna's sweeper and the values that take their place. With its own defaults Optuna would draw two trials
# at a time and run them one after another, draw other trials the next time, so that no search could be continued, and
# end at the first trial that fails.
_OPTUNA = {"n_jobs": (2, "1"), "sampler.seed": (None, "0"), "max_failure_rate": (0.0, "1.0")}
# What of ``data`` may be searched; among the rest a search would choose the easiest data, or the luckiest fold.
_PREPROCESSING = ("padding", "flip", "rotation", "randaugment", "cutout", "normalise", "mean", "std", "size")


def overrides(hydra: DictConfig, words: Sequence[str]) -> list[str]:
    """The overrides that a search needs beside the ``words`` of its command line; none for a sweep over a grid.

    hydra: as composed. Raises ConfigError for a direction that would find the worst run, for a storage that cannot be
    opened, for values that are no hyper-parameters, and for seeds of trials where nothing searches.
    """
    seeds = [word for word in words if word.lstrip("+").startswith("runtime.trial_seeds=[")]
    if seeds and not searches(hydra):
        raise ConfigError(f"{seeds[0]}: only a search trains these seeds (hydra/sweeper=optuna); of a grid: seed=0,1")
    if searches(hydra):
        _refuse_no_hyper_parameters(hydra, words)
    if "optuna" not in str(hydra.sweeper.get("_target_")):
        return []
    typed = {word.partition("=")[0].lstrip("+") for word in words}
    direction = hydra.sweeper.get("direction")
    chosen = isinstance(direction, str | ListConfig) or "hydra.sweeper.direction" in typed  # the default is an enum
    direction = getattr(direction, "name", direction)
    if chosen and str(direction) not in ("maximize", "['maximize']"):
        raise ConfigError(
            f"hydra.sweeper.direction={direction}: a run returns an accuracy; leave the direction out, and the search "
            "maximises it"
        )
    _try_storage(hydra.sweeper.get("storage"))
    results = results_folder(words, "results")
    atomic.refuse_links(results / "tuning", results)
    needed = {
        "hydra.sweeper.direction": "maximize",
        "hydra.sweep.dir": "${paths.results}/tuning",
        "+hydra.callbacks.best._target_": f"{__name__}.Best",
    }
    for key, (default, ours) in _OPTUNA.items():
        if key == "sampler.seed" and hydra.sweeper.get("storage"):  # each start would draw the trials of the one before
            continue
        if OmegaConf.select(hydra.sweeper, key, default="absent") == default:
            needed[f"hydra.sweeper.{key}"] = ours
    return [f"{key}={value}" for key, value in needed.items() if key.lstrip("+") not in typed]


def _refuse_no_hyper_parameters(hydra: DictConfig, words: Sequence[str]) -> None:
    """Raises ConfigError for a search among seeds, noises or data sets, and for the name of a plan, which it lacks."""
    params = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
    typed = [word for word in words if "=" in word and word[:1] not in ("-", "~")]
    for word in filter(sweeps, (*typed, *params)):
        key = word.partition("=")[0].lstrip("+")
        group, _, name = key.partition(".")
        if key == "seed":
            raise ConfigError(
                f"{word}: a search would choose the luckiest seed; runtime.trial_seeds=[0,1,2] trains each trial with "
                "all of these seeds"
            )
        if group in ("rate", "noise") or (group == "data" and name not in _PREPROCESSING):
            raise ConfigError(
                f"{word}: a search would choose the easiest of them; search under one, or train a grid, without "
                "hydra/sweeper"
            )
    if names := [word for word in words if word.startswith("hydra.job.name=")]:
        raise ConfigError(f"{names[0].removeprefix('hydra.job.')}: it names the plan of a grid, and a search has none")


def _try_storage(url: Any) -> None:
    """Opens the database of a study, as Optuna will. Raises ConfigError."""
    if url is None:
        return
    import optuna

    try:
        optuna.storages.get_storage(url)
    except Exception as error:  # of SQLAlchemy, of the driver of a database, of Optuna
        reason = f"{error}".strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"hydra.sweeper.storage={url}: cannot be opened ({reason}); such as sqlite:///search.db, with the packages "
            "of noisygce[tuning]"
        ) from None


def searches(hydra: Any) -> bool:
    """Whether the sweeper searches: it chooses runs by the values that earlier runs have returned."""
    return not str(hydra.sweeper.get("_target_")).endswith((".NoisygceSweeper", ".BasicSweeper"))


class Ended(BaseException):
    """Carries an error that would end each trial of a search past Hydra and the sweeper, which would count it as one
    failed trial."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def trial(train: Callable[[DictConfig], float], cfg: DictConfig) -> float:
    """The accuracy that a trial of a search returns: with ``runtime.trial_seeds`` the mean over the runs of the seeds.

    A trial that diverges, or that another process trains, fails alone, and the search continues. Any other error, which
    would recur in each trial, ends the search (``Ended``), as does a config that holds out no validation labels.
    """
    try:
        experiment = settings.read(cfg)
        if cfg.get("grid"):
            raise ConfigError("a search does not train the grid of an experiment; grid=null leaves the grid out")
        if not experiment.split.holds_out:
            raise ConfigError(
                f"data.validation={cfg.data.validation}: a search looks at accuracy on noisy validation labels alone, "
                "and nothing is held out; data.validation=0.1 holds out a tenth"
            )
        seeds = experiment.runtime.trial_seeds
        return statistics.fmean(train(_with_seed(cfg, seed)) for seed in seeds) if seeds else train(cfg)
    except (NonFinite, Locked) as error:  # Locked: a search beside this one tries the same values now
        log.warning(f"failed trial: {error}")
        raise
    except Exception as error:
        raise Ended(error) from error


def _with_seed(cfg: DictConfig, seed: int) -> DictConfig:
    """The same config with another seed, before anything is resolved."""
    other = copy.deepcopy(cfg)
    OmegaConf.set_readonly(other, False)
    other.seed = seed
    return other


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Around a multirun. Raises the error that ended a search, and NonFinite where none of its trials has an
    accuracy."""
    try:
        yield
    except Ended as ended:
        raise ended.error from None
    except ValueError as error:
        if "No trials are completed" not in str(error):  # Optuna's message
            raise
        raise NonFinite("each trial of the search diverged: search among lower values of schedule.lr") from None


class Best(Callback):
    """Prints the best run of a search at its end, with the swept values that made it."""

    def __init__(self) -> None:
        self.ended: list[tuple[float, list[str], DictConfig]] = []
        self.failed = 0

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if job_return.status != JobStatus.COMPLETED or math.isnan(share := float(job_return.return_value)):
            self.failed += 1
        else:
            assert job_return.cfg is not None
            self.ended.append((share, [*(job_return.overrides or ())], job_return.cfg))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        if self.ended:  # none where a launcher has other processes: there each job ends
            self._say_best()
        if whole := _of_study(config):
            print(whole, flush=True)

    def _say_best(self) -> None:
        share, job, cfg = max(self.ended, key=lambda ended: ended[0])
        varied = [override for override in job if not all(override in other for _, other, _ in self.ended)]
        seeds = settings.read(cfg).runtime.trial_seeds
        name = f"seeds {', '.join(map(str, seeds))}" if seeds else runs.run_id(runs.identity(settings.resolved(cfg)))
        values = " ".join(varied or job)
        failed = f"; {self.failed} more failed" if self.failed else ""
        print(
            f"best of {len(self.ended)} by noisy validation, {100 * share:.2f} %: {values} ({name}){failed}", flush=True
        )


def _of_study(config: DictConfig) -> str:
    """The best of all trials of a study in a database, also of those of other starts; empty where there is none."""
    storage, name = (OmegaConf.select(config, f"hydra.sweeper.{key}") for key in ("storage", "study_name"))
    if not storage or not name or "optuna" not in str(config.hydra.sweeper._target_):
        return ""
    import optuna

    study = optuna.load_study(study_name=name, storage=storage)
    if not study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
        return ""
    values = " ".join(f"{key}={value}" for key, value in study.best_params.items())
    return f"best of the {len(study.trials)} trials of the study {name}, {100 * study.best_value:.2f} %: {values}"
