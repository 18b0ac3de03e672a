"""Axes: the rows and columns of a plan's table, with all that its runs vary; the keys in which runs differ."""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from noisygce.errors import ConfigError
from noisygce.runs.ids import flat
from noisygce.settings.compose import CHOSEN, GROUPS, sweeps

Config = Mapping[str, Any]  # of a run, with dotted keys

_PLAIN: dict[str, Any] = {"title": "Test accuracy in %", "rows": ["loss.name"], "columns": ["noise.name", "rate"]}
_KEYS = (*_PLAIN, "rules", "names", "decimals", "overview", "losses")  # of a table; a grid takes ${table.losses}
_OVERVIEW = ("rows", "column")


def of_table(table: Any, arguments: Sequence[str], identities: Sequence[Config]) -> dict[str, Any]:
    """The ``table`` of an experiment, with a key in ``columns`` for each data set or noise, in ``rows`` for any other
    value, of which the arguments have several.

    Without rows and columns of its own it has the usual ones, and further rows by which no two settings of the runs
    share a cell. Raises ConfigError for a table with a key that no table has.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"table={table}: must be a mapping, such as {{rows: [loss.name], columns: [rate]}}")
    given = {str(key): value for key, value in table.items()}
    parts = [("table", given, _KEYS)]
    if isinstance(given.get("overview"), dict):
        parts.append(("table.overview", given["overview"], _OVERVIEW))
    for name, part, keys in parts:
        if other := [key for key in part if key not in keys]:
            raise ConfigError(f"{name}.{other[0]}: there is no such key; there are {', '.join(keys)}")
    configs = [flat(dict(each)) for each in identities]
    whole = _with_swept(_PLAIN | given, arguments, dict.fromkeys(key for config in configs for key in config))
    return whole if {"rows", "columns"} & {*given} else _separated(whole, configs)


def _with_swept(table: dict[str, Any], arguments: Sequence[str], known: Collection[str]) -> dict[str, Any]:
    for key in (argument.partition("=")[0].lstrip("+") for argument in arguments if sweeps(argument)):
        if key in GROUPS and key not in CHOSEN:  # a choice of schedule has no name: what it sets tells runs apart
            continue
        axis = "columns" if key.partition(".")[0] in ("data", "noise", "rate") else "rows"
        name = f"{key}.name" if key in CHOSEN else key
        parts = [each for each in known if each.startswith(f"{name}.")]  # of a mapping
        for each in parts if name not in known else [name]:
            if key != "seed" and each not in (*table.get("rows", ()), *table.get("columns", ())):
                table = {**table, axis: [each, *table[axis]] if key == "data" else [*table.get(axis, ()), each]}
    return table


def _separated(table: dict[str, Any], configs: Sequence[Config]) -> dict[str, Any]:
    """The table with rows for keys in which runs of one cell differ, one after another until none differ."""
    while True:
        cells: dict[Hashable, list[Config]] = {}
        for config in configs:
            place = json.dumps([config.get(key) for key in (*table["rows"], *table["columns"])])
            cells.setdefault(place, []).append(config)
        differing = [key for cell in cells.values() for key in varying(cell) if key not in table["rows"]]
        if not differing:
            return table
        table = {**table, "rows": [*table["rows"], min(differing, key=_rank)]}


def _rank(key: str) -> int:
    """Values that a person gives come before digests of files and code."""
    order = (*GROUPS, "prune")
    return order.index(group) if (group := key.partition(".")[0]) in order else len(order)


def varying(configs: Sequence[Config]) -> list[str]:
    """The keys, but the seed, in which configs differ that have the same choice of the key's group. 1, "1", true, null
    and no value at all differ."""
    found = []
    for key in dict.fromkeys(key for config in configs for key in config if key != "seed"):
        choice = key.partition(".")[0] + ".name"
        values = {
            (key != choice and config.get(choice), json.dumps(config[key]) if key in config else "")
            for config in configs
        }
        if len(values) > len({name for name, _ in values}):
            found.append(key)
    return found
