"""Test accuracy over the noise rate, beside the published numbers where they are asked for.

As in curves.py: from the cells of an experiment to a matplotlib figure, or None; finished runs only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from noisygce.view import canvas, curves, published
from noisygce.view.cells import Cell, Cells, Key, labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OURS: dict[str, Any] = {"marker": "o", "markersize": 3}
_PUBLISHED: dict[str, Any] = {
    "linestyle": ":",
    "linewidth": 0.8,
    "marker": "o",
    "markersize": 4,
    "markerfacecolor": "white",
}


@canvas.styled()
def rates(cells: Cells, rules: Sequence[str], against: str = "") -> Figure | None:
    """A panel for each rule of each setting that has several rates, a line a row of the table. against: published, to
    draw the published numbers as well, whatever their network."""
    settings = _settings(cells, rules)
    if not settings or len(cells.rows) > curves.MOST:
        return None
    panels = [(setting, rule) for setting in settings for rule in rules]
    titles = [", ".join([setting, rule] if setting else [rule]) for setting, rule in panels]
    figure, axes = canvas.panels(titles, "noise rate", len(rules) if len(settings) > 1 else 4)
    styles, sources = curves.row_styles(cells), set[str]()
    for axis, (setting, rule) in zip(axes, panels, strict=True):
        axis.grid(axis="y")
        beside: dict[tuple[tuple[float, float], ...], list[Key]] = {}  # rows of one loss have one published line
        for row in cells.rows:
            there = [cell for column in settings[setting] if (cell := cells.at(row, column))]
            samples = [(cell.config["rate"], sample) for cell in there if (sample := cell.sample(rule))]
            points = [(rate, 100 * sample.mean, 100 * (sample.half or 0)) for rate, sample in samples]
            x, y, half = zip(*points, strict=True) if points else ((), (), ())
            axis.errorbar(x, y, yerr=half, elinewidth=0.8, **styles[row], **_OURS)
            numbers = _published(there, rule) if against else {}
            if line := tuple((rate, 100 * number.mean) for rate, number in numbers.items()):
                beside.setdefault(line, []).append(row)
            sources |= {number.source for number in numbers.values()}
        for line, rows in beside.items():  # in a row's colour only where it belongs to no other
            style = styles[rows[0]] if len(rows) == 1 else {"color": canvas.MIDDLE}
            axis.plot(*zip(*line, strict=True), **{**style, **_PUBLISHED})
    canvas.shares_alone(axes[0], "y")  # which all panels share
    entries = [{"label": cells.row_label(row), **styles[row], **_OURS} for row in cells.rows]
    entries += [{"label": f"published, {name}", "color": canvas.MIDDLE, **_PUBLISHED} for name in sorted(sources)]
    note = "Published numbers are of another network or protocol." if sources else ""
    return canvas.frame(figure, cells, canvas.POINT, note, y="test accuracy in %", entries=entries)


def _settings(cells: Cells, rules: Sequence[str]) -> dict[str, list[Key]]:
    """The columns of each setting but for its rate, by its label, of settings in which a row has two rates under one
    rule."""
    if "rate" not in cells.column_keys:
        return {}
    at = cells.column_keys.index("rate")
    keys = cells.column_keys[:at] + cells.column_keys[at + 1 :]
    found: dict[str, list[Key]] = {}
    for column in cells.columns:
        found.setdefault(" ".join(labels(keys, column[:at] + column[at + 1 :])), []).append(column)

    def known(row: Key, columns: Sequence[Key], rule: str) -> int:
        return sum(cells.sample(row, column, rule) is not None for column in columns)

    return {
        setting: columns
        for setting, columns in found.items()
        if any(known(row, columns, rule) > 1 for row in cells.rows for rule in rules)
    }


def _published(cells: Sequence[Cell], rule: str) -> dict[float, published.Number]:
    found = {float(cell.config["rate"]): published.elsewhere(cell.config, rule) for cell in cells}
    return {rate: number for rate, number in found.items() if number}
