"""Comparisons: ours beside published, reference or a person's own numbers, and rows of a table against each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path

from noisygce import runs
from noisygce.view import escape, published, stats
from noisygce.view.cells import Cells, Key, Place
from noisygce.view.measures import MEASURES, Measure
from noisygce.view.published import Number
from noisygce.view.stats import percent
from noisygce.view.subtable import Entry, Subtable

# By rule: the number to compare a cell with, or why there is none.
Compared = Mapping[str, Mapping[Place, Number | str]]
_ALL_PAIRS_UP_TO = 6  # rows; with more, each is compared with the first


def mean_and_std(
    number: stats.Sample | Number | None,
    decimals: int = 2,
    signed: bool = False,
    measure: Measure = MEASURES["accuracy"],
) -> str:
    """Mean ± standard deviation, as the measure writes them; - where there is nothing."""
    return "-" if number is None else measure.spread(number.mean, number.std, decimals, signed)


def rule_title(rule: str) -> str:
    return f"Rule `{rule}`{' (oracle)' if rule in runs.ORACLES else ''}"


def against(
    cells: Cells, rule: str, source: str, compared: Mapping[Place, Number | str], decimals: int = 2
) -> Subtable:
    """Each cell beside its number of the source: published, reference, or a person's CSV file."""
    body = []
    for row, column in cells.places:
        cell, number = cells.cell[row, column], compared[row, column]
        ours = cell.sample(rule)
        if isinstance(number, str):
            texts = ["-", "-", number]
        elif ours is None:
            texts = [mean_and_std(number, decimals), "-", "no run yet"]
        else:
            difference = percent(ours.mean - number.mean, decimals, signed=True)
            texts = [mean_and_std(number, decimals), difference, "yes" if number.agrees(ours) else "no"]
        labels = Entry(cells.row_label(row)), Entry(cells.column_label(column))
        body.append([*labels, Entry(mean_and_std(ours, decimals), count=cell.count(rule)), *map(Entry, texts)])
    note = "Difference in percentage points; within: at most max(3 std of that number, 1.0)."
    beside = [(cells.cell[place].config, number) for place, number in compared.items() if isinstance(number, Number)]
    if source == "published" and beside:
        note += f" Compared in spite of {published.named(beside)}."
    name, title = source, f"{rule_title(rule)} against {source} numbers"
    if source.endswith(".csv"):
        name, title = Path(source).stem, f"{rule_title(rule)} against the numbers of {Path(source).name}"
        note += " Whether the protocols are the same is not checked."
    header = [(text,) for text in ("row", "setting", "ours", name, "difference", "within")]
    return Subtable(title, note, header, body)


def paired(cells: Cells, rule: str, decimals: int = 2) -> Subtable:
    """Rows against each other: differences of the same seed, averaged over seeds, then over the settings; of one
    setting, over its seeds."""
    pairs = list(itertools.combinations(cells.rows, 2))
    if len(cells.rows) > _ALL_PAIRS_UP_TO:
        pairs = [(cells.rows[0], row) for row in cells.rows[1:]]
    measure = MEASURES[cells.measure]
    over, note = _over(cells, measure)
    body = []
    for first, second in pairs:
        by_setting = [found for column in cells.columns if (found := differences(cells, rule, first, second, column))]
        found = [math.fsum(each) / len(each) for each in by_setting]
        if len(cells.columns) == 1 and by_setting:
            found = by_setting[0]
        sample = stats.describe(found)
        mean = measure.text(sample.mean, decimals, signed=True) if sample else "-"
        interval = "-"
        if sample and sample.half is not None:
            ends = sample.mean - sample.half, sample.mean + sample.half
            interval = " to ".join(measure.text(end, decimals, signed=True) for end in ends)
        gains = [measure.better(d) for d in found]
        better = f"{sum(d > stats.TIE for d in gains)} / {sum(d < -stats.TIE for d in gains)}"
        label = escape.joined(" − ", [cells.row_label(second), cells.row_label(first)])
        body.append([Entry(text) for text in (label, mean, interval, better, str(len(found)))])
    header = [(text,) for text in ("pair", "difference", "95 % interval", "better / worse", over)]
    return Subtable(f"Rule `{rule}`, paired over {over}", note, header, body)


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
    """Whether rows can be compared: over several settings, or over several seeds of one."""
    return len(cells.rows) > 1 and (len(cells.columns) > 1 or any(len(cell.runs) > 1 for cell in cells.cell.values()))


def differences(cells: Cells, rule: str, first: Key, second: Key, column: Key) -> list[float]:
    """second - first in one setting, of each seed that both have."""
    a, b = cells.at(first, column), cells.at(second, column)
    if a is None or b is None:
        return []
    x, y = a.values(rule), b.values(rule)
    return [y[seed] - x[seed] for seed in sorted(x.keys() & y.keys())]
