"""A plan: the runs that a command line asks for, by the ids that training gives them.

``configs/experiment`` holds grid and table in one file, so a table knows which of its cells are missing. Composing a
config takes Hydra a tenth of a second, so a plan is stored when it is made (stored.py) and read the next time.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import results, runs, settings
from noisygce.errors import ConfigError, DataError
from noisygce.results import Result
from noisygce.settings import guard, hints
from noisygce.settings.compose import CHOSEN, of_each_run, parsed, sweeps
from noisygce.settings.words import mistake as misread
from noisygce.sweep import stored

if TYPE_CHECKING:
    from noisygce.sweep.jobs import Job

log = logging.getLogger("noisygce")

_BAR_FROM = 20  # configs to compose


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


def plan_of(arguments: Sequence[str], look_at: Callable[[DictConfig], object] | None = None, name: str = "") -> Plan:
    """The runs of ``noisygce.train -m`` with these arguments, in its order: as stored, or composed and then stored.

    look_at: called with each config that is composed, Hydra's own values in it, where the runs are to be launched; the
    plan is then stored where there is no results folder yet, too. name: of the stored plan, where a person gives one.
    Raises ConfigError, or what Hydra raises.
    """
    path, key = stored.path_of(arguments, name), stored.key(arguments)
    if key and (found := stored.read(path, key)) and _own_files_are_as_they_were(found[0]["own"]):
        head, lines = found
        planned = tuple(Planned(tuple(line["overrides"]), line["id"], line["config"]) for line in lines)
        folder = stored.results_folder(arguments, head["results"])
        return Plan(head["name"], tuple(arguments), planned, head["grid"], head["table"], folder)
    plan, own = _composed(arguments, look_at)
    if key and own is not None:
        lines = [{"id": run.id, "overrides": run.job, "config": run.identity} for run in plan.runs]
        head = {"key": key, "arguments": arguments, "name": plan.name, "results": str(plan.results), "own": own}
        stored.write(path, {**head, "grid": plan.grid, "table": plan.table}, lines, make=look_at is not None)
    return plan


def _composed(
    arguments: Sequence[str], look_at: Callable[[DictConfig], object] | None
) -> tuple[Plan, list[Any] | None]:
    """A plan as Hydra composes it, and what its ids take from a person's own files, by ``_own_files``."""
    chosen = _pairs(arguments)
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
    jobs = _jobs(arguments, base)
    made = list(identities(jobs, [word for word in arguments if word.startswith("hydra.")], look_at))
    table = OmegaConf.to_container(base.table, resolve=True) if OmegaConf.is_config(base.get("table")) else _TABLE
    if not isinstance(table, dict):
        raise ConfigError(f"table={table}: must be a mapping, such as {{rows: [loss.name], columns: [rate]}}")
    grid = OmegaConf.to_container(base.grid, resolve=True) if base.get("grid") else None
    planned = tuple(
        Planned(tuple(job), runs.run_id(identity), identity) for job, (identity, _) in zip(jobs, made, strict=True)
    )
    table = _with_all_that_varies({str(key): value for key, value in table.items()}, arguments)
    plan = Plan(name, tuple(arguments), planned, grid, table, settings.read(base).paths.results)
    return plan, _own_files(made)


