"""Memorisation over epochs: what the network predicts for the mislabelled training samples.

As in curves.py: from the cells of an experiment to a matplotlib figure, or None; finished runs only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from noisygce.view import canvas, curves
from noisygce.view.cells import Cell, Cells, Place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

PREDICTIONS: dict[str, dict[str, Any]] = {  # columns of metrics.csv, from the bottom up
    "mislabelled_as_true": {"label": "predicted: true label", "facecolor": canvas.LIGHT},
    "mislabelled_as_noisy": {"label": "predicted: its wrong label (memorised)", "facecolor": canvas.INDIGO},
    "mislabelled_as_other": {"label": "predicted: another label", "facecolor": canvas.MIDDLE},
}
PRUNED = {"label": "pruned", "facecolor": "#ffffff", "hatch": "////", "edgecolor": canvas.MIDDLE}

_MIXED = "* Predictions on images mixed in pairs, where another label may be the partner's: not comparable."


@canvas.styled()
def memorisation(cells: Cells, first: str = "") -> Figure | None:
    """What the network predicts for the mislabelled training samples, mean of the seeds: a panel a cell, of the
    settings that fit a page."""
    every = _all_shares(cells)
    if not every:
        return None
    cells, left_out = canvas.page(cells.only(every), first)
    grid = len(cells.places) == len(cells.rows) * len(cells.columns) and 1 < len(cells.columns) <= 8
    across = len(cells.columns) if grid else min(6, len(cells.places))
    titles = [cells.label(place) + _mark(cells.cell[place]) for place in cells.places]
    if grid:  # which is labelled at its edges
        titles = [cells.column_label(column) if row == cells.rows[0] else "" for row, column in cells.places]
    figure, axes = canvas.panels(titles, "epoch", across, (2.0, 1.7) if across <= 4 else (1.5, 1.4))
    for axis, place in zip(axes, cells.places, strict=True):
        if grid and place[1] == cells.columns[0]:
            axis.set_ylabel(canvas.wrapped(cells.row_label(place[0]) + _mark(cells.cell[place]), 17))
        _stack(axis, every[place])
    setting = f", {cells.column_label(cells.columns[0])}" if len(cells.columns) == 1 else ""
    heading = f"Mislabelled training samples{setting}"
    notes = canvas.MEAN, left_out, _footnote(cells)
    entries = _entries(every[place] for place in cells.places)
    return canvas.frame(figure, cells, *notes, y="share in %", heading=heading, entries=entries)


_ORACLE = " (oracle)"  # of a row's label, which ``table.overview`` may leave out


@canvas.styled()
def overview(cells: Cells, shown: Mapping[str, Any]) -> Figure | None:
    """Accuracy beside memorisation of a few rows in one setting; shown: labels of the ``rows`` and the ``column``."""
    there = {
        cells.row_label(row).removesuffix(_ORACLE): (row, column)
        for row, column in cells.places
        if cells.column_label(column) == str(shown.get("column"))
    }
    labels = [str(label).removesuffix(_ORACLE) for label in shown.get("rows", ())]
    places = [there[label] for label in labels if label in there]
    places = [place for place in places if not curves.seeds(cells.cell[place], "test_accuracy").empty]
    if not places:
        return None
    styles, drawn = curves.row_styles(cells), cells.only(places)
    shares = _all_shares(drawn)
    titles = [drawn.row_label(place[0]) + _mark(drawn.cell[place]) for place in places]
    ratios = {"width_ratios": [1.8, *(1 for _ in places)]}
    figure, (left, *right) = canvas.panels(["", *titles], "epoch", 1 + len(places), (1.7, 2.4), sharey=False, **ratios)
    left.set_ylabel("test accuracy in %")
    left.grid(axis="y")
    right[0].set_ylabel("mislabelled samples in %")
    for axis, place in zip(right, places, strict=True):
        curves.lines(left, curves.seeds(drawn.cell[place], "test_accuracy"), styles[place[0]])
        axis.tick_params(labelleft=axis is right[0])
        if place in shares:
            _stack(axis, shares[place])
    entries = [{"label": drawn.row_label(row), **styles[row]} for row, _ in places] + _entries(shares.values())
    notes = canvas.THIN_AND_THICK, _footnote(drawn)
    return canvas.frame(figure, drawn, *notes, heading=str(shown["column"]), entries=entries)


def _mark(cell: Cell) -> str:
    """The mark of a cell whose network predicts for mixed images, which ``_footnote`` explains."""
    return " *" if any(run.mixes_images for run in cell.runs) else ""


def _footnote(cells: Cells) -> str:
    return _MIXED if any(map(_mark, cells.cell.values())) else ""


def _entries(shares: Iterable[DataFrame]) -> list[dict[str, Any]]:
    """Of a legend, from the top down: pruned only where any is."""
    pruned = [PRUNED] if any(frame["pruned"].any() for frame in shares) else []
    return [*pruned, *reversed(PREDICTIONS.values())]


def _all_shares(cells: Cells) -> dict[Place, DataFrame]:
    found = {place: shares(cell) for place, cell in cells.cell.items()}
    return {place: frame for place, frame in found.items() if frame is not None}


def shares(cell: Cell) -> DataFrame | None:
    """Shares of all mislabelled training samples, mean of the seeds in per cent: a row an epoch, a column for each of
    ``PREDICTIONS`` and ``pruned``, which sum to 100. None where no finished run has a mislabelled sample.

    metrics.csv counts those that took part in an epoch. Where pruned samples leave the epoch, which may be nearly all
    of the mislabelled, their share is the recall of the last pruning before it.
    """
    import pandas as pd

    found = []
    for run in cell.runs:
        metrics = run.metrics() if run.state == "done" else pd.DataFrame()
        if metrics.empty or metrics[[*PREDICTIONS]].isna().all(axis=None):
            continue
        parts = metrics.set_index("epoch")[[*PREDICTIONS]].astype(float).fillna(0)
        parts["pruned"] = 0.0
        for each in run.manifest.get("pruning", []) if run.config.get("prune.mode") == "drop" else []:
            parts.loc[parts.index > each["after_epoch"], "pruned"] = each["recall"] or 0
        parts[[*PREDICTIONS]] = parts[[*PREDICTIONS]].mul(1 - parts["pruned"], axis=0)
        found.append(100 * parts)
    return pd.concat(found).groupby(level="epoch").mean() if found else None


def _stack(axis: Axes, shares: DataFrame) -> None:
    """Shares one upon another: each epoch a step, from its beginning to its end."""
    axis.set_ylim(0, 100)
    axis.margins(x=0)
    edges, tops = [shares.index[0] - 1, *shares.index], shares.cumsum(axis=1)
    for key, style in {**PREDICTIONS, "pruned": PRUNED}.items():
        if shares[key].any():
            axis.stairs(tops[key], edges, baseline=tops[key] - shares[key], fill=True, linewidth=0, **style)
