"""Curves over epochs: test accuracy, and what pruning keeps.

Each drawing takes the cells of an experiment and returns a matplotlib figure, or None where no run shows it yet. Only
finished runs are drawn. Seeds are thin, their mean is bold.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisygce.view import canvas
from noisygce.view.cells import Cell, Cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 8  # lines in a panel beyond which single seeds would hide them

_MEASURES = {"test_accuracy": "test accuracy in %", "val_accuracy": "noisy validation accuracy in %"}

Values = Sequence[float | None]  # of one seed, an epoch or a round each; None where there is nothing to divide by


def accuracy(cells: Cells, first: str = "") -> Figure | None:
    """Test accuracy over epochs, or accuracy on noisy validation where no run has a test set: a panel a setting, a line
    a row of the table; where these are many, a panel a row of the settings that fit a page (``Cells.page``), before the
    range of all rows in grey."""
    every = [run for cell in cells.cell.values() for run in done(cell)]
    measures = [key for key in _MEASURES if any(value is not None for run in every for value in run.get(key, []))]
    if not measures:
        return None
    key = measures[0]
    if len(cells.rows) > MOST:
        return _small_multiples(cells, first, key)
    columns = [c for c in cells.columns if any((cell := cells.at(r, c)) and done(cell) for r in cells.rows)]
    if not columns:
        return None
    figure, axes = canvas.panels(len(columns))
    for axis, column in zip(axes, columns, strict=True):
        canvas.title(axis, cells.column_label(column))
        axis.grid(axis="y", color=canvas.GREY, alpha=0.3, linewidth=0.5)
        for i, row in enumerate(cells.rows):
            runs = done(cells.at(row, column))
            lines(axis, [run[key] for run in runs], runs[0]["epoch"] if runs else [], canvas.style(i))
    canvas.whole_ticks(axes[0])
    canvas.label(figure, "epoch", _MEASURES[key])
    canvas.legend(figure, [(cells.row_label(r), canvas.style(i)) for i, r in enumerate(cells.rows)])
    return figure


def _small_multiples(cells: Cells, first: str, key: str) -> Figure | None:
    seeds = {
        (row, column): runs
        for column in cells.page(first)
        for row in cells.rows
        if (runs := done(cells.at(row, column)))
    }
    if not seeds:
        return None
    means = {place: mean([run[key] for run in runs]) for place, runs in seeds.items()}
    settings = list(dict.fromkeys(cells.column_label(column) for _, column in seeds))
    figure, axes = canvas.panels(len(seeds), 6, (1.5, 1.4))
    for axis, (row, column) in zip(axes, seeds, strict=True):
        canvas.title(
            axis, ", ".join([cells.row_label(row), *([cells.column_label(column)] if len(settings) > 1 else [])])
        )
        _range(axis, [values for (_, other), values in means.items() if other == column])
        accuracies = [run[key] for run in seeds[row, column]]
        lines(axis, accuracies, seeds[row, column][0]["epoch"], canvas.style(0))
    canvas.label(figure, "epoch", _MEASURES[key])
    if len(settings) == 1:
        canvas.headline(figure, settings[0])
    return figure


_PRUNING = (
    ("precision", "pruned that are mislabelled (precision)", {"color": canvas.BLUE}),
    ("recall", "mislabelled that are pruned (recall)", {"color": canvas.VERMILLION, "linestyle": "--"}),
    ("kept_share", "kept of all", {"color": canvas.GREEN}),
)


def pruning(cells: Cells) -> Figure | None:
    """Precision and recall of the pruned set and the share of kept samples, a panel a cell whose loss prunes."""
    places = [(row, column) for row in cells.rows for column in cells.columns]
    shown = {place: rounds for place in places if (cell := cells.cell.get(place)) and (rounds := _rounds(cell))}
    if not shown:
        return None
    one = len({row for row, _ in shown}) == 1
    columns = len(cells.columns)  # a row of the table is a row of panels, where it is not too wide
    figure, axes = canvas.panels(len(shown), columns if not one and 1 < columns <= 4 else 4)
    canvas.whole_ticks(axes[0])
    for axis, ((row, column), seeds) in zip(axes, shown.items(), strict=True):
        canvas.title(
            axis, cells.column_label(column) if one else f"{cells.row_label(row)}, {cells.column_label(column)}"
        )
        axis.set_ylim(-4, 104)
        axis.grid(axis="y", color=canvas.GREY, alpha=0.3, linewidth=0.5)
        epochs = [r["after_epoch"] for r in seeds[0]]
        for key, _, style in _PRUNING:
            lines(axis, [[r[key] for r in rounds] for rounds in seeds], epochs, style, marker="o")
    every = [row for seeds in shown.values() for rounds in seeds for row in rounds]
    known = [each for each in _PRUNING if any(row[each[0]] is not None for row in every)]  # truth may be unknown
    canvas.label(figure, "epochs done when pruned", "share in %")
    canvas.legend(figure, [(name, style) for _, name, style in known])
    return figure


def done(cell: Cell | None) -> list[dict[str, list[Any]]]:
    """The metrics of each finished seed of a cell."""
    found = [run.metrics() for run in cell.runs if run.state == "done"] if cell else []
    return [metrics for metrics in found if metrics]


def _rounds(cell: Cell) -> list[list[Mapping[str, Any]]]:
    """The prunings of each finished seed."""
    return [run.manifest["pruning"] for run in cell.runs if run.manifest.get("pruning")]


def lines(axis: Axes, seeds: Sequence[Values], x: Sequence[float], style: dict[str, Any], marker: str = "") -> None:
    """Every seed thin, their mean bold, in per cent."""
    for values in seeds:
        axis.plot(x, percent(values), **style, linewidth=0.6, alpha=0.5)
    if seeds:
        axis.plot(x, percent(mean(seeds)), **style, linewidth=1.9, marker=marker, markersize=3)


def _range(axis: Axes, rows: Sequence[Values]) -> None:
    """Where the rows lie, epoch by epoch: from the lowest to the highest, and darker their middle half."""
    found = [sorted(v for v in at if v is not None) or [float("nan")] for at in itertools.zip_longest(*rows)]
    for left_out in (0, 0.25):
        low, high = ([at[end + side * int(left_out * len(at))] for at in found] for end, side in ((0, 1), (-1, -1)))
        epochs = range(1, len(found) + 1)
        axis.fill_between(epochs, percent(low), percent(high), color=canvas.GREY, alpha=0.3, linewidth=0)


def mean(seeds: Sequence[Values]) -> list[float | None]:
    """Mean over the seeds that have a value, position by position."""
    columns = [[value for value in column if value is not None] for column in zip(*seeds, strict=True)]
    return [sum(column) / len(column) if column else None for column in columns]


def percent(values: Values) -> list[float]:
    return [float("nan") if value is None else 100 * value for value in values]
