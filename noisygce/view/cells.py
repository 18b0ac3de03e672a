"""Cells: the runs of a plan laid out in rows and columns, each cell holding one setting under all of its seeds.

A cell knows how many runs it should have, so that a number never stands for fewer than it seems to.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from noisygce.errors import ConfigError, NoisygceError
from noisygce.results import Result
from noisygce.sweep import axes
from noisygce.sweep.plan import Plan
from noisygce.view import escape, stats
from noisygce.view.measures import MEASURES
from noisygce.view.provenance import subset

Key = tuple[Any, ...]  # the values of the row's keys, or of the column's
Place = tuple[Key, Key]  # row and column


@dataclass(frozen=True)
class Cell:
    """The runs of one row and column, seed by seed. read: what is measured of a run under a selection rule."""

    runs: tuple[Result, ...]
    read: Callable[[Result, str], float | None] = Result.number

    def values(self, rule: str) -> dict[int, float]:
        """The measure, a fraction, of each seed that has it."""
        found = {int(run.config["seed"]): self.read(run, rule) for run in self.runs}
        return {seed: value for seed, value in found.items() if value is not None}

    def sample(self, rule: str) -> stats.Sample | None:
        return stats.describe(list(self.values(rule).values()))

    def count(self, rule: str) -> str:
        """How many runs a number stands for, and how many of the rest failed: (5), (3/5), (3/5, 1 failed)."""
        states = Counter(run.state for run in self.runs)
        done, wanted = len(self.values(rule)) or states["done"], len(self.runs)
        broken = [f"{states[state]} {state}" for state in ("failed", "unreadable") if states[state]]
        return f"({', '.join([str(done) if done == wanted else f'{done}/{wanted}', *broken])})"

    @property
    def config(self) -> Mapping[str, Any]:
        """Of the first run; the configs of a cell differ in the seed alone."""
        return self.runs[0].config


@dataclass(frozen=True)
class Cells:
    """Rows times columns; a pair that the experiment does not ask for has no cell. names: of values, by which labels
    show them."""

    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    cell: Mapping[Place, Cell]
    measure: str = "accuracy"
    names: Mapping[str, str] = field(default_factory=dict)

    def at(self, row: Key, column: Key) -> Cell | None:
        return self.cell.get((row, column))

    def values(self, row: Key, column: Key, rule: str) -> dict[int, float]:
        """As of a cell, and none where there is no cell."""
        cell = self.cell.get((row, column))
        return cell.values(rule) if cell else {}

    def sample(self, row: Key, column: Key, rule: str) -> stats.Sample | None:
        """None where there is no cell, or no value in it."""
        cell = self.cell.get((row, column))
        return cell.sample(rule) if cell else None

    @property
    def places(self) -> list[Place]:
        """Row and column of each cell, row by row."""
        return [(row, column) for row in self.rows for column in self.columns if (row, column) in self.cell]

    @property
    def runs(self) -> list[Result]:
        return [run for cell in self.cell.values() for run in cell.runs]

    def row_label(self, row: Key) -> str:
        found = escape.joined(", ", labels(self.row_keys, row, self.names))
        oracle = any(other == row and knows_the_noise(cell.config) for (other, _), cell in self.cell.items())
        return escape.joined(" ", [found, "(oracle)"]) if oracle else found

    def column_label(self, column: Key) -> str:
        return escape.joined(" ", labels(self.column_keys, column, self.names))

    def label(self, place: Place) -> str:
        """What tells a cell from the rest."""
        row, column = self.row_label(place[0]), self.column_label(place[1])
        if len(self.rows) == 1 < len(self.columns):
            return column
        return row if len(self.columns) == 1 < len(self.rows) else escape.joined(", ", [row, column])

    def header(self) -> list[tuple[str, ...]]:
        """The label of each column, in two levels where all have two: the second then stands below the first."""
        found = [tuple(labels(self.column_keys, column, self.names)) for column in self.columns]
        if self.measure == "per_class":
            return [(escape.joined(" ", label[:-1]), label[-1]) for label in found]
        two_levels = all(len(label) == 2 for label in found)
        return found if two_levels else [(self.column_label(column),) for column in self.columns]

    def only(self, places: Container[Place]) -> Cells:
        """The cells of these places, in their rows and columns alone."""
        cell = {place: each for place, each in self.cell.items() if place in places}
        rows, columns = ({place[axis] for place in cell} for axis in (0, 1))
        return replace(
            self,
            rows=tuple(row for row in self.rows if row in rows),
            columns=tuple(column for column in self.columns if column in columns),
            cell=cell,
        )

    def of(self, shown: Callable[[Result], bool]) -> Cells:
        """The cells with their runs of which this is true alone, so that what counts runs counts those; without cells
        that have none."""
        cell = {place: tuple(filter(shown, each.runs)) for place, each in self.cell.items()}
        kept = {place: replace(self.cell[place], runs=runs) for place, runs in cell.items() if runs}
        return replace(self, cell={**self.cell, **kept}).only(kept)

    def caption(self, rule: str) -> str:
        """Data sets, noises and number of runs of all cells."""
        data, noises = (
            escape.joined(", ", labels([key] * len(each), [*each], self.names))
            for key in ("data.name", "noise.name")
            for each in [dict.fromkeys(run.config.get(key) for run in self.runs)]
        )
        data = escape.joined("", [data, subset(self.runs)])
        n = sorted({len(cell.values(rule)) for cell in self.cell.values()})
        count = str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
        runs = "run" if count == "1" else "runs"
        return escape.joined("", ["Data: ", data, ". Noise: ", noises, f". n = {count} {runs} a cell."])

    def bold(self, rule: str) -> set[Place]:
        """The places to print bold: in each column the best mean, and all that lie within its 95 % t interval. None of
        a gap, which is neither good nor bad."""
        better, found = MEASURES[self.measure].better, set[Place]()
        for column in self.columns if rule != "gap" else ():
            samples = {row: sample for row in self.rows if (sample := self.sample(row, column, rule))}
            if samples:
                best = max(samples.values(), key=lambda sample: better(sample.mean))
                floor = better(best.mean) - (best.half or 0.0) - stats.TIE
                found |= {(row, column) for row, sample in samples.items() if better(sample.mean) >= floor}
        return found


def knows_the_noise(config: Mapping[str, Any]) -> bool:
    """Whether the loss reads the true T or the true rate of wrong labels, which nobody has in practice."""
    classes = [str(value) for key, value in config.items() if key.startswith("loss.") and key.endswith("_target_")]
    return any(name.endswith((".Forward", ".Backward")) for name in classes) or (
        "loss.forget_rate" in config and config["loss.forget_rate"] is None
    )


def by_class(cells: Cells) -> Cells:
    """Each cell once a class, whose test accuracy it measures. Raises NoisygceError where no run kept predictions."""
    parts = {
        (row, (*column, name)): Cell(cell.runs, functools.partial(_class_accuracy, name))
        for (row, column), cell in cells.cell.items()
        for name in next((run.confusion for run in cell.runs if run.confusion), ())
    }
    if not parts:
        raise NoisygceError("no run has kept predictions of a test set (runtime.keep_predictions=true)")
    columns = tuple(dict.fromkeys(column for _, column in parts))
    return replace(cells, column_keys=(*cells.column_keys, "class"), columns=columns, cell=parts, measure="per_class")


def _class_accuracy(name: str, run: Result, rule: str) -> float | None:
    return run.class_accuracy(name) if rule == run.kept_by else None


def lay_out(plan: Plan, results: Sequence[Result], measure: str = "accuracy") -> Cells:
    """The results of a plan in the rows and columns that its table names. Raises ConfigError."""
    return grouped(keys_of(plan, results, "rows"), keys_of(plan, results, "columns"), results, measure)


def grouped(
    rows: tuple[str, ...], columns: tuple[str, ...], results: Sequence[Result], measure: str = "accuracy"
) -> Cells:
    """The results in a row and column for all values of these keys. Raises ConfigError."""
    cell = {}
    for values, runs in groups(results, (*rows, *columns)).items():
        refuse_mixed(runs)
        cell[values[: len(rows)], values[len(rows) :]] = Cell(tuple(runs), MEASURES[measure].read)
    row_order, column_order = (in_order(dict.fromkeys(place[axis] for place in cell)) for axis in (0, 1))
    return Cells(rows, columns, row_order, column_order, cell, measure)


def groups(results: Iterable[Result], keys: Sequence[str]) -> dict[Key, list[Result]]:
    """The results by their values of these keys, a list as a tuple.

    Not by groupby of pandas, which would turn absent values into NaN, and whole numbers beside them into fractions.
    """
    found: dict[Key, list[Result]] = {}
    for run in results:
        values = (run.config.get(key) for key in keys)
        found.setdefault(tuple(tuple(v) if isinstance(v, list) else v for v in values), []).append(run)
    return found


def in_order(keys: Iterable[Key]) -> tuple[Key, ...]:
    """Numbers by size, anything else as it first comes: the order in which runs are made is not that of a table."""
    found = list(keys)
    first = [list(dict.fromkeys(values)) for values in zip(*found, strict=True)]

    def rank(key: Key) -> list[tuple[bool, float]]:
        numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in key]
        return [(not n, v if n else seen.index(v)) for v, n, seen in zip(key, numbers, first, strict=True)]

    return tuple(sorted(found, key=rank))


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


def varying(runs: Sequence[Result]) -> list[str]:
    """The keys in which runs differ (``axes.varying``)."""
    return axes.varying([run.config for run in runs])


def refuse_mixed(runs: Sequence[Result]) -> None:
    """Raises ConfigError where runs that are to be averaged differ in more than their seed, naming the key. Whoever
    averages runs calls it."""
    for key in varying(runs):
        raise ConfigError(f"runs that differ in {key} would share a cell: add {key} to table.rows or table.columns")


def labels(keys: Sequence[str], values: Sequence[Any], names: Mapping[str, str] | None = None) -> list[str]:
    """A label for each value that is there: names and rates by themselves, other values after their key.

    names: what a person calls a name (``table.names``), which may hold formulas.
    """
    found = []
    for key, value in zip(keys, values, strict=True):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if value is None:
            continue
        if key.endswith(".name") or key in ("rate", "class"):
            found.append(escape.Typeset(names[text]) if names and text in names else str(value))
        else:
            found.append(f"{key.rpartition('.')[2]} {text}")
    return found
