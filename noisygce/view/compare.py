"""Comparisons: ours beside published or reference numbers, and rows of a table against each other over settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from noisygce.view import published, stats
from noisygce.view.cells import Cells, Key
from noisygce.view.measures import MEASURES, Measure
from noisygce.view.published import Number
from noisygce.view.sheet import Entry, Sheet
from noisygce.view.stats import percent

Place = tuple[Key, Key]
# By rule: the number to compare a cell with, or why there is none.
Compared = Mapping[str, Mapping[Place, Number | str]]
_ALL_PAIRS_UP_TO = 6  # rows; with more, each is compared with the first


def mean_and_std(
    number: stats.Sample | Number | None, signed: bool = False, measure: Measure = MEASURES["accuracy"]
) -> str:
    """Mean ± standard deviation, as the measure writes them; - where there is nothing."""
    return "-" if number is None else measure.spread(number.mean, number.std, signed)


def against_sheet(cells: Cells, rule: str, against: str, compared: Mapping[Place, Number | str]) -> Sheet:
    """Each cell beside the published or reference number."""
    body: list[list[Entry]] = []
    beside: list[tuple[Mapping[str, Any], Number]] = []
    for row, column in itertools.product(cells.rows, cells.columns):
        cell = cells.at(row, column)
        if cell is None:
            continue
        ours, theirs = cell.sample(rule), compared[row, column]
        if isinstance(theirs, str):
            told = ("-", "-", theirs)
        else:
            beside.append((cell.config, theirs))
            gap, within = "-", "no run yet"
            if ours is not None:
                gap = percent(ours.mean - theirs.mean, signed=True)
                within = "yes" if theirs.agrees(ours) else "no"
            told = (mean_and_std(theirs), gap, within)
        where = Entry(cells.row_label(row)), Entry(cells.column_label(column))
        body.append([*where, Entry(mean_and_std(ours), small=cell.count(rule)), *map(Entry, told)])
    note = "Difference in percentage points; within: at most max(3 std of that number, 1.0)."
    if against == "published" and beside:
        note += f" Compared in spite of {published.named(beside)}."
    head = [(text,) for text in ("row", "setting", "ours", against, "difference", "within")]
    return Sheet(f"Rule `{rule}` against {against} numbers", note, head, body)


def paired_sheet(cells: Cells, rule: str) -> Sheet:
    """Rows against each other: differences of the same seed, averaged over seeds, then over the settings; of one
    setting, over its seeds."""
    pairs = list(itertools.combinations(cells.rows, 2))
    if len(cells.rows) > _ALL_PAIRS_UP_TO:
        pairs = [(cells.rows[0], row) for row in cells.rows[1:]]
    measure = MEASURES[cells.measure]
    counted, note = _over(cells, measure)
    body = []
    for first, second in pairs:
        each = [d for column in cells.columns if (d := differences(cells, rule, first, second, column))]
        found = each[0] if len(cells.columns) == 1 and each else [math.fsum(d) / len(d) for d in each]
        sample = stats.describe(found)
        mean = measure.text(sample.mean, signed=True) if sample else "-"
        ends = () if sample is None or sample.half is None else (sample.mean - sample.half, sample.mean + sample.half)
        interval = " to ".join(measure.text(end, signed=True) for end in ends) or "-"
        gains = [measure.better(d) for d in found]
        better = f"{sum(d > stats.TIE for d in gains)} / {sum(d < -stats.TIE for d in gains)}"
        label = f"{cells.row_label(second)} − {cells.row_label(first)}"
        body.append([Entry(text) for text in (label, mean, interval, better, str(len(found)))])
    head = [(text,) for text in ("pair", "difference", "95 % interval", "better / worse", counted)]
    return Sheet(f"Rule `{rule}`, paired over {counted}", note, head, body)


def _over(cells: Cells, measure: Measure) -> tuple[str, str]:
    """What differences are taken over, and how: settings, or the seeds of the only one."""
    if len(cells.columns) == 1:
        return "seeds", (
            f"Mean difference{measure.unit} of runs of the same seed, and its 95 % t interval over the seeds, "
            "which says nothing of other data or noise and is not widened for the number of pairs. Better / worse: in "
            "how many seeds. Seeds: n, those done of both rows."
        )
    return "settings", (
        f"Mean difference{measure.unit} over the settings (columns above), seed by seed; its 95 % t interval "
        "takes settings for independent though they share seeds and data. Better / worse: in how many settings."
    )


def pairable(cells: Cells) -> bool:
    """Whether there is more than one difference of two rows to say something of: several settings, or seeds of one."""
    return len(cells.rows) > 1 and (len(cells.columns) > 1 or any(len(cell.runs) > 1 for cell in cells.cell.values()))


def differences(cells: Cells, rule: str, first: Key, second: Key, column: Key) -> list[float]:
    """second - first in one setting, of each seed that both have."""
    a, b = cells.at(first, column), cells.at(second, column)
    if a is None or b is None:
        return []
    x, y = a.values(rule), b.values(rule)
    return [y[seed] - x[seed] for seed in sorted(x.keys() & y.keys())]
