"""Ranks of rows over settings: Friedman's test, Nemenyi's critical difference, and their diagram (Demšar 2006, JMLR 7).

In each setting the rows of a table are ranked by the mean of their seeds, the best first. scipy and scikit-posthocs,
which the extra ``ranks`` brings, compute the tests and draw the diagram.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from noisygce.errors import ConfigError, installing
from noisygce.results import LABEL_WAVE
from noisygce.view import canvas, curves, rules, stats
from noisygce.view.cells import Cell, Cells, Key, Place
from noisygce.view.measures import MEASURES
from noisygce.view.stats import Sample
from noisygce.view.subtable import Entry, Subtable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LEVEL = 0.05  # of significance
ASSUMES = (
    "Friedman's test takes settings for independent draws of all that one may meet. Settings of one experiment share "
    "data, network and seeds, so that its p is too small."
)


@dataclass(frozen=True)
class Ranked(Cell):
    """A cell that shows the rank of its mean in its setting; ranks: by selection rule, of rules under which all rows of
    the setting have a mean."""

    ranks: Mapping[str, float] = field(default_factory=dict)

    def sample(self, rule: str) -> Sample | None:
        rank = self.ranks.get(rule)
        return None if rank is None else Sample(len(self.values(rule)), rank, None, None)


@dataclass(frozen=True)
class Friedman:
    """Friedman's test of k rows over n settings: its statistic and p, and the difference of two mean ranks from which
    on Nemenyi's test tells rows apart at ``LEVEL``. ranks: the mean rank of each row."""

    n: int
    statistic: float
    p: float
    critical: float
    ranks: Mapping[Key, float]


def by_rank(cells: Cells, under: Sequence[str]) -> Cells:
    """The cells of test accuracy, each as its rank in its setting; 1 is the best, equal means share the mean of their
    ranks."""
    ranks: dict[Place, dict[str, float]] = {place: {} for place in cells.cell}
    for rule in under:
        ranked = _complete(cells, rule).rank(axis="columns", ascending=False)
        places: list[Any] = ranked.columns.tolist()
        for column, of_rows in zip(ranked.index, ranked.to_numpy().tolist(), strict=True):
            for row, rank in zip(places, of_rows, strict=True):
                ranks[cells.rows[row], cells.columns[column]][rule] = rank
    found = {place: Ranked(cell.runs, cell.read, ranks[place]) for place, cell in cells.cell.items()}
    return dataclasses.replace(cells, cell=found, measure="rank")


def _complete(cells: Cells, rule: str) -> DataFrame:
    """Mean test accuracy of each setting (index) and row (columns), both by their places in ``cells``, of the settings
    in which every row has one; without the rows that can have none, of Label Wave those whose images are mixed. Means
    that differ in their last bits alone are made equal."""
    import pandas as pd

    def mean(row: Key, column: Key) -> float | None:
        sample = stats.describe([*cells.values(row, column, rule).values()])
        return round(sample.mean, 10) if sample else None

    means = pd.DataFrame([[mean(row, column) for row in cells.rows] for column in cells.columns], dtype=float)
    none = [i for i, row in enumerate(cells.rows) if rule == LABEL_WAVE and _mixes(cells, row)]
    return means.drop(columns=none).dropna()


def _mixes(cells: Cells, row: Key) -> bool:
    return any(run.mixes_images for place in cells.places if place[0] == row for run in cells.cell[place].runs)


