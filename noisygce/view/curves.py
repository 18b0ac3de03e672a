"""Figures of accuracy and of what pruning keeps.

Each drawing takes the cells of an experiment and returns a matplotlib figure, or None where no run shows it yet. Only
finished runs are drawn.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from noisygce.results import NOISY_VALIDATION
from noisygce.view import canvas
from noisygce.view.cells import Cell, Cells, Key, Place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST = 12  # lines in a panel; of more rows the final accuracies are drawn
_MEASURES = {"test_accuracy": "test accuracy in %", "val_accuracy": "noisy validation accuracy in %"}


@canvas.styled()
def accuracy(cells: Cells) -> Figure | None:
    """Test accuracy over epochs, or accuracy on noisy validation where no run has a test set: a panel a setting, a line
    a row of the table; of more than ``MOST`` rows the final accuracies, sorted."""
    styles = row_styles(cells)
    for measure in _MEASURES:
        found = _known(cells, measure)
        if found:
            break
    else:
        return None
    label = _MEASURES[measure]
    cells = cells.only(found)
    if len(cells.rows) > MOST:
        return _final(cells, ("val", "last") if measure == "test_accuracy" else (NOISY_VALIDATION,), label)
    figure, axes = canvas.panels([*map(cells.column_label, cells.columns)], "epoch")
    for axis, column in zip(axes, cells.columns, strict=True):
        axis.grid(axis="y")
        for row in cells.rows:
            if (row, column) in found:
                lines(axis, found[row, column], styles[row])
    entries = [{"label": cells.row_label(row), **styles[row]} for row in cells.rows]
    return canvas.frame(figure, cells, canvas.THIN_AND_THICK, y=label, entries=entries)


def _known(cells: Cells, metric: str) -> dict[Place, DataFrame]:
    """A metric of each cell that has it."""
    found = {place: seeds(cell, metric) for place, cell in cells.cell.items()}
    return {place: frame for place, frame in found.items() if frame.notna().any(axis=None)}


def seeds(cell: Cell, metric: str) -> DataFrame:
    """A metric of the finished runs of a cell in per cent: a row an epoch, a column a seed."""
    import pandas as pd

    found = {}
    for run in cell.runs:
        if run.state == "done" and not (metrics := run.metrics()).empty:
            found[run.config["seed"]] = metrics.set_index("epoch").reindex(columns=[metric])[metric]
    return 100 * pd.DataFrame(found)


def lines(axis: Axes, seeds: DataFrame, style: dict[str, Any]) -> None:
    """Every seed thin, their mean thick."""
    axis.plot(seeds.index, seeds, **{**style, "linestyle": "-"}, linewidth=0.6, alpha=0.4)  # dots would be lost
    axis.plot(seeds.index, seeds.mean(axis=1), **style, linewidth=1.9)


def row_styles(cells: Cells) -> dict[Key, dict[str, Any]]:
    """Colour and line style of each row: its loss's colour, and another line style for each further row of a loss; of
    rows that no loss tells apart, a ramp."""
    losses: dict[Key, set[str]] = {row: set() for row in cells.rows}
    for (row, _), cell in cells.cell.items():
        losses[row].add(str(cell.config["loss.name"]))
    names = [min(found) for found in losses.values()]
    if len({*names}) == 1 < len(names) or any(len(found) > 1 for found in losses.values()):
        return dict(zip(cells.rows, canvas.ramp(len(cells.rows)), strict=True))
    styles = canvas.loss_styles(names)
    looks = [canvas.variant(styles[name], names[:i].count(name)) for i, name in enumerate(names)]
    return dict(zip(cells.rows, looks, strict=True))


_DOT = {"color": canvas.INK, "marker": "D", "linestyle": ""}
_RULES: dict[str, tuple[float, dict[str, Any]]] = {  # how far above a row, and the look
    "val": (0.18, {**_DOT, "color": canvas.MIDDLE, "marker": "o"}),
    "last": (-0.18, _DOT),
    NOISY_VALIDATION: (0, _DOT),
}


def _final(cells: Cells, rules: tuple[str, ...], label: str) -> Figure:
    """Mean and 95 % t interval of the seeds under each rule: a panel a setting, rows sorted by their mean under the
    last rule over the settings."""
    rules = tuple(rule for rule in rules if any(cell.sample(rule) for cell in cells.cell.values()))

    def mean(row: Key) -> float:
        samples = [cells.sample(row, column, rules[-1]) for column in cells.columns]
        return statistics.fmean([sample.mean for sample in samples if sample] or [0.0])

    rows = sorted(cells.rows, key=mean)
    size = (1.7, 0.5 + 0.16 * len(rows))
    figure, axes = canvas.panels([*map(cells.column_label, cells.columns)], label, 6, size, sharex=False)
    axes[0].set_yticks(range(len(rows)), [cells.row_label(row) for row in rows])
    axes[0].set_ylim(-1, len(rows))
    for axis, column in zip(axes, cells.columns, strict=True):
        axis.grid()
        for rule in rules:
            above, style = _RULES[rule]
            samples = [cells.sample(row, column, rule) for row in rows]
            points = [(100 * s.mean, y + above, 100 * (s.half or 0)) for y, s in enumerate(samples) if s]
            x, y, half = zip(*points, strict=True) if points else ((), (), ())
            axis.errorbar(x, y, xerr=half, linewidth=0.8, markersize=3, **style)
        canvas.shares_alone(axis, "x")
    entries = [{"label": f"rule {rule}", **_RULES[rule][1]} for rule in rules]
    order = f"Sorted by the mean over the settings under {rules[-1]}."
    return canvas.frame(figure, cells, canvas.POINT, order, entries=entries)


_PRUNING: dict[str, dict[str, Any]] = {
    "precision": {"label": "pruned that are mislabelled (precision)", "color": canvas.INDIGO},
    "recall": {"label": "mislabelled that are pruned (recall)", "color": canvas.INDIGO, "linestyle": "--"},
    "kept_share": {"label": "kept share", "color": canvas.MIDDLE},
}


@canvas.styled()
def pruning(cells: Cells) -> Figure | None:
    """Precision and recall of the pruned set and the kept share, a panel a cell whose loss prunes."""
    cells = cells.only([place for place, cell in cells.cell.items() if any(map(_rounds, cell.runs))])
    if not cells.cell:
        return None
    titles = [cells.label(place) for place in cells.places]
    across = len(cells.columns)  # a row of the table is a row of panels, where it is not too wide
    figure, axes = canvas.panels(titles, "epoch", across if len(cells.rows) > 1 and 1 < across <= 4 else 4)
    known = set()  # precision and recall are not, where the true labels are unknown
    for axis, place in zip(axes, cells.places, strict=True):
        axis.set(ylim=(-4, 104))
        axis.grid(axis="y")
        for key, style in _PRUNING.items():
            shares = _after_rounds(cells.cell[place], key)
            known |= {key} if shares.notna().any(axis=None) else set()
            lines(axis, shares, {**style, "label": None, "drawstyle": "steps-post"})
    entries = [style for key, style in _PRUNING.items() if key in known]
    return canvas.frame(figure, cells, canvas.THIN_AND_THICK, y="share in %", entries=entries)


def _rounds(run: Any) -> list[dict[str, Any]]:
    return list(run.manifest.get("pruning", ()))


def _after_rounds(cell: Cell, key: str) -> DataFrame:
    """A share in per cent, a column a seed: at the start, from each pruning round on, and at the end. Nothing changes
    between rounds."""
    import pandas as pd

    found = {}
    for run in cell.runs:
        if rounds := _rounds(run):
            epochs = [0, *(each["after_epoch"] for each in rounds), run.config["schedule.epochs"]]
            shares = [each[key] for each in rounds]
            start = 1.0 if key == "kept_share" else None
            found[run.config["seed"]] = pd.Series([start, *shares, shares[-1]], index=epochs, dtype=float)
    return 100 * pd.DataFrame(found)
