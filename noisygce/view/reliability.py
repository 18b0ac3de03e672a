"""Reliability diagrams: how often a model is right among the test samples of which it is so and so sure.

As in curves.py: from the cells of an experiment to a matplotlib figure, or None; finished runs only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from noisygce.results import MODELS, Result
from noisygce.view import canvas, curves
from noisygce.view.cells import Cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOTE = (
    "Of the model that a run keeps, before temperature scaling. Points: bins of equally many test samples by "
    "confidence, one seed; line: mean of the seeds. Below the diagonal a model is more confident than it is right."
)
Bins = Sequence[dict[str, Any]]  # of one seed: count, confidence, accuracy


@canvas.styled()
def reliability(cells: Cells, first: str = "") -> Figure | None:
    """Accuracy over confidence on the test set: a panel a setting, a line a row of the table; of more than
    ``curves.MOST`` rows a panel a cell, of the settings that fit a page."""
    styles, left_out = curves.row_styles(cells), ""
    cells = cells.of(lambda run: bool(_bins(run)))
    if not cells.cell:
        return None
    together = len(cells.rows) <= curves.MOST
    if not together:
        cells, left_out = canvas.page(cells, first)
    places = cells.places
    shown = (
        [[(r, c) for r, c in places if c == column] for column in cells.columns] if together else [[p] for p in places]
    )
    titles = [cells.column_label(c) if together else cells.label((r, c)) for ((r, c), *_) in shown]
    figure, axes = canvas.panels(
        titles, "confidence in %", 4 if together else 6, (2.3, 2.2) if together else (1.5, 1.5)
    )
    for axis, group in zip(axes, shown, strict=True):
        axis.set(xlim=(0, 100), ylim=(0, 100))
        axis.axline((0, 0), (100, 100), color=canvas.MIDDLE, linewidth=0.7)
        for row, column in group:
            _lines(axis, [*map(_bins, cells.cell[row, column].runs)], styles[row])
    entries = [{"label": cells.row_label(row), **styles[row]} for row in cells.rows] if together else []
    return canvas.frame(figure, cells, _NOTE, left_out, y="accuracy in %", entries=entries)


def _bins(run: Result) -> Bins:
    """Those of the kept model; none of a run that is not finished or was made without calibration."""
    found = run.manifest and (run.manifest.get("calibration") or {}).get(MODELS[run.kept_by])
    return found["plain"]["bins"] if found else []


def _lines(axis: Axes, seeds: Sequence[Bins], style: dict[str, Any]) -> None:
    """The bins of each seed, and a line through their means where all seeds have as many: the i-th bin of each then
    holds as many samples of one test set."""
    curves_of = {key: [[100 * each[key] for each in bins] for bins in seeds] for key in ("confidence", "accuracy")}
    for x, y in zip(curves_of["confidence"], curves_of["accuracy"], strict=True):
        axis.plot(x, y, color=style["color"], linestyle="", marker=".", markersize=3.5, alpha=0.45, markeredgewidth=0)
    if len({len(bins) for bins in seeds}) == 1:
        x, y = ([sum(bin) / len(bin) for bin in zip(*each, strict=True)] for each in curves_of.values())
        axis.plot(x, y, **style, linewidth=1.4)
