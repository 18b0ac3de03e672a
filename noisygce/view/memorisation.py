"""Memorisation over epochs: what becomes of the mislabelled training samples.

As in curves.py: from the cells of an experiment to a matplotlib figure, or None; finished runs only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisygce.view import canvas, curves
from noisygce.view.cells import Cell, Cells
from noisygce.view.curves import done, lines, mean, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_SIDE_BY_SIDE = 4  # rows of an overview

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
    coloured = (
        every if len(every) <= curves.MOST else rows
    )  # a loss has the colour that it has among all lines of ``accuracy``
    entries = [(label, canvas.style(coloured.index(label))) for label in rows]
    for label, style in entries:
        seeds = done(runs[label])
        lines(left, [run["test_accuracy"] for run in seeds], seeds[0]["epoch"], style)
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


def _stack(axis: Axes, seeds: Sequence[Mapping[str, Sequence[float]]]) -> None:
    axis.set_ylim(0, 100)
    axis.margins(x=0)
    if not seeds:
        axis.text(0.5, 0.5, "no run yet", transform=axis.transAxes, ha="center", va="center", color=canvas.GREY)
        return
    epochs = seeds[0]["epoch"]
    floor = [0.0] * len(epochs)
    for key, _, colour in _FATES:
        part = percent(mean([seed[key] for seed in seeds]))
        if not any(part):
            continue
        top = [low + high for low, high in zip(floor, part, strict=True)]
        axis.fill_between(epochs, floor, top, color=colour, linewidth=0)
        floor = top
