"""Cells: the runs of a plan laid out in rows and columns, each cell holding one setting under all of its seeds.

A cell knows how many runs it should have, so that a number never stands for fewer than it seems to.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noisygce.errors import ConfigError, NoisygceError
from noisygce.results import Result
from noisygce.sweep.plan import Plan
from noisygce.view import stats
from noisygce.view.measures import MEASURES

_PAGE = 24  # panels on a page
Key = tuple[Any, ...]  # the values of the row's keys, or of the column's


@dataclass(frozen=True)
class Cell:
    """The runs of one row and column, seed by seed, and what is measured of them (``Result.number``)."""

    runs: tuple[Result, ...]
    measure: str = "accuracy"

    def values(self, rule: str) -> dict[int, float]:
        """The measure, a fraction, of each seed that has it."""
        found = {int(run.config["seed"]): run.number(rule, self.measure) for run in self.runs}
        return {seed: value for seed, value in found.items() if value is not None}

    def sample(self, rule: str) -> stats.Sample | None:
        return stats.describe(list(self.values(rule).values()))

    def count(self, rule: str) -> str:
        """How many runs a number stands for, and what became of the others: (5), (3/5), (3/5, 1 failed)."""
        states = Counter(run.state for run in self.runs)
        done, wanted = len(self.values(rule)) or states["done"], len(self.runs)
        others = [f"{states[s]} {s}" for s in ("failed", "unreadable") if states[s]]
        return f"({', '.join([str(done) if done == wanted else f'{done}/{wanted}', *others])})"

    @property
    def config(self) -> Mapping[str, Any]:
        """Of the first run; the others differ in the seed alone."""
        return self.runs[0].config


@dataclass(frozen=True)
class Cells:
    """Rows times columns; a pair that the experiment does not ask for has no cell."""

    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    cell: Mapping[tuple[Key, Key], Cell]
    measure: str = "accuracy"

    def at(self, row: Key, column: Key) -> Cell | None:
        return self.cell.get((row, column))

    def row_label(self, row: Key) -> str:
        return ", ".join(labels(self.row_keys, row))

    def column_label(self, column: Key) -> str:
        return " ".join(labels(self.column_keys, column))

    def heads(self) -> list[tuple[str, ...]]:
        """The label of each column, in two levels where all have two: the second then stands below the first."""
        found = [tuple(labels(self.column_keys, column)) for column in self.columns]
        return found if all(len(label) == 2 for label in found) else [(" ".join(label),) for label in found]

    def page(self, first: str) -> tuple[Key, ...]:
        """As many columns as have room on a page with a panel a cell, in their order; the one of this label if any."""
        room = max(1, _PAGE // len(self.rows))
        chosen = sorted(self.columns, key=lambda column: self.column_label(column) != first)[:room]
        return tuple(column for column in self.columns if column in chosen)

    def described(self, rule: str) -> str:
        """Data sets, noises and number of runs of all cells, as a caption has them."""
        runs = [run for cell in self.cell.values() for run in cell.runs]
        data, noises = (dict.fromkeys(str(run.config.get(k)) for run in runs) for k in ("data.name", "noise.name"))
        n = sorted({len(cell.values(rule)) for cell in self.cell.values()})
        count = str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
        return f"Data: {', '.join(data)}. Noise: {', '.join(noises)}. n = {count} runs a cell."

    def bold(self, rule: str, column: Key) -> set[Key]:
        """The rows to print bold in a column: the best mean, and all that lie within its 95 % t interval."""
        found = {r: s for r in self.rows if (c := self.at(r, column)) is not None and (s := c.sample(rule)) is not None}
        if not found:
            return set()
        better = MEASURES[self.measure].better
        best = max(found.values(), key=lambda sample: better(sample.mean))
        floor = better(best.mean) - (best.half or 0.0) - stats.TIE
        return {row for row, sample in found.items() if better(sample.mean) >= floor}


def by_class(cells: Cells) -> Cells:
    """Each cell once a class, whose test accuracy it measures. Raises NoisygceError where no run kept predictions."""
    parts = {
        (row, (*column, name)): Cell(cell.runs, f"class {name}")
        for (row, column), cell in cells.cell.items()
        for name in next((run.confusion for run in cell.runs if run.confusion), ())
    }
    if not parts:
        raise NoisygceError("no run has kept predictions of a test set (runtime.keep_predictions=true)")
    columns = tuple(dict.fromkeys(column for _, column in parts))
    return Cells(cells.row_keys, (*cells.column_keys, "class"), cells.rows, columns, parts, "per_class")


def lay_out(plan: Plan, results: Sequence[Result], measure: str = "accuracy") -> Cells:
    """The results of a plan in the rows and columns that its table names. Raises ConfigError."""
    return grouped(keys_of(plan, results, "rows"), keys_of(plan, results, "columns"), results, measure)


def grouped(rows: tuple[str, ...], columns: tuple[str, ...], results: Sequence[Result], measure: str) -> Cells:
    """The results in a row and column for all values of these keys. Raises ConfigError.

    By hand: groupby of pandas would turn absent values into NaN, and whole numbers beside them into fractions.
    """
    groups: dict[tuple[Key, Key], list[Result]] = {}
    for run in results:
        row, column = (tuple(_value(run.config.get(key)) for key in keys) for keys in (rows, columns))
        groups.setdefault((row, column), []).append(run)
    for runs in groups.values():
        refuse_mixed(runs)
    seen_rows, seen_columns = (_in_order(list(dict.fromkeys(place[i] for place in groups))) for i in (0, 1))
    cell = {place: Cell(tuple(runs), measure) for place, runs in groups.items()}
    return Cells(rows, columns, seen_rows, seen_columns, cell, measure)


def _in_order(found: Sequence[Key]) -> tuple[Key, ...]:
    """Numbers by size, anything else as it first comes: the order in which runs are made is not that of a table."""
    seen = [list(dict.fromkeys(column)) for column in zip(*found, strict=True)]

    def place(key: Key) -> list[tuple[int, float]]:
        return [
            (0, float(v)) if isinstance(v, int | float) and not isinstance(v, bool) else (1, values.index(v))
            for v, values in zip(key, seen, strict=True)
        ]

    return tuple(sorted(found, key=place))


def keys_of(plan: Plan, results: Sequence[Result], name: str) -> tuple[str, ...]:
    """table.rows or table.columns, which must be keys of the config."""
    keys = plan.table.get(name)
    if not isinstance(keys, list) or not keys:
        raise ConfigError(f"table.{name}={keys}: must be a list of keys, such as [loss.name], in {plan.name}.yaml")
    known = {key for run in results for key in run.config}
    for key in keys:
        if key not in known:
            raise ConfigError(f"table.{name}: no run has a value {key}")
    return tuple(keys)


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def varying(runs: Sequence[Result]) -> list[str]:
    """The keys of the config, but the seed, in which runs differ that have the same choice of the key's group. 1,
    "1", true, null and no value at all differ."""
    found = []
    for key in dict.fromkeys(key for run in runs for key in run.config if key != "seed"):
        choice = key.partition(".")[0] + ".name"
        values = {
            (key != choice and run.config.get(choice), json.dumps(run.config[key]) if key in run.config else "")
            for run in runs
        }
        if len(values) > len({name for name, _ in values}):
            found.append(key)
    return found


def refuse_mixed(runs: Sequence[Result]) -> None:
    """Raises ConfigError where runs that are to be averaged differ in more than their seed, naming the key. Whoever
    averages runs calls it."""
    for key in varying(runs):
        raise ConfigError(f"runs that differ in {key} would share a cell: add {key} to table.rows or table.columns")


def labels(keys: Sequence[str], values: Sequence[Any]) -> list[str]:
    """How a row or column is called: names and rates by themselves, other values after their name; no absent ones."""
    return [
        str(value) if key.endswith(".name") or key in ("rate", "class") else f"{key.rpartition('.')[2]} {_plain(value)}"
        for key, value in zip(keys, values, strict=True)
        if value is not None
    ]


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
