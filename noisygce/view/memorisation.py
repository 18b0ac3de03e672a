"""Memorisation over epochs: what becomes of the mislabelled training samples.

As in curves.py: from the cells of an experiment to a matplotlib figure, or None; finished runs only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisygce.view import canvas, curves
from noisygce.view.cells import Cell, Cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FATES: dict[str, dict[str, Any]] = {  # from the bottom up
    "mislabelled_as_true": {"label": "predicted: true label", "facecolor": canvas.LIGHT},
    "mislabelled_as_noisy": {"label": "predicted: its wrong label (memorised)", "facecolor": canvas.INDIGO},
    "mislabelled_as_other": {"label": "predicted: another label", "facecolor": canvas.MIDDLE},
    "pruned": {"label": "pruned", "facecolor": "#ffffff", "hatch": "////", "edgecolor": canvas.MIDDLE},
}

_MIXES = "noisygce.losses.Mixup"
_MIXED = "* Predictions on images mixed in pairs, where another label may be the partner's: not comparable."


@canvas.styled()
def memorisation(cells: Cells, first: str = "") -> Figure | None:
    """What the network predicts for the mislabelled training samples, mean of the seeds: a panel a cell, of the
    settings that fit a page."""
    fates = curves.found(cells, _fates)
    if not fates:
        return None
    cells, left_out = curves.on_a_page(cells, fates, first)
    shown = curves.in_order(cells)
    grid = len(shown) == len(cells.rows) * len(cells.columns) and 1 < len(cells.columns) <= 8  # labelled at its edges
    across = len(cells.columns) if grid else min(6, len(shown))
    marks = {place: _mark(cells.cell[place]) for place in shown}
    titles = [
        curves.panel_label(cells, *place) + marks[place]
        if not grid
        else cells.column_label(place[1]) * (place[0] == cells.rows[0])
        for place in shown
    ]
    figure, axes = canvas.panels(titles, "epoch", across, (2.0, 1.7) if across <= 4 else (1.5, 1.4))
    for axis, (row, column) in zip(axes, shown, strict=True):
        if grid and column == cells.columns[0]:
            axis.set_ylabel(canvas.wrapped(cells.row_label(row) + marks[row, column], 17))
        _stack(axis, fates[row, column])
    setting = f", {cells.column_label(cells.columns[0])}" if len(cells.columns) == 1 else ""
    heading = f"Mislabelled training samples{setting}"
    notes = "Mean of the seeds.", left_out, _footnote(cells.cell.values())
    entries = _entries(fates[place] for place in shown)
    return canvas.frame(figure, curves.runs_of(cells), *notes, y="share in %", heading=heading, entries=entries)


@canvas.styled()
def overview(cells: Cells, shown: Mapping[str, Any]) -> Figure | None:
    """Accuracy beside memorisation of a few rows in one setting; shown: labels of the ``rows`` and the ``column``."""
    runs = curves.found(cells, curves.done)
    there = {cells.row_label(r): (r, c) for r, c in runs if cells.column_label(c) == shown.get("column")}
    places = [there[label] for label in shown.get("rows", ()) if label in there]
    if not places:
        return None
    drawn = curves.showing(cells, places)
    styles, used = curves.row_styles(cells), [drawn.cell[place] for place in places]
    titles = [drawn.row_label(row) + _mark(drawn.cell[row, column]) for row, column in places]
    ratios = {"width_ratios": [1.8, *(1 for _ in places)]}
    figure, (left, *right) = canvas.panels(["", *titles], "epoch", 1 + len(places), (1.7, 2.4), sharey=False, **ratios)
    left.set_ylabel("test accuracy in %")
    left.grid(axis="y")
    for axis, place in zip(right, places, strict=True):
        curves.lines(left, [run["test_accuracy"] for run in runs[place]], curves.epochs(runs[place]), styles[place[0]])
        axis.tick_params(labelleft=axis is right[0])
        _stack(axis, _fates(drawn.cell[place]))
    right[0].set_ylabel("mislabelled samples in %")
    entries = [{"label": drawn.row_label(row), **styles[row]} for row, _ in places] + _entries(map(_fates, used))
    notes = curves.SEEDS, _footnote(used)
    return canvas.frame(figure, curves.runs_of(drawn), *notes, heading=str(shown["column"]), entries=entries)


def _mark(cell: Cell) -> str:
    """What tells a cell whose network predicts for mixed images, to which ``_footnote`` belongs."""
    return " *" if cell.config.get("loss._target_") == _MIXES else ""


def _footnote(cells: Iterable[Cell]) -> str:
    return _MIXED if any(map(_mark, cells)) else ""


def _entries(fates: Iterable[list[dict[str, list[float]]]]) -> list[dict[str, Any]]:
    """Of a legend: pruned only where any is."""
    pruned = any(any(seed["pruned"]) for seeds in fates for seed in seeds)
    return [look for key, look in reversed(FATES.items()) if key != "pruned" or pruned]


def _fates(cell: Cell) -> list[dict[str, list[float]]]:
    """What became of all mislabelled training samples of each seed, epoch by epoch: shares that sum to 1.

    metrics.csv counts those that took part in an epoch. Where pruned samples leave the epoch, which may be nearly all
    of the mislabelled, their share is the recall of the last pruning before it.
    """
    found = []
    predicted = [key for key in FATES if key != "pruned"]
    for run in cell.runs:
        metrics = run.metrics() if run.state == "done" else {}
        if not any(value is not None for value in metrics.get(predicted[0], [])):
            continue  # no mislabelled sample at all
        epochs = [epoch or 0 for epoch in metrics["epoch"]]
        rounds = run.manifest.get("pruning", []) if run.config.get("prune.mode") == "drop" else []
        gone = [next((r["recall"] or 0 for r in reversed(rounds) if r["after_epoch"] < epoch), 0) for epoch in epochs]
        parts = {key: [(v or 0) * (1 - g) for v, g in zip(metrics[key], gone, strict=True)] for key in predicted}
        found.append({"epoch": epochs, **parts, "pruned": gone})
    return found


def _stack(axis: Axes, seeds: Sequence[Mapping[str, Sequence[float]]]) -> None:
    """Shares one upon another: each epoch a step, from its begin to its end."""
    axis.set_ylim(0, 100)
    axis.margins(x=0)
    if not seeds:
        return
    ends = seeds[0]["epoch"]
    floor = [0.0] * len(ends)
    for key, look in FATES.items():
        part = curves.percent(curves.mean([seed[key] for seed in seeds]))
        if not any(part):
            continue
        top = [low + high for low, high in zip(floor, part, strict=True)]
        axis.stairs(top, [ends[0] - 1, *ends], baseline=floor, fill=True, linewidth=0, **look)
        floor = top
