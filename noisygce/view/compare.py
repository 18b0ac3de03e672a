"""Comparisons: ours beside published, reference or a person's own numbers, and rows of a table against each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noisygce import results
from noisygce.errors import ConfigError, DataError
from noisygce.view import escape, published, rules, stats
from noisygce.view.cells import Cell, Cells, Key, Place
from noisygce.view.measures import MEASURES, Measure
from noisygce.view.published import Number
from noisygce.view.subtable import Entry, Subtable

# By rule: the number to compare a cell with, or why there is none.
Compared = Mapping[str, Mapping[Place, Number | str]]
_ALL_PAIRS_UP_TO = 6  # rows; with more, each is compared with the first


def numbers(against: str, measure: str, name: str) -> Callable[[Cell, str], Number | str]:
    """Looks up the number to compare a cell with under a rule. name: of the experiment, whose own archive comes first
    among the reference results. Raises ConfigError or DataError."""
    if against not in ("", "published", "reference") and not against.endswith(".csv"):
        raise ConfigError(f"against={against}: against must be one of published, reference, or a CSV file of numbers")
    if against not in ("", "reference") and measure != "accuracy":
        raise ConfigError(
            f"measure={measure}: no {'own' if against != 'published' else against} numbers of it are known"
        )
    if against and measure == "per_class":
        raise ConfigError(f"measure=per_class: against={against} has one number for each cell, and none for a class")
    if against and not MEASURES[measure].share:
        raise ConfigError(f"measure={measure}: against={against} compares shares, and this measure is none")
    if against == "published":
        return lambda cell, rule: published.number(cell.config, rule)
    if against.endswith(".csv"):
        own = published.read_own(Path(against))
        return lambda cell, rule: published.own_number(own, cell.config, rule)
    if against and not results.reference().is_dir():  # installed from a wheel
        raise DataError(
            "against=reference: the reference results are in results/reference of a clone; start the command there"
        )
    archives = [results.reference(), results.reference() / name] if against else []
    known = {run.id: run for archive in archives for run in results.found(archive) if run.state == "done"}

    def reference(cell: Cell, rule: str) -> Number | str:
        sample = Cell(tuple(known[run.id] for run in cell.runs if run.id in known), MEASURES[measure].read).sample(rule)
        return Number(sample.mean, sample.std, f"{sample.n} reference runs") if sample else "none known"

    return reference


def left_over(against: str, configs: Sequence[Mapping[str, Any]], rules: Sequence[str]) -> str:
    """Of a person's own numbers those that no cell with these configs is compared with, for a message; or nothing."""
    own = published.read_own(Path(against)) if against.endswith(".csv") else []
    left = published.unmatched(own, configs, rules)
    if not left:
        return ""
    first = ", ".join(left[0][name] for name in ("dataset", "model", "rule", "noise", "rate", "loss"))
    return f"against={against}: {len(left)} of {len(own)} lines are of no cell of this table, such as {first}"


def against(
    cells: Cells, rule: str, source: str, compared: Mapping[Place, Number | str], decimals: int = 2
) -> Subtable:
    """Each cell beside its number of the source: published, reference, or a person's CSV file."""
    share, body = MEASURES["accuracy"], []
    for row, column in cells.places:
        cell, number = cells.cell[row, column], compared[row, column]
        ours = cell.sample(rule)
        if isinstance(number, str):
            texts = ["-", "-", number]
        elif ours is None:
            texts = [share.spread(number, decimals), "-", "no run yet"]
        else:
            difference = share.text(ours.mean - number.mean, decimals, signed=True)
            texts = [share.spread(number, decimals), difference, "yes" if number.agrees(ours) else "no"]
        labels = Entry(cells.row_label(row)), Entry(cells.column_label(column))
        body.append([*labels, Entry(share.spread(ours, decimals), count=cell.count(rule)), *map(Entry, texts)])
    note = "Difference in percentage points; within: at most max(3 std of that number, 1.0)."
    beside = [(cells.cell[place].config, number) for place, number in compared.items() if isinstance(number, Number)]
    if source == "published" and beside:
        note += f" Compared in spite of {published.named(beside)}."
    name, title = source, f"{rules.title(rule)} against {source} numbers"
    if source.endswith(".csv"):
        name, title = Path(source).stem, f"{rules.title(rule)} against the numbers of {Path(source).name}"
        note += " Whether the protocols are the same is not checked."
    header = [(text,) for text in ("row", "setting", "ours", name, "difference", "within")]
    return Subtable(title, note, header, body)


def paired(cells: Cells, rule: str, decimals: int = 2) -> Subtable:
    """Rows against each other: differences of the same seed, averaged over seeds, then over the settings; of one
    setting, over its seeds."""
    measure = MEASURES[cells.measure]
    pairs = list(itertools.combinations(cells.rows, 2))
    if len(cells.rows) > _ALL_PAIRS_UP_TO:
        pairs = [(cells.rows[0], row) for row in cells.rows[1:]]
    body = []
    for first, second in pairs:
        by_setting = [found for column in cells.columns if (found := differences(cells, rule, first, second, column))]
        found = [math.fsum(each) / len(each) for each in by_setting]
        if len(cells.columns) == 1 and by_setting:
            found = by_setting[0]
        label = escape.joined(" − ", [cells.row_label(second), cells.row_label(first)])
        body.append([Entry(label), *map(Entry, difference(found, measure, decimals))])
    over = "seeds" if len(cells.columns) == 1 else "settings"
    note = f"Mean difference{measure.unit} {_OVER[over]} Better / worse: in how many {over}."
    if over == "seeds":
        note += " Seeds: n, those done of both rows."
    header = [(text,) for text in ("pair", "difference", "95 % interval", "better / worse", over)]
    return Subtable(f"Rule `{rule}`, paired over {over}", note, header, body)


_OVER = {
    "seeds": "of runs of the same seed, and its 95 % t interval over the seeds, which says nothing of other data or "
    "noise and is not widened for the number of pairs.",
    "settings": "over the settings (columns above), seed by seed; its 95 % t interval takes settings for independent "
    "though they share seeds and data.",
}


def difference(found: Sequence[float], measure: Measure, decimals: int = 2) -> list[str]:
    """Of differences of a measure: mean, 95 % t interval, how many are better / worse, and their number."""
    sample, gains = stats.describe(found), [measure.better(each) for each in found]
    better = f"{sum(gain > stats.TIE for gain in gains)} / {sum(gain < -stats.TIE for gain in gains)}"
    mean = measure.text(sample.mean, decimals, signed=True) if sample else "-"
    return [mean, measure.interval(sample, decimals, signed=True), better, str(len(found))]


def pairable(cells: Cells) -> bool:
    """Whether rows can be compared: over several settings, or over several seeds of one."""
    return len(cells.rows) > 1 and (len(cells.columns) > 1 or any(len(cell.runs) > 1 for cell in cells.cell.values()))


def differences(cells: Cells, rule: str, first: Key, second: Key, column: Key) -> list[float]:
    """second - first in one setting, of each seed that both have."""
    a, b = (cells.values(row, column, rule) for row in (first, second))
    return [b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())]
