"""A plan: the runs that a command line asks for, by the ids that training gives them.

``configs/experiment`` holds grid and table in one file, so a table knows which of its cells are missing. Composing a
config takes Hydra a tenth of a second; here it is done once for each distinct choice of groups, and plain values are
set in between, so that a thousand runs take less than a second. The ids are those of ``noisygce.train``, which a test
asserts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import config, runs, sweep
from noisygce.errors import ConfigError

_VALUES = ("seed", "rate", "precision")  # keys without a dot that are values, not groups
_IDLE = ("grid", "table")  # left out before resolving: they shape no run and take time


@dataclass(frozen=True)
class Planned:
    """One run that is asked for: the overrides that make it, its id, and what the id is made from."""

    job: tuple[str, ...]
    id: str
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """name: of the experiment. arguments: the command line. grid, table: as the experiment has them."""

    name: str
    arguments: tuple[str, ...]
    runs: tuple[Planned, ...]
    grid: Any
    table: Mapping[str, Any]
    results: Path


def plan(arguments: Sequence[str]) -> Plan:
    """The runs of ``noisygce.train -m`` with these arguments, in its order. Raises ConfigError."""
    chosen = dict(_pair(argument) for argument in arguments)
    name = chosen.get("experiment")
    if not name or name == "null":
        raise ConfigError("experiment is missing: name one, such as experiment=demo" + _experiments())
    if "," in name:
        raise ConfigError(f"experiment={name}: one experiment at a time")
    base = config.compose([a for a in arguments if not _sweeps(a)])
    jobs = sweep.jobs(arguments, base.get("grid"))
    table = OmegaConf.to_container(base.table, resolve=True) if base.get("table") else {}
    planned = tuple(
        Planned(tuple(job), runs.run_id(made), made) for job, made in zip(jobs, identities(jobs), strict=True)
    )
    return Plan(name, tuple(arguments), planned, base.get("grid"), dict(table), config.read(base).paths.results)  # type: ignore[arg-type]


def results_folder(arguments: Sequence[str]) -> Path:
    """paths.results under these overrides."""
    return config.read(config.compose(arguments)).paths.results


def _experiments() -> str:
    there = sorted(path.stem for path in (config.config_dir() / "experiment").glob("*.yaml"))
    return f"; there are {', '.join(there)}" if there else ""


def _pair(argument: str) -> tuple[str, str]:
    key, _, value = argument.partition("=")
    return key, value


def _sweeps(argument: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(argument).is_sweep_override()


def identities(jobs: Sequence[sweep.Job]) -> Iterator[dict[str, Any]]:
    """What shapes the numbers of each run, as ``noisygce.train`` with these overrides would record it."""
    composed: dict[tuple[str, ...], tuple[DictConfig, bool]] = {}
    resolved: dict[tuple[str, ...], dict[str, Any]] = {}
    for job in jobs:
        values = {key: value for key, value in map(_pair, job) if _plain(key)}
        choices = tuple(override for override in job if not _plain(_pair(override)[0]))
        kind = (*choices, *values)  # the same keys are set each time, so that none is left over from the run before
        if new := kind not in composed:
            cfg = _without_idle(config.compose(choices))
            composed[kind] = cfg, "seed" in values and seed_apart(cfg)
        cfg, apart = composed[kind]
        rest = (*choices, *(f"{k}={v}" for k, v in values.items() if not (apart and k == "seed")))
        if rest not in resolved:
            cfg = _set(cfg, values, job)
            if new:
                config.read(cfg)
            resolved[rest] = runs.identity(config.resolved(cfg))
        yield resolved[rest] | ({"seed": _value(f"seed={values['seed']}")} if apart else {})


def _without_idle(cfg: DictConfig) -> DictConfig:
    """A config without what its id does not need and its check does not either."""
    OmegaConf.set_struct(cfg, False)
    for key in _IDLE:
        cfg.pop(key, None)
    OmegaConf.set_struct(cfg, True)
    return cfg


def seed_apart(cfg: DictConfig) -> bool:
    """Whether nothing else in the config is made from the seed, so that runs differ in it alone."""
    return "seed}" not in str(OmegaConf.to_container(cfg, resolve=False))


def _set(cfg: DictConfig, values: Mapping[str, str], job: sweep.Job) -> DictConfig:
    """``cfg`` with these values set, in place; composed anew where that could differ from what Hydra does."""
    parsed = {key: _value(f"{key}={value}") for key, value in values.items()}
    if any(isinstance(value, dict | list) for value in parsed.values()):  # a merge would keep some of the last one
        return config.compose(job)
    try:
        for key, value in parsed.items():
            OmegaConf.update(cfg, key, value, merge=True)
    except OmegaConfBaseException:
        config.compose(job)  # says what is wrong with it in Hydra's way
        raise
    return cfg


@functools.cache
def _value(override: str) -> Any:
    """The value of a plain override, in Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(override).value()


def _plain(key: str) -> bool:
    """Whether an override sets a value, and can have no other effect, as choosing from a group may."""
    return key in _VALUES or ("." in key and not key.startswith(("+", "~", "hydra")) and "/" not in key)
