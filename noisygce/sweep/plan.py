"""A plan: the runs that a command line asks for, by the IDs that training gives them.

``configs/experiment`` holds grid and table in one file, so a table knows which of its cells are missing. Composing a
config takes Hydra a tenth of a second, so a plan is stored when it is made (stored.py) and read the next time.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import check, results, runs, settings
from noisygce.errors import ConfigError, DataError
from noisygce.results import Result
from noisygce.runs import loggers
from noisygce.runs.ids import NOT_SHAPING, canonical_json
from noisygce.settings import guard, hints
from noisygce.settings.compose import of_each_run, parsed, sweeps
from noisygce.settings.experiment import SEEDS
from noisygce.sweep import axes, stored

if TYPE_CHECKING:
    from noisygce.sweep.jobs import Job

log = logging.getLogger("noisygce")

_BAR_FROM = 20  # configs to compose


@dataclass(frozen=True)
class Planned:
    """One run of a plan: the overrides that make it, its ID, and the identity that the ID is a hash of."""

    job: tuple[str, ...]
    id: str
    identity: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """name: of the experiment, if there is one. arguments: the command line. grid, table: of the experiment; the table
    has rows and columns for all that the command line varies. composed: now, and not read from a stored plan."""

    name: str
    arguments: tuple[str, ...]
    runs: tuple[Planned, ...]
    grid: Any
    table: Mapping[str, Any]
    results: Path
    composed: bool = field(default=True, compare=False)


def plan_of(arguments: Sequence[str], launching: bool = False) -> Plan:
    """The runs of ``noisygce.train -m`` with these arguments, in its order: as stored, or composed and then stored.

    launching: the runs are to be launched, so each config that is composed is looked at by ``guard``, and the plan is
    stored also where there is no results folder yet. Raises ConfigError, or what Hydra raises.
    """
    path, key = stored.path_of(arguments), stored.key(arguments)
    if key and (found := stored.read(path, key)) and _user_files_are_unchanged(found[0]["own"]):
        head, lines = found
        planned = tuple(Planned(tuple(line["overrides"]), line["id"], line["config"]) for line in lines)
        folder = stored.results_folder(arguments, head["results"])
        return Plan(head["name"], tuple(arguments), planned, head["grid"], head["table"], folder, composed=False)
    plan, user_files = _compose(arguments, launching)
    if key and user_files is not None:
        lines = [{"id": run.id, "overrides": run.job, "config": run.identity} for run in plan.runs]
        head = {"key": key, "arguments": arguments, "name": plan.name, "results": str(plan.results), "own": user_files}
        stored.write(path, {**head, "grid": plan.grid, "table": plan.table}, lines, make=launching)
    return plan


def _compose(arguments: Sequence[str], launching: bool) -> tuple[Plan, list[Any] | None]:
    """A plan as Hydra composes it, and ``_user_files`` of its runs."""
    typed = tuple(arguments)
    _, arguments = stored.take_name(arguments)
    values = dict(argument.partition("=")[::2] for argument in arguments)
    name = values.get("experiment", "null").replace("null", "")
    if not name and all(key.startswith(("experiment", "paths.", "hydra.")) for key in values):
        there = ", ".join(sorted(path.stem for path in (settings.config_dir() / "experiment").glob("*.yaml")))
        raise ConfigError(
            "no run is named: name an experiment, such as experiment=demo, or runs, such as data=digits loss=gce,tgce "
            f"seed=0,1; experiments are {there}"
        )
    for argument in filter(sweeps, arguments):
        key = argument.partition("=")[0].lstrip("+")
        if key.partition(".")[0] in NOT_SHAPING:
            raise ConfigError(f"{argument}: {key} is no part of a run's ID, each value would be the same run; give one")
    base = _base(arguments)
    jobs = _jobs(arguments, base)
    hydra = [argument for argument in arguments if argument.startswith("hydra.")]
    made = list(identities(jobs, hydra, launching))
    table = base.get("table") or {}
    table = OmegaConf.to_container(table, resolve=True) if OmegaConf.is_config(table) else table
    grid = OmegaConf.to_container(base.grid, resolve=True) if base.get("grid") else None
    planned: dict[str, Planned] = {}  # jobs of other words may make the same run
    for job, (identity, _) in zip(jobs, made, strict=True):
        name_of_run = runs.run_id(identity)
        first = planned.setdefault(name_of_run, Planned(tuple(job), name_of_run, identity))
        if first.identity is not identity and canonical_json(first.identity) != canonical_json(identity):
            raise ConfigError(f"{' '.join(job)}: its ID, {name_of_run}, is that of {' '.join(first.job)} too")
    table = axes.of_table(table, arguments, [run.identity for run in planned.values()])
    return Plan(name, typed, tuple(planned.values()), grid, table, settings.read(base).paths.results), _user_files(made)


def _base(arguments: Sequence[str]) -> DictConfig:
    return settings.compose([argument for argument in of_each_run(arguments) if not sweeps(argument)])


def _jobs(arguments: Sequence[str], base: DictConfig) -> list[Job]:
    from noisygce.sweep.jobs import expand  # it imports Hydra

    of_run = [word for word in arguments if not word.lstrip("+").startswith(("hydra.", "table.", "table="))]
    return expand(of_run, base.get("grid"))


def identities(
    jobs: Sequence[Job], hydra: Sequence[str] = (), launching: bool = False
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The identity (``runs.identity``) and the whole config of each run, checked.

    Runs that differ in the seed alone are composed once, and the seed is set before anything is resolved. hydra: the
    overrides of Hydra's own values. Raises ConfigError, which names the run.
    """
    from hydra.errors import HydraException
    from tqdm import tqdm

    from noisygce.sweep.jobs import kind

    places_by_kind: dict[tuple[str, ...], list[int]] = {}
    for place, job in enumerate(jobs):
        places_by_kind.setdefault(kind(job), []).append(place)
    found: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    unread: dict[str, None] = {}  # reasons, each once
    quiet = len(places_by_kind) < _BAR_FROM or not sys.stderr.isatty()
    for places in tqdm(places_by_kind.values(), desc="composing", unit="config", leave=False, disable=quiet):
        configs = _configs([jobs[place] for place in places], hydra, launching)
        for place in places:
            try:
                config = next(configs)
                found[place] = runs.identity(config, lambda reason: unread.update({reason: None})), config
            except (ConfigError, HydraException, OmegaConfBaseException) as error:
                reason = str(error) if isinstance(error, ConfigError) else hints.explain(error)
                raise ConfigError(f"{reason} (in the run {' '.join(jobs[place])})") from None
    for reason in unread:
        log.warning(f"{reason}; the runs that need it have no ID here and count as missing")
    yield from (found[place] for place in range(len(jobs)))