def identities(
    jobs: Sequence[Job], aside: Sequence[str] = (), look_at: Callable[[DictConfig], object] | None = None
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What the id of each run is made from (``runs.identity``), and its whole config: each checked.

    Runs that differ in the seed alone are composed once, and the seed is set before anything is resolved. aside: the
    overrides of Hydra's own values. Raises ConfigError, or what Hydra raises, naming the run.
    """
    from hydra.errors import HydraException
    from tqdm import tqdm

    together: dict[tuple[str, ...], list[int]] = {}
    for place, job in enumerate(jobs):
        together.setdefault(tuple(o for o in job if not o.startswith("seed=")), []).append(place)
    found: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    seeds: set[str] = set()
    reasons: dict[str, None] = {}

    def unread(reason: str) -> None:
        reasons[reason] = None

    quiet = len(together) < _BAR_FROM or not sys.stderr.isatty()
    for places in tqdm(together.values(), desc="composing the runs", unit="config", leave=False, disable=quiet):
        try:
            for place, whole in zip(
                places, _configs(aside, [jobs[place] for place in places], seeds, look_at), strict=True
            ):
                found[place] = runs.identity(whole, unread), whole
        except (ConfigError, HydraException, OmegaConfBaseException) as error:
            if look_at is None:
                raise
            told = error if isinstance(error, ConfigError) else hints.explain(error)
            which = jobs[places[len([place for place in places if place in found])]]
            raise ConfigError(f"{told} (in the run {' '.join(which)}; none was started)") from None
    for reason in reasons:
        log.warning(f"{reason}; the runs that need it have no ID here and count as missing")
    yield from (found[place] for place in range(len(jobs)))


def _configs(
    aside: Sequence[str], jobs: Sequence[Job], seeds: set[str], look_at: Callable[[DictConfig], object] | None
) -> Iterator[dict[str, Any]]:
    """The resolved configs of runs that differ in the seed alone. seeds: those that have been checked; grows."""
    cfg = settings.compose([*aside, *jobs[0]], with_hydra=True)
    guard.refuse(cfg.hydra)
    if look_at:
        look_at(cfg)
    for flag in (OmegaConf.set_readonly, OmegaConf.set_struct):
        flag(cfg, False)
    del cfg["hydra"]
    for number, job in enumerate(jobs):
        seed = next((override for override in job if override.startswith("seed=")), "")
        if seed:
            cfg.seed = parsed([seed])[0].value()
        if number == 0 or seed not in seeds:
            settings.read(cfg)
        seeds.add(seed)
        yield settings.resolved(cfg)


def _own_files(made: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[Any] | None:
    """A config for each way in which ids take digests of a person's own code and data, with those digests; None where
    some of it could not be read: such ids are not stored."""
    each: dict[str, Any] = {}
    for identity, whole in made:
        digests = {name: identity[name] for name in ("code", "contents") if name in identity}
        needed = {key: value for key, value in whole.items() if key in ("data", "noise", "model", "loss", "paths")}
        if runs.UNREAD in digests.get("contents", {}):
            return None
        if digests:
            each.setdefault(json.dumps(needed, sort_keys=True), {"config": needed, **digests})
    return list(each.values())


def _own_files_are_as_they_were(own: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a person's own code and data still have the digests that are in the ids; where some cannot be read,
    noisygce shows the runs as they were planned, and logs so."""
    for each in own:
        for name, digests in (("code", runs.user_code), ("contents", runs.user_data)):
            try:
                if name in each and digests(each["config"]) != {name: each[name]}:
                    return False
            except (ConfigError, DataError) as error:
                log.warning(f"{error}; the runs are those of the stored plan")
    return True


def shown(arguments: Sequence[str], name: str = "") -> Plan:
    """``plan_of``, of runs whose results shall be shown. Raises ConfigError where the folder given for them is none."""
    plan = plan_of(arguments, name=name)
    if "paths.results" in _pairs(arguments) and not plan.results.is_dir():
        raise ConfigError(f"paths.results={plan.results}: there is no such folder")
    return plan


def jobs_of(arguments: Sequence[str]) -> list[Job]:
    """The overrides that make each run of a plan, in its order: without ids, in no time."""
    return _jobs(arguments, _base(arguments))


def _base(arguments: Sequence[str]) -> DictConfig:
    return settings.compose([argument for argument in of_each_run(arguments) if not sweeps(argument)])


def _pairs(arguments: Sequence[str]) -> dict[str, str]:
    return dict(argument.partition("=")[::2] for argument in arguments)


def _jobs(arguments: Sequence[str], base: DictConfig) -> list[Job]:
    from noisygce.sweep.jobs import expand  # it imports Hydra

    return expand([argument for argument in arguments if not argument.startswith("hydra.")], base.get("grid"))


_TABLE: dict[str, Any] = {"title": "Test accuracy in %", "rows": ["loss.name"], "columns": ["noise.name", "rate"]}


def _with_all_that_varies(table: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """The table, with a key in ``columns`` for each data set or noise, in ``rows`` for any other value, of which the
    arguments have several."""
    for key in (argument.partition("=")[0].lstrip("+") for argument in arguments if sweeps(argument)):
        axis = "columns" if key.partition(".")[0] in ("data", "noise", "rate") else "rows"
        name = f"{key}.name" if key in CHOSEN else key
        if key != "seed" and name not in (*table.get("rows", ()), *table.get("columns", ())):
            table = {**table, axis: [name, *table[axis]] if key == "data" else [*table.get(axis, ()), name]}
    return table


def look(plan: Plan) -> list[Result]:
    """The runs that a plan asks for, in its order, each with what is there of it."""
    return results.look(plan.results, [(run.id, run.identity, run.job) for run in plan.runs])


def results_folder(arguments: Sequence[str]) -> Path:
    """paths.results under these overrides."""
    return settings.read(settings.compose(arguments)).paths.results


def _experiments() -> str:
    there = sorted(path.stem for path in (settings.config_dir() / "experiment").glob("*.yaml"))
    return f"; there are {', '.join(there)}" if there else ""
