"""Figures of accuracy and of what pruning keeps.

Each drawing takes the cells of an experiment and returns a matplotlib figure, or None where no run shows it yet. Only
finished runs are drawn.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from noisygce.results import NOISY_VALIDATION, Metrics, Result
from noisygce.view import canvas
from noisygce.view.cells import Cell, Cells, Key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 12  # lines in a panel; of more rows the final accuracies are drawn
SEEDS = "Thin line: one seed; thick line: their mean."

_MEASURES = {"test_accuracy": "test accuracy in %", "val_accuracy": "noisy validation accuracy in %"}

Place = tuple[Key, Key]  # row and column
Found = TypeVar("Found")
Values = Sequence[float | None]  # of one seed, an epoch or a round each; None where there is nothing to divide by


@canvas.styled()
def accuracy(cells: Cells) -> Figure | None:
    """Test accuracy over epochs, or accuracy on noisy validation where no run has a test set: a panel a setting, a line
    a row of the table; of more than ``MOST`` rows the final accuracies, sorted."""
    runs = found(cells, done)
    every = [run for seeds in runs.values() for run in seeds]
    measures = [key for key in _MEASURES if any(value is not None for run in every for value in run.get(key, []))]
    if not measures:
        return None
    key, styles, cells = measures[0], row_styles(cells), showing(cells, runs)
    if len(cells.rows) > MOST:
        rules = ("val", "last") if key == "test_accuracy" else (NOISY_VALIDATION,)
        known = [rule for rule in rules if any(cell.sample(rule) for cell in cells.cell.values())]
        return _final(cells, known, _MEASURES[key])
    figure, axes = canvas.panels([*map(cells.column_label, cells.columns)], "epoch")
    for axis, column in zip(axes, cells.columns, strict=True):
        axis.grid(axis="y")
        for row in cells.rows:
            seeds = runs.get((row, column), [])
            lines(axis, [run[key] for run in seeds], epochs(seeds), styles[row])
    entries = [{"label": cells.row_label(row), **styles[row]} for row in cells.rows]
    return canvas.frame(figure, runs_of(cells), SEEDS, y=_MEASURES[key], entries=entries)


def row_styles(cells: Cells) -> dict[Key, dict[str, Any]]:
    """Colour and line style of each row: its loss's colour, and another line style for each further row of a loss; of
    rows that no loss tells apart, a ramp."""
    losses = {
        row: {str(cell.config["loss.name"]) for (r, _), cell in cells.cell.items() if r == row} for row in cells.rows
    }
    names = [min(found) for found in losses.values()]
    if len({*names}) == 1 < len(names) or any(len(found) > 1 for found in losses.values()):
        return dict(zip(cells.rows, canvas.ramp(len(cells.rows)), strict=True))
    known = canvas.loss_styles(names)
    earlier = {row: names[:i].count(names[i]) for i, row in enumerate(cells.rows)}
    return {row: known[name] | canvas.variant(earlier[row]) for row, name in zip(cells.rows, names, strict=True)}


_DOT = {"color": canvas.INK, "marker": "D", "linestyle": ""}
_RULES: dict[str, tuple[float, dict[str, Any]]] = {  # how far above a row, and the look
    "val": (0.18, {**_DOT, "color": canvas.MIDDLE, "marker": "o"}),
    "last": (-0.18, _DOT),
    NOISY_VALIDATION: (0, _DOT),
}


def _final(cells: Cells, rules: Sequence[str], measure: str) -> Figure:
    """Mean and 95 % t interval of the seeds under each rule: a panel a setting, rows sorted by their mean under the
    last rule over the settings."""

    def place(row: Key) -> float:
        samples = [cell.sample(rules[-1]) for (r, _), cell in cells.cell.items() if r == row]
        return statistics.fmean([sample.mean for sample in samples if sample] or [0.0])

    rows = sorted(cells.rows, key=place)
    size = (1.7, 0.5 + 0.16 * len(rows))
    figure, axes = canvas.panels([*map(cells.column_label, cells.columns)], measure, 6, size, sharex=False)
    axes[0].set_yticks(range(len(rows)), [cells.row_label(row) for row in rows])
    axes[0].set_ylim(-1, len(rows))
    for axis, column in zip(axes, cells.columns, strict=True):
        axis.grid()
        for rule in rules:
            samples = [(cell := cells.at(row, column)) and cell.sample(rule) for row in rows]
            there = [(y + _RULES[rule][0], sample) for y, sample in enumerate(samples) if sample]
            means, halves = [100 * s.mean for _, s in there], [100 * (s.half or 0) for _, s in there]
            axis.errorbar(means, [y for y, _ in there], xerr=halves, linewidth=0.8, markersize=3, **_RULES[rule][1])
    entries = [{"label": f"rule {rule}", **_RULES[rule][1]} for rule in rules]
    point = "Point: mean of the seeds; bar: 95 % t interval."
    order = f"Sorted by the mean over the settings under {rules[-1]}."
    return canvas.frame(figure, runs_of(cells), point, order, entries=entries)


_PRUNING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("precision", {"label": "pruned that are mislabelled (precision)", "color": canvas.INDIGO}),
    ("recall", {"label": "mislabelled that are pruned (recall)", "color": canvas.INDIGO, "linestyle": "--"}),
    ("kept_share", {"label": "kept share", "color": canvas.MIDDLE}),
)


@canvas.styled()
def pruning(cells: Cells) -> Figure | None:
    """Precision and recall of the pruned set and the kept share, a panel a cell whose loss prunes."""
    rounds = found(cells, lambda cell: [run.manifest["pruning"] for run in cell.runs if run.manifest.get("pruning")])
    if not rounds:
        return None
    cells = showing(cells, rounds)
    columns = len(cells.columns)  # a row of the table is a row of panels, where it is not too wide
    titles = [panel_label(cells, *place) for place in in_order(cells)]
    figure, axes = canvas.panels(titles, "epoch", columns if len(cells.rows) > 1 and 1 < columns <= 4 else 4)
    known = set()  # precision and recall are not, where the true labels are unknown
    for axis, place in zip(axes, in_order(cells), strict=True):
        axis.set(ylim=(-4, 104))
        axis.grid(axis="y")
        x = [0, *(row["after_epoch"] for row in rounds[place][0]), cells.cell[place].config["schedule.epochs"]]
        for key, look in _PRUNING:
            seeds = [_stepped(each, key) for each in rounds[place]]
            known |= {key for values in seeds if any(value is not None for value in values)}
            lines(axis, seeds, x, {**look, "label": None, "drawstyle": "steps-post"})
    entries = [look for key, look in _PRUNING if key in known]
    return canvas.frame(figure, runs_of(cells), SEEDS, y="share in %", entries=entries)


def _stepped(rounds: Sequence[Mapping[str, Any]], key: str) -> list[float | None]:
    """A value at the start, from each round on, and at the end: nothing changes between rounds."""
    values = [row[key] for row in rounds]
    return [1.0 if key == "kept_share" else None, *values, values[-1]]


def found(cells: Cells, value: Callable[[Cell], Found]) -> dict[Place, Found]:
    """What there is of each cell, by place."""
    return {place: there for place, cell in cells.cell.items() if (there := value(cell))}


def showing(cells: Cells, places: Container[Place]) -> Cells:
    """These cells, and their rows and columns alone; columns sorted by their names and numbers."""
    there = {place: cell for place, cell in cells.cell.items() if place in places}
    rows, columns = ({place[i] for place in there} for i in (0, 1))
    ordered = sorted(columns, key=lambda column: [in_sequence(value) for value in column])
    kept = tuple(row for row in cells.rows if row in rows)
    return dataclasses.replace(cells, rows=kept, columns=tuple(ordered), cell=there)


def on_a_page(cells: Cells, places: Container[Place], first: str) -> tuple[Cells, str]:
    """These cells in as many settings as fit a page (``Cells.page``), and a sentence that names those left out."""
    every = showing(cells, places)
    page = every.page(first)
    names = ", ".join(every.column_label(column) for column in every.columns if column not in page)
    return showing(every, [(row, column) for row in every.rows for column in page]), names and f"Left out: {names}."


def in_sequence(value: Any) -> tuple[bool, float, str]:
    """A sort key: numbers by size, then names."""
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0.0, str(value)


def in_order(cells: Cells) -> list[Place]:
    """The places of all cells, row by row."""
    return [(row, column) for row in cells.rows for column in cells.columns if cells.at(row, column)]


def panel_label(cells: Cells, row: Key, column: Key) -> str:
    """What tells a cell from the rest."""
    parts = [cells.row_label(row)] * (len(cells.rows) > 1) + [cells.column_label(column)] * (len(cells.columns) > 1)
    return ", ".join(parts or [cells.row_label(row), cells.column_label(column)])


def runs_of(cells: Cells) -> list[Sequence[Result]]:
    return [cell.runs for cell in cells.cell.values()]


def done(cell: Cell) -> list[Metrics]:
    """The metrics of each finished seed of a cell."""
    return [metrics for run in cell.runs if run.state == "done" and (metrics := run.metrics())]


def epochs(seeds: Sequence[Metrics]) -> list[float]:
    """Of the first seed, whose number of epochs all seeds of a cell have."""
    return [epoch or 0 for epoch in seeds[0]["epoch"]] if seeds else []


def lines(axis: Axes, seeds: Sequence[Values], x: Sequence[float], style: dict[str, Any]) -> None:
    """Every seed thin, their mean thick, in per cent."""
    for values in seeds:
        axis.plot(x, percent(values), **{**style, "linestyle": "-"}, linewidth=0.6, alpha=0.4)  # dots would be lost
    if seeds:
        axis.plot(x, percent(mean(seeds)), **style, linewidth=1.9)


def mean(seeds: Sequence[Values]) -> list[float | None]:
    """Mean over the seeds that have a value, position by position."""
    columns = [[value for value in column if value is not None] for column in zip(*seeds, strict=True)]
    return [sum(column) / len(column) if column else None for column in columns]


def percent(values: Values) -> list[float]:
    return [float("nan") if value is None else 100 * value for value in values]