def _configs(jobs: Sequence[Job], hydra: Sequence[str], launching: bool) -> Iterator[dict[str, Any]]:
    """The resolved configs of runs that differ in the seed alone."""
    cfg = settings.compose([*hydra, *jobs[0]], with_hydra=launching)
    OmegaConf.set_readonly(cfg, False)
    OmegaConf.set_struct(cfg, False)
    if launching:
        guard.refuse(cfg.hydra, hydra)
        del cfg["hydra"]
        loggers.read(cfg)
    settings.read(cfg)
    for job in jobs:
        for seed in parsed([override for override in job if override.startswith("seed=")]):
            cfg.seed = check.whole("seed", seed.value(), SEEDS)
        yield settings.resolved(cfg)


def _user_files(made: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[Any] | None:
    """The digests of a person's own code and data that are in the identities, each with a config that names the files;
    None where some files could not be read: such IDs are not stored."""
    found: dict[str, Any] = {}
    for identity, config in made:
        digests = {name: identity[name] for name in ("code", "contents") if name in identity}
        if runs.UNREAD in digests.get("contents", {}):
            return None
        if digests:
            names = {key: value for key, value in config.items() if key in ("data", "noise", "model", "loss", "paths")}
            found.setdefault(json.dumps(names, sort_keys=True), {"config": names, **digests})
    return list(found.values())


def _user_files_are_unchanged(stored_files: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a person's own code and data still have the digests of a stored plan. Where some cannot be read, noisygce
    takes the runs as planned, and logs so."""
    digests: dict[str, Callable[..., dict[str, Any]]] = {"code": runs.user_code, "contents": runs.user_data}
    for each in stored_files:
        for name in digests.keys() & each.keys():
            try:
                if digests[name](each["config"]) != {name: each[name]}:
                    return False
            except (ConfigError, DataError) as error:
                log.warning(f"{error}; the runs are those of the stored plan")
    return True


def shown(arguments: Sequence[str]) -> Plan:
    """``plan_of``, for a view. Raises ConfigError where the results folder that the arguments name is not there."""
    plan = plan_of(arguments)
    if any(argument.startswith("paths.results=") for argument in arguments) and not plan.results.is_dir():
        raise ConfigError(f"paths.results={plan.results}: there is no such folder")
    return plan


def jobs_of(arguments: Sequence[str]) -> list[Job]:
    """The overrides that make each run of a plan, in its order: without IDs, in no time."""
    return _jobs(arguments, _base(arguments))


def look(plan: Plan) -> list[Result]:
    """The runs of a plan, in its order, each with its state and results."""
    return results.look(plan.results, [(run.id, run.identity, run.job) for run in plan.runs])


def results_folder(arguments: Sequence[str]) -> Path:
    """paths.results under these overrides."""
    return settings.read(settings.compose(arguments)).paths.results