def friedman(cells: Cells, rule: str) -> Friedman | None:
    """None where fewer than two settings have all rows, or there are fewer than three rows. Raises ConfigError."""
    means = _complete(cells, rule)
    n, k = means.shape
    if n < 2 or k < 3:
        return None
    scipy = _library("scipy.stats")
    with np.errstate(invalid="ignore"):  # 0 / 0 where all rows are equal
        statistic, p = scipy.friedmanchisquare(*means.to_numpy().T)
    critical = scipy.studentized_range.ppf(1 - LEVEL, k, math.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    places: list[Any] = means.columns.tolist()
    mean_ranks = means.rank(axis="columns", ascending=False).mean().tolist()
    ranks = {cells.rows[place]: rank for place, rank in zip(places, mean_ranks, strict=True)}
    return Friedman(n, float(statistic), float(p), float(critical), ranks)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = "scikit-posthocs" if name.startswith("scikit") else "scipy"
        command = installing("noisygce[ranks]")
        raise ConfigError(f"measure=rank and kind=ranks: need {package} ({command})") from None


def subtable(cells: Cells, rule: str) -> Subtable:
    """The rank of each row in each setting and its mean over the settings, the best first, with Friedman's test in the
    note."""
    test = friedman(cells, rule)
    means = test.ranks if test else {}
    rows = tuple(sorted(cells.rows, key=lambda row: means.get(row, math.inf)))
    by_rule = rules.subtable(dataclasses.replace(cells, rows=rows), rule)
    corner, *heads = by_rule.header
    mean = ("mean", "rank") if all(len(head) == 2 for head in heads) else ("mean rank",)
    body = [
        [label, Entry(_rank(means[row]) if row in means else "-"), *entries]
        for row, (label, *entries) in zip(rows, by_rule.body, strict=True)
    ]
    about = f"Rank of the rows in each setting by the mean of their seeds, 1 the best, by {rules.MEANING[rule]} (runs)."
    without = [cells.row_label(row) for row in rows if test and row not in means]
    left_out = f" Without {', '.join(without)}, which have no such number." if without else ""
    said = _said(test, len(means) if test else len(rows))
    return Subtable(by_rule.title, f"{about} {said}{left_out}", [corner, mean, *heads], body)


def _said(test: Friedman | None, rows: int) -> str:
    if test is None:
        return f"Friedman's test needs three rows and two settings in which all {rows} rows are done."
    return (
        f"Friedman's test over the settings that all {rows} rows have: {_figures(test)}, chi-squared "
        f"{_figure(test.statistic)}. Two mean ranks differ at the level {LEVEL} where they are a critical "
        f"difference apart (Nemenyi). {ASSUMES}"
    )


def _figures(test: Friedman) -> str:
    p = "p < 0.0001" if test.p < 1e-4 else f"p = {_figure(test.p, 4)}"
    return f"{test.n} settings, {p}, critical difference {stats.rounded(test.critical)}"


def _figure(value: float, decimals: int = 2) -> str:
    """-: of a test of rows that are equal in every setting."""
    return "-" if math.isnan(value) else str(stats.rounded(value, decimals))


def _rank(rank: float) -> str:
    return MEASURES["rank"].text(rank)


@canvas.styled()
def diagram(cells: Cells, under: Sequence[str]) -> Figure | None:
    """Critical-difference diagram: the mean rank of each row on an axis, and bars across rows that Nemenyi's test does
    not tell apart; a panel a selection rule."""
    tests = {rule: test for rule in under if (test := friedman(cells, rule))}
    if not tests:
        return None
    posthocs = _library("scikit_posthocs")
    styles = curves.row_styles(cells)
    titles = [f"Rule {rule}: mean rank over {_figures(test)}" for rule, test in tests.items()]
    figure, axes = canvas.panels(titles, "", 1, (7.5, 1.1 + 0.095 * len(styles)), sharex=False, sharey=False)
    for axis, (rule, test) in zip(axes, tests.items(), strict=True):
        names = {row: f"{cells.row_label(row)} ({_rank(rank)})" for row, rank in test.ranks.items()}
        means = _complete(cells, rule).reset_index(drop=True).set_axis([*names.values()], axis="columns")
        drawn = posthocs.critical_difference_diagram(
            {names[row]: rank for row, rank in test.ranks.items()},
            posthocs.posthoc_nemenyi_friedman(means),
            alpha=LEVEL,
            ax=axis,
            label_fmt_left="{label}",
            label_fmt_right="{label}",
            label_props={"fontsize": 7},
            marker_props={"s": 12},
            elbow_props={"linewidth": 0.7},
            crossbar_props={"color": canvas.DARK, "linewidth": 1.6},
            color_palette={names[row]: styles[row]["color"] for row in test.ranks},
        )
        for (bar,) in drawn["crossbars"]:
            bar.set_xdata(sorted(bar.get_xdata()))  # drawn in the order of a set, which is another in each process
        for label in drawn["labels"]:
            label.set_color(canvas.INK)  # pale colours of lines are hard to read as text
    note = f"1 is the best rank. Bars join rows that Nemenyi's test does not tell apart at the level {LEVEL}."
    return canvas.frame(figure, cells, note, ASSUMES)
