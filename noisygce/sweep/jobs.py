"""Sweeps: which runs a command line asks for, whether all of them can be run, and how they ended."""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import check, settings
from noisygce.errors import ConfigError, DataError, Locked, Saved, Stopped, SweepFailed
from noisygce.runs import loggers
from noisygce.runs.messages import GO_ON
from noisygce.settings import Runtime, command, hints
from noisygce.settings.compose import parsed
from noisygce.training import device

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

log = logging.getLogger("noisygce")

Job = list[str]  # the overrides that make one run


def pair(override: str) -> tuple[str, str]:
    """Key and value."""
    key, _, value = override.partition("=")
    return key, value


def expand(arguments: Sequence[str], grid: Any = None) -> list[Job]:
    """The runs of a command line: the product of its choices, times those of each block of ``grid``, seed by seed.

    grid: a list of {key: value or list of values}; a key on the command line takes the place of the grid's.
    """
    given: dict[str, list[str]] = {}
    for override in parsed(arguments):
        key = override.get_key_element()
        if override.is_interval_sweep():
            raise ConfigError(f"{override.input_line}: an interval is for a search, such as hydra/sweeper=optuna")
        if override.is_sweep_override():
            given[key] = [f"{key}={value}" for value in _choices(override)]
        else:
            given[key] = [str(override.input_line)]
    blocks = _blocks(grid)
    found: dict[tuple[str, ...], Job] = {}
    for block in blocks:
        varied = {
            key: [f"{key}={'null' if value is None else value}" for value in (v if isinstance(v, list) else [v])]
            for key, v in block.items()
        }
        for job in itertools.product(*{**varied, **given}.values()):
            found.setdefault(tuple(sorted(job)), list(job))
    return sorted(found.values(), key=_seed)


def _choices(override: Override) -> list[str]:
    """The values that a setting sweeps over: of a choice as they are typed, of a range to 12 significant digits.

    Hydra sums floats: range(0.1,0.5,0.2) would give 0.30000000000000004, another run than 0.3, or the stop itself.
    """
    found = list(override.sweep_string_iterator())
    if not override.is_range_sweep():
        return found
    stop = float(override.value().stop)  # type: ignore[union-attr, arg-type]
    shortened = (text if re.fullmatch(r"-?\d+", text) else repr(float(f"{float(text):.12g}")) for text in found)
    return [text for text in shortened if float(text) != stop]


def _blocks(grid: Any) -> list[Mapping[str, Any]]:
    """The blocks of a grid, one that varies nothing where there are none. Raises ConfigError."""
    plain = OmegaConf.to_container(grid, resolve=True) if OmegaConf.is_config(grid) else grid
    blocks = [{}] if plain in (None, []) else plain
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise ConfigError(f"grid={plain}: must be a list of blocks, such as [{{loss: [ce, gce], seed: [0, 1]}}]")
    for block in blocks:
        if empty := [key for key, value in block.items() if value == []]:
            raise ConfigError(f"grid: a block has no value for {empty[0]}, and would make no run")
    return blocks


def _seed(job: Job) -> int:
    """Sorts seed 0 before seed 1, so that a table fills evenly."""
    seeds = [override[len("seed=") :] for override in job if override.startswith("seed=")]
    return int(seeds[-1]) if seeds and seeds[-1].isdigit() else 0


