"""Curves over epochs: test accuracy, what pruning keeps, and what becomes of mislabelled samples.

Each drawing takes the cells of an experiment and returns a matplotlib figure, or None where no run shows it yet. Only
finished runs are drawn. Seeds are thin, their mean is bold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisygce.view import canvas
from noisygce.view.cells import Cell, Cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_SIDE_BY_SIDE = 4  # rows of an overview
_MOST = 8  # lines in a panel beyond which single seeds would hide them

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
    if len(cells.rows) > _MOST:
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
            _lines(axis, [run[key] for run in runs], runs[0]["epoch"] if runs else [], canvas.style(i))
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
        _lines(axis, accuracies, seeds[row, column][0]["epoch"], canvas.style(0))
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
            _lines(axis, [[r[key] for r in rounds] for rounds in seeds], epochs, style, marker="o")
    every = [row for seeds in shown.values() for rounds in seeds for row in rounds]
    known = [each for each in _PRUNING if any(row[each[0]] is not None for row in every)]  # truth may be unknown
    canvas.label(figure, "epochs done when pruned", "share in %")
    canvas.legend(figure, [(name, style) for _, name, style in known])
    return figure


_FATES = (
    ("mislabelled_as_true", "said to be their true label", canvas.GREEN),
    ("mislabelled_as_noisy", "their wrong label (memorised)", canvas.VERMILLION),
    ("mislabelled_as_other", "another label", canvas.GREY),
    ("pruned", "pruned, not trained on", canvas.SKY),
)

_MIXES = "noisygce.losses.Mixup"
_MIXED = "Asked of images mixed in pairs, where another label may be the partner's: not to be compared with the others."


def memorisation(cells: Cells, first: str = "") -> Figure | None:
    """What the network says of the mislabelled training samples, mean of the seeds: a panel a cell, of the settings
    that fit a page (``Cells.page``)."""
    columns = cells.page(first)
    places = [(r, c) for r in cells.rows for c in columns]
    runs = {place: found for place in places if (cell := cells.cell.get(place)) and (found := _fates(cell))}
    if not runs:
        return None
    grid = 1 < len(columns) <= 8  # settings named on top, rows at the left
    shown = places if grid else list(runs)
    across = len(columns) if grid else min(6, len(shown))
    figure, axes = canvas.panels(len(shown), across, (2.0, 1.7) if across <= 4 else (1.5, 1.4))
    for axis, (row, column) in zip(axes, shown, strict=True):
        name = f"{cells.row_label(row)}{_mark(cells.cell.get((row, column)))}"
        if not grid:
            canvas.title(axis, name)
        elif row == cells.rows[0]:
            canvas.title(axis, cells.column_label(column))
        if grid and column == columns[0]:
            axis.set_ylabel(name, color=canvas.INK)
        _stack(axis, runs.get((row, column), []))
    canvas.label(figure, "epoch", "share in %")
    setting = "" if grid else f", {cells.column_label(columns[0])}"
    canvas.legend(figure, _patches(runs.values()))
    canvas.headline(figure, f"Mislabelled training samples{setting}")
    _footnote(figure, [cells.cell[place] for place in runs])
    return figure


def overview(cells: Cells, shown: Mapping[str, Any]) -> Figure | None:
    """Accuracy beside memorisation of a few rows in one setting; shown: labels of the ``rows`` and the ``column``."""
    runs = {
        cells.row_label(row): cell
        for (row, column), cell in cells.cell.items()
        if cells.column_label(column) == shown.get("column") and done(cell)
    }
    rows = [label for label in shown.get("rows", ()) if label in runs][:_MOST_SIDE_BY_SIDE]
    if not rows:
        return None
    figure, left, right = canvas.halves(len(rows))
    every = [cells.row_label(row) for row in cells.rows]
    lines = every if len(every) <= _MOST else rows  # a loss has the colour that it has among all lines of ``accuracy``
    entries = [(label, canvas.style(lines.index(label))) for label in rows]
    for label, style in entries:
        seeds = done(runs[label])
        _lines(left, [run["test_accuracy"] for run in seeds], seeds[0]["epoch"], style)
    left.grid(axis="y", color=canvas.GREY, alpha=0.3, linewidth=0.5)
    canvas.heading(figure.subfigs[0], f"Test accuracy in %, {shown['column']}")
    canvas.legend_below(figure.subfigs[0], entries)
    fates = {label: _fates(runs[label]) for label in rows}
    for axis, label in zip(right, rows, strict=True):
        canvas.title(axis, f"{label}{_mark(runs[label])}")
        _stack(axis, fates[label])
    canvas.heading(figure.subfigs[1], "What the network says of the mislabelled training samples, in %")
    canvas.legend_below(figure.subfigs[1], _patches(fates.values()))
    _footnote(figure, [runs[label] for label in rows])
    return figure


def _mark(cell: Cell | None) -> str:
    """What tells a cell whose network is asked of mixed images, to which ``_footnote`` belongs."""
    return " *" if cell and cell.config.get("loss._target_") == _MIXES else ""


def _footnote(figure: Figure, cells: Sequence[Cell]) -> None:
    if any(map(_mark, cells)):
        canvas.note(figure, "* " + _MIXED)


def _patches(fates: Iterable[list[dict[str, list[float]]]]) -> list[tuple[str, dict[str, Any]]]:
    """Entries of a legend: pruned only where any is."""
    pruned = any(any(seed["pruned"]) for seeds in fates for seed in seeds)
    return [(name, {"facecolor": colour}) for key, name, colour in _FATES if key != "pruned" or pruned]


def _fates(cell: Cell) -> list[dict[str, list[float]]]:
    """What became of all mislabelled training samples of each seed, epoch by epoch: shares that sum to 1.

    metrics.csv counts those that took part in an epoch. Where pruned samples leave the epoch, which may be nearly all
    of the mislabelled, their share is the recall of the last pruning before it.
    """
    found = []
    for run in cell.runs:
        metrics = run.metrics() if run.state == "done" else {}
        if not any(value is not None for value in metrics.get(_FATES[0][0], [])):
            continue  # no mislabelled sample at all
        epochs = [epoch or 0 for epoch in metrics["epoch"]]
        rounds = run.manifest.get("pruning", []) if run.config.get("prune.mode") == "drop" else []
        gone = [next((r["recall"] or 0 for r in reversed(rounds) if r["after_epoch"] < epoch), 0) for epoch in epochs]
        parts = {k: [(v or 0) * (1 - g) for v, g in zip(metrics[k], gone, strict=True)] for k, _, _ in _FATES[:3]}
        found.append({"epoch": epochs, **parts, "pruned": gone})
    return found


def done(cell: Cell | None) -> list[dict[str, list[Any]]]:
    """The metrics of each finished seed of a cell."""
    found = [run.metrics() for run in cell.runs if run.state == "done"] if cell else []
    return [metrics for metrics in found if metrics]


def _rounds(cell: Cell) -> list[list[Mapping[str, Any]]]:
    """The prunings of each finished seed."""
    return [run.manifest["pruning"] for run in cell.runs if run.manifest.get("pruning")]


def _lines(axis: Axes, seeds: Sequence[Values], x: Sequence[float], style: dict[str, Any], marker: str = "") -> None:
    """Every seed thin, their mean bold, in per cent."""
    for values in seeds:
        axis.plot(x, _percent(values), **style, linewidth=0.6, alpha=0.5)
    if seeds:
        axis.plot(x, _percent(mean(seeds)), **style, linewidth=1.9, marker=marker, markersize=3)


def _range(axis: Axes, rows: Sequence[Values]) -> None:
    """Where the rows lie, epoch by epoch: from the lowest to the highest, and darker their middle half."""
    found = [sorted(v for v in at if v is not None) or [float("nan")] for at in itertools.zip_longest(*rows)]
    for left_out in (0, 0.25):
        low, high = ([at[end + side * int(left_out * len(at))] for at in found] for end, side in ((0, 1), (-1, -1)))
        epochs = range(1, len(found) + 1)
        axis.fill_between(epochs, _percent(low), _percent(high), color=canvas.GREY, alpha=0.3, linewidth=0)


def _stack(axis: Axes, seeds: Sequence[Mapping[str, Sequence[float]]]) -> None:
    axis.set_ylim(0, 100)
    axis.margins(x=0)
    if not seeds:
        axis.text(0.5, 0.5, "no run yet", transform=axis.transAxes, ha="center", va="center", color=canvas.GREY)
        return
    epochs = seeds[0]["epoch"]
    floor = [0.0] * len(epochs)
    for key, _, colour in _FATES:
        part = _percent(mean([seed[key] for seed in seeds]))
        if not any(part):
            continue
        top = [low + high for low, high in zip(floor, part, strict=True)]
        axis.fill_between(epochs, floor, top, color=colour, linewidth=0)
        floor = top


def mean(seeds: Sequence[Values]) -> list[float | None]:
    """Mean over the seeds that have a value, position by position."""
    columns = [[value for value in column if value is not None] for column in zip(*seeds, strict=True)]
    return [sum(column) / len(column) if column else None for column in columns]


def _percent(values: Values) -> list[float]:
    return [float("nan") if value is None else 100 * value for value in values]
