"""A plan: the runs that a command line asks for, by the ids that training gives them.

``configs/experiment`` holds grid and table in one file, so a table knows which of its cells are missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from noisygce import results, runs, settings
from noisygce.errors import ConfigError
from noisygce.results import Result
from noisygce.runs.ids import flat
from noisygce.settings.compose import CHOSEN, of_each_run, sweeps
from noisygce.settings.words import mistake as misread
from noisygce.sweep import identities
from noisygce.sweep.jobs import Job, expand, pair


@dataclass(frozen=True)
class Planned:
    """One run that is asked for: the overrides that make it, its id, and what the id is made from."""

    job: tuple[str, ...]
    id: str
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """name: of the experiment, if there is one. arguments: the command line. grid, table: as the experiment has them;
    a table has rows and columns for all that the command line varies."""

    name: str
    arguments: tuple[str, ...]
    runs: tuple[Planned, ...]
    grid: Any
    table: Mapping[str, Any]
    results: Path


def plan_of(arguments: Sequence[str]) -> Plan:
    """The runs of ``noisygce.train -m`` with these arguments, in its order. Raises ConfigError."""
    chosen = dict(map(pair, arguments))
    name = chosen.get("experiment", "null")
    name = "" if name == "null" else name
    if not name and all(key.startswith(("experiment", "paths.", "hydra.")) for key in chosen):
        raise ConfigError(
            "nothing is asked for: name an experiment, such as experiment=demo, or runs, such as data=digits "
            "loss=gce,tgce seed=0,1" + _experiments()
        )
    if mistake := misread(arguments):
        raise ConfigError(mistake)
    base = _base(arguments)
    aside = [argument for argument in arguments if argument.startswith("hydra.")]
    jobs = _jobs(arguments, base)
    table = OmegaConf.to_container(base.table, resolve=True) if OmegaConf.is_config(base.get("table")) else _TABLE
    if not isinstance(table, dict):
        raise ConfigError(f"table={table}: must be a mapping, such as {{rows: [loss.name], columns: [rate]}}")
    planned = tuple(
        Planned(tuple(job), runs.run_id(made), made) for job, made in zip(jobs, identities.of(jobs, aside), strict=True)
    )
    table = _with_all_that_varies({str(key): value for key, value in table.items()}, arguments)
    return Plan(name, tuple(arguments), planned, base.get("grid"), table, settings.read(base).paths.results)


def shown(arguments: Sequence[str]) -> Plan:
    """``plan_of``, of runs whose results shall be shown. Raises ConfigError where the folder given for them is none."""
    plan = plan_of(arguments)
    if "paths.results" in dict(map(pair, arguments)) and not plan.results.is_dir():
        raise ConfigError(f"paths.results={plan.results}: there is no such folder")
    return plan


def jobs_of(arguments: Sequence[str]) -> list[Job]:
    """The overrides that make each run of a plan, in its order: without ids, in no time."""
    return _jobs(arguments, _base(arguments))


def _base(arguments: Sequence[str]) -> DictConfig:
    return settings.compose([argument for argument in of_each_run(arguments) if not sweeps(argument)])


def _jobs(arguments: Sequence[str], base: DictConfig) -> list[Job]:
    return expand([argument for argument in arguments if not argument.startswith("hydra.")], base.get("grid"))


_TABLE: dict[str, Any] = {"title": "Test accuracy in %", "rows": ["loss.name"], "columns": ["noise.name", "rate"]}


def _with_all_that_varies(table: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """The table, with a key in ``columns`` for each data set or noise, in ``rows`` for any other value, of which the
    arguments have several."""
    for key in (pair(argument)[0].lstrip("+") for argument in arguments if sweeps(argument)):
        axis = "columns" if key.partition(".")[0] in ("data", "noise", "rate") else "rows"
        name = f"{key}.name" if key in CHOSEN else key
        if key != "seed" and name not in (*table.get("rows", ()), *table.get("columns", ())):
            table = {**table, axis: [name, *table[axis]] if key == "data" else [*table.get(axis, ()), name]}
    return table


def look(plan: Plan) -> list[Result]:
    """The runs that a plan asks for, in its order, each with what is there of it."""
    return results.look(plan.results, [(run.id, run.identity, run.job) for run in plan.runs])


def closest(plan: Plan) -> str:
    """Of a plan of which no run is done: the finished run of its data that is most like one of it, whatever its seed,
    and how it differs; empty where there is none."""
    asked = {json.dumps(each, sort_keys=True): each for each in map(_without_seed, (run.identity for run in plan.runs))}
    names = {each.get("data.name") for each in asked.values()}
    best: tuple[int, str] | None = None
    for run in results.found(plan.results):
        if run.state != "done" or run.config.get("data.name") not in names:
            continue
        there = _without_seed(run.manifest["config"])
        for each in asked.values():
            others = [key for key in sorted({*there, *each}) if there.get(key) != each.get(key)]
            if best is None or len(others) < best[0]:
                has = [f"{key}={there[key]}" for key in others if key in there and not key.endswith("_target_")]
                how = f"with {' '.join(has)}" if has else "with other code, other data or another seed"
                best = len(others), f"none of these runs is done; the most alike there is {run.id}, {how}"
    return best[1] if best else ""


def _without_seed(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat(runs.given(identity)).items() if key != "seed"}


def results_folder(arguments: Sequence[str]) -> Path:
    """paths.results under these overrides."""
    return settings.read(settings.compose(arguments)).paths.results


def _experiments() -> str:
    there = sorted(path.stem for path in (settings.config_dir() / "experiment").glob("*.yaml"))
    return f"; there are {', '.join(there)}" if there else ""
