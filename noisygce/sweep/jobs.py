"""Jobs: the runs that a command line asks for, and training several of them at once."""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from noisygce import check, construct
from noisygce.errors import ConfigError
from noisygce.settings import Runtime, command
from noisygce.settings.compose import CHOSEN, parsed, setting
from noisygce.training import device

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

log = logging.getLogger("noisygce")

Job = list[str]  # the overrides that make one run


def expand(arguments: Sequence[str], grid: Any = None) -> list[Job]:
    """The runs of a command line: the product of its choices, times the choices of each block of ``grid``, by seed.

    grid: a list of {key: value or list of values}; a key on the command line, also with + or ++ before it, replaces the
    same key of the grid. But choices that the grid knows, such as loss=ce, select: each block keeps those of its own,
    and its values for them, and a block without any is left out. Raises ConfigError.
    """
    typed = {override.get_key_element().lstrip("+"): _values(override) for override in parsed(arguments)}
    blocks = [
        {
            key.lstrip("+"): [f"{key}={_literal(value)}" for value in (v if isinstance(v, list) else [v])]
            for key, v in block.items()
        }
        for block in _blocks(grid)
    ]
    selecting = {
        key
        for key in typed.keys() & {*CHOSEN}
        if {*typed[key]} <= {word for block in blocks for word in block.get(key, ())}
    }
    found: dict[tuple[str, ...], Job] = {}
    for block in blocks:
        own = {key: [word for word in typed[key] if word in block[key]] for key in selecting & block.keys()}
        for job in itertools.product(*{**block, **typed, **own}.values()):
            found.setdefault(tuple(sorted(job)), list(job))
    return sorted(found.values(), key=_seed)  # seed 0 before seed 1, so that a table fills evenly


def _literal(value: Any) -> str:
    """A value of YAML in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_literal(part)}' for key, part in value.items())}}}"
    return "null" if value is None else setting("", value)[1:] if isinstance(value, str) else str(value)


def _values(override: Override) -> list[str]:
    """An override for each value of an override: of a choice as typed, of a range to 12 significant digits.

    Hydra sums floats: range(0.1,0.5,0.2) would give 0.30000000000000004, another run than 0.3, or the stop itself.
    """
    if override.is_interval_sweep():
        raise ConfigError(f"{override.input_line}: an interval is for a search, such as hydra/sweeper=optuna")
    if not override.is_sweep_override():
        return [str(override.input_line)]
    values = list(override.sweep_string_iterator())
    if override.is_range_sweep():
        stop = float(override.value().stop)  # type: ignore[union-attr, arg-type]
        values = [text if re.fullmatch(r"-?\d+", text) else repr(float(f"{float(text):.12g}")) for text in values]
        values = [text for text in values if float(text) != stop]
    return [f"{override.get_key_element()}={value}" for value in values]


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
    seeds = [override[len("seed=") :] for override in job if override.startswith("seed=")]
    return int(seeds[-1]) if seeds and seeds[-1].isdigit() else 0


def share_of(config: DictConfig) -> tuple[int, int]:
    """``runtime.share`` of a config. Raises ConfigError."""
    return construct.construct(Runtime, OmegaConf.to_container(config.runtime, resolve=True), "runtime").share


def from_share(jobs: Sequence[Job], share: tuple[int, int]) -> list[Job]:
    """The jobs in the order in which worker i of n takes them, share = (i, n): from the i-th of n parts on, and round.

    So workers meet only once one has come to the end of its part.
    """
    first = len(jobs) * share[0] // share[1]
    return [*jobs[first:], *jobs[:first]]


def kind(job: Sequence[str]) -> tuple[str, ...]:
    """A job without its seed."""
    return tuple(override for override in job if not override.startswith("seed="))


def outcome(train: Callable[[DictConfig], float], cfg: DictConfig, job: Job) -> JobReturn:
    """How the training of a job ends, as Hydra has it."""
    try:
        return JobReturn(overrides=job, cfg=cfg, status=JobStatus.COMPLETED, _return_value=train(cfg))
    except Exception as error:
        return JobReturn(overrides=job, cfg=cfg, status=JobStatus.FAILED, _return_value=error)


def side_by_side(
    train: Callable[[DictConfig], float], configs: Iterable[DictConfig], jobs: Sequence[Job], at_once: int
) -> list[JobReturn]:
    """Trains as a launcher does, ``at_once`` runs at a time, each in a thread."""

    threads, started, running = ThreadPoolExecutor(at_once), list[Future[JobReturn]](), set[Future[JobReturn]]()
    try:
        for cfg, job in zip(configs, jobs, strict=True):  # each composed when a thread is free for it
            if len(running) == at_once:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for each in ended:
                    each.result()  # raises where it was stopped
            started.append(threads.submit(outcome, train, cfg, job))
            running.add(started[-1])
        return [each.result() for each in started]
    except KeyboardInterrupt:  # the second Ctrl-C: threads cannot be stopped, and a checkpoint is whole at any instant
        print("stopped at once; start the same command again to resume from the last checkpoint", file=sys.stderr)
        os._exit(command.exit_code(KeyboardInterrupt()))
    finally:
        threads.shutdown(cancel_futures=True)


def at_once(cfg: DictConfig) -> int:
    """How many runs of a sweep to train at a time: ``runtime.concurrent`` on a GPU, 1 on a CPU, with a log line."""
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
    log.info(f"runtime.concurrent={wanted}: one run fills a CPU, so runs are trained one after another here")
    return 1
