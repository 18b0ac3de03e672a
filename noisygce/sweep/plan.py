"""A plan: the runs that a command line asks for, by the ids that training gives them.

``configs/experiment`` holds grid and table in one file, so a table knows which of its cells are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from noisygce import results, runs, settings
from noisygce.errors import ConfigError
from noisygce.results import Result
from noisygce.settings.compose import sweeps
from noisygce.sweep import identities
from noisygce.sweep.jobs import expand, pair


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
    chosen = dict(map(pair, arguments))
    name = chosen.get("experiment")
    if not name or name == "null":
        raise ConfigError("experiment is missing: name one, such as experiment=demo" + _experiments())
    if "," in name:
        raise ConfigError(f"experiment={name}: one experiment at a time")
    base = settings.compose([argument for argument in arguments if not sweeps(argument)])
    aside = [argument for argument in arguments if argument.startswith("hydra.")]
    jobs = expand([argument for argument in arguments if argument not in aside], base.get("grid"))
    table = OmegaConf.to_container(base.table, resolve=True) if base.get("table") else {}
    planned = tuple(
        Planned(tuple(job), runs.run_id(made), made) for job, made in zip(jobs, identities.of(jobs, aside), strict=True)
    )
    return Plan(name, tuple(arguments), planned, base.get("grid"), dict(table), settings.read(base).paths.results)  # type: ignore[arg-type]


def look(plan: Plan) -> list[Result]:
    """The runs that a plan asks for, in its order, each with what is there of it."""
    return results.look(plan.results, [(run.id, run.identity, run.job) for run in plan.runs])


def results_folder(arguments: Sequence[str]) -> Path:
    """paths.results under these overrides."""
    return settings.read(settings.compose(arguments)).paths.results


def _experiments() -> str:
    there = sorted(path.stem for path in (settings.config_dir() / "experiment").glob("*.yaml"))
    return f"; there are {', '.join(there)}" if there else ""