def kinds(all_jobs: Sequence[Job]) -> list[Job]:
    """Some of the jobs, such that each combination of settings but for the seed, and each seed, is among them."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for job in all_jobs:
        both = (tuple(o for o in job if not o.startswith("seed=")), tuple(o for o in job if o.startswith("seed=")))
        if not seen.issuperset(both):
            found.append(job)
        seen.update(both)
    return found


def from_share(all_jobs: Sequence[Job], share: str | None) -> list[Job]:
    """The jobs as the worker of a share takes them: worker i of n begins an i-th of the list later than worker 0, so
    that workers meet only once one has come to the end of its part."""
    worker, workers = Runtime.share_of(share)
    first = len(all_jobs) * worker // workers
    return [*all_jobs[first:], *all_jobs[:first]]


def check_all(compose: Callable[[Job], DictConfig], all_jobs: Sequence[Job]) -> None:
    """Builds the objects of every kind of run before the first one starts. Raises ConfigError, naming the run."""
    for job in all_jobs:
        try:
            cfg = compose(job)
            settings.read(cfg)
            loggers.read(cfg)
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            told = error if isinstance(error, ConfigError) else hints.explain(error)
            raise ConfigError(f"{told} (in the run {' '.join(job)}; none was started)") from None


def launch_all(
    launch: Callable[[Sequence[Job]], Sequence[JobReturn]], all_jobs: Sequence[Job], done: int = 0
) -> list[JobReturn]:
    """Launches runs, comes back once to those that another process held, and says how all ended.

    done: how many more runs of the sweep were finished before.
    """
    ended = list(launch(all_jobs)) if all_jobs else []
    held = [i for i, job in enumerate(ended) if isinstance(_error(job), Locked)]
    for i, again in zip(held, launch([all_jobs[i] for i in held]) if held else [], strict=True):
        ended[i] = again
    failures = [(job, e) for job, end in zip(all_jobs, ended, strict=True) if (e := _error(end)) is not None]
    failed = [(job, e) for job, e in failures if not isinstance(e, Locked)]
    print(f"{done + len(ended) - len(failures)} of {done + len(ended)} runs are done", file=sys.stderr)
    for line in _reasons(failures, all_jobs):
        print(f"  {line}", file=sys.stderr)
    if saved := sum(isinstance(e, Saved) for _, e in failed):
        raise Stopped(f"{saved} of {done + len(ended)} runs are stopped; {GO_ON}")
    if failed:
        raise SweepFailed(
            f"{len(failed)} of {done + len(ended)} runs failed", [command.exit_code(e) for _, e in failed]
        )
    return ended


def side_by_side(
    train: Callable[[DictConfig], float], configs: Iterable[DictConfig], all_jobs: Sequence[Job], at_once: int
) -> list[JobReturn]:
    """What a launcher does, ``at_once`` runs at a time: each in a thread, the next one in whichever is free first."""

    def one(cfg: DictConfig, job: Job) -> JobReturn:
        try:
            return JobReturn(overrides=job, cfg=cfg, status=JobStatus.COMPLETED, _return_value=train(cfg))
        except Exception as error:
            return JobReturn(overrides=job, cfg=cfg, status=JobStatus.FAILED, _return_value=error)

    threads = ThreadPoolExecutor(at_once)
    try:
        return list(threads.map(one, list(configs), all_jobs))
    except KeyboardInterrupt:  # the second Ctrl-C: threads cannot be stopped, and a checkpoint is whole at any instant
        print("stopped at once; start the same command again to go on from the last checkpoint", file=sys.stderr)
        os._exit(command.exit_code(KeyboardInterrupt()))
    finally:
        threads.shutdown(cancel_futures=True)


def _reasons(failures: Sequence[tuple[Job, BaseException]], all_jobs: Sequence[Job]) -> Iterator[str]:
    """Each failure with its run, in order; what data sets lack is said once for all the runs that it stops."""
    lacking: dict[str, list[Job]] = {}
    for job, error in failures:
        if isinstance(error, DataError):
            lacking.setdefault(str(error), []).append(job)
    for job, error in failures:
        group = lacking[str(error)] if isinstance(error, DataError) else [job]
        if job is group[0]:
            which = _those(group, all_jobs) if len(group) > 1 else " ".join(job)
            yield f"{which}: {error if str(error) else type(error).__name__}"


def _those(group: Sequence[Job], all_jobs: Sequence[Job]) -> str:
    """Some runs of a sweep, by what they have in common and not every run has; else by their names."""
    if len(group) == len(all_jobs):
        return f"all {len(group)} runs"
    common = [o for o in group[0] if all(o in job for job in group) and not all(o in job for job in all_jobs)]
    return f"{len(group)} runs with {' '.join(common)}" if common else "; ".join(" ".join(job) for job in group)


def _error(job: JobReturn) -> BaseException | None:
    return job._return_value if job.status == JobStatus.FAILED else None


def at_once(cfg: DictConfig) -> int:
    """How many runs of a sweep to train at a time: ``runtime.concurrent`` on a GPU, and one on a CPU, which says so."""
    wanted = check.whole("runtime.concurrent", cfg.runtime.concurrent, "[1, 16]")
    if wanted == 1:
        return 1
    if not str(cfg.hydra.launcher._target_).endswith(".BasicLauncher"):
        raise ConfigError(
            f"runtime.concurrent={wanted}: runs side by side are threads of one process, and hydra/launcher starts "
            "processes; use one of the two"
        )
    if device.prepare(cfg.runtime.device, cfg.runtime.threads).startswith("cuda"):
        return wanted
    log.info(f"runtime.concurrent={wanted}: one run fills a CPU, so runs go one after another here")
    return 1
