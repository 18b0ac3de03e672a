"""Heat maps: noise as drawn, confusion of the classes, and test accuracy over q and k. One scale a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisygce.results import Result
from noisygce.view import canvas, stats
from noisygce.view.cells import Cells, labels, varying
from noisygce.view.stats import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_MAP = "Blues"  # one hue, by lightness alone
_WRITTEN_UP_TO = 10  # classes: each share is written into its field


def noise(cells: Cells) -> Figure | None:
    """The drawn noise of each setting: share of each given label among the samples of a true label; seeds averaged."""
    drawn = {name: matrix for name, runs in settings(cells).items() if (matrix := _matrix(runs)) is not None}
    if not drawn:
        return None
    figure, axes = canvas.panels(len(drawn), size=(2.3, 2.4))
    for axis, (name, matrix) in zip(axes, drawn.items(), strict=True):
        canvas.title(axis, name)
        image = _field(axis, matrix, [str(i) for i in range(len(matrix))])
    canvas.label(figure, "label as given", "true label")
    canvas.scale(figure, image, "share of the samples of a true label")
    return figure


def _matrix(runs: Sequence[Result]) -> list[list[float]] | None:
    """The mean over seeds of the shares that their draws gave; every loss of a seed has the same draw."""
    found = {run.config["seed"]: run.manifest["noise"]["transition"] for run in runs if run.state == "done"}
    if not found:
        return None
    rows = zip(*found.values(), strict=True)
    return [[sum(shares) / len(found) for shares in zip(*row, strict=True)] for row in rows]


def q_and_k(cells: Cells, rules: Iterable[str]) -> Figure | None:
    """Test accuracy over loss.q and loss.k, a panel a setting and rule; None unless the experiment sweeps both."""
    shown: dict[str, tuple[str, list[Result]]] = {}
    for rule in rules:
        for name, runs in settings(cells).items():
            swept = [
                run for run in runs if run.config.get("loss.q") is not None and run.config.get("loss.k") is not None
            ]
            if min(len(values(swept, "loss.q")), len(values(swept, "loss.k"))) > 1:
                shown[f"{name}, rule {rule}"] = rule, swept
    if not shown:
        return None
    fields = {
        name: {(q, k): _of(runs, q, k, rule) for q in values(runs, "loss.q") for k in values(runs, "loss.k")}
        for name, (rule, runs) in shown.items()
    }
    means = [sample.mean for field in fields.values() for sample in field.values() if sample]
    low, high = (min(means), max(means)) if means else (0.0, 1.0)
    floor = low - 0.3 * (high - low)  # the lowest is still seen to be a number
    figure, axes = canvas.panels(len(shown), across=2, size=(3.6, 3.0))
    for axis, (name, field) in zip(axes, fields.items(), strict=True):
        qs, ks = (sorted({place[i] for place in field}) for i in (0, 1))
        grid = [[s.mean if (s := field[q, k]) else float("nan") for k in ks] for q in reversed(qs)]
        image = axis.imshow(grid, cmap=_MAP, aspect="auto", vmin=floor, vmax=high + 1e-9)
        axis.spines[:].set_visible(False)
        canvas.title(axis, name)
        axis.set_xticks(range(len(ks)), [str(k) for k in ks])
        axis.set_yticks(range(len(qs)), [str(q) for q in reversed(qs)])
        axis.tick_params(labelbottom=True)
        for y, q in enumerate(reversed(qs)):
            for x, k in enumerate(ks):
                sample = field[q, k]
                depth = 0.0 if sample is None else (sample.mean - floor) / max(high - floor, 1e-9)
                _write(axis, x, y, _written(sample), depth, 8)
    canvas.label(figure, "k", "q")
    canvas.scale(figure, image, "test accuracy")
    return figure


def confusion(cells: Cells, first: str = "") -> Figure | None:
    """What the kept model says of the test samples of each class, mean of the seeds that kept predictions: a panel a
    cell, of the settings that fit a page (``Cells.page``)."""
    drawn = {
        f"{cells.row_label(row)}, {cells.column_label(column)}": runs
        for row in cells.rows
        for column in cells.page(first)
        if (cell := cells.at(row, column)) and (runs := [run.confusion for run in cell.runs if run.confusion])
    }
    if not drawn:
        return None
    figure, axes = canvas.panels(len(drawn), size=(2.3, 2.4))
    for axis, (name, runs) in zip(axes, drawn.items(), strict=True):
        canvas.title(axis, name)
        image = _field(axis, _mean_shares(runs), list(runs[0]))
    canvas.label(figure, "predicted label", "true label")
    canvas.scale(figure, image, "share of the test samples of a class")
    return figure


def _mean_shares(runs: Sequence[Mapping[str, Mapping[str, int]]]) -> list[list[float]]:
    """Of counts by true and predicted class: the shares of each true class, averaged over runs."""

    def share(true: str, predicted: str) -> float:
        return sum(run[true][predicted] / max(1, sum(run[true].values())) for run in runs) / len(runs)

    return [[share(true, predicted) for predicted in runs[0]] for true in runs[0]]


def _field(axis: Axes, matrix: Sequence[Sequence[float]], names: Sequence[str]) -> AxesImage:
    """Shares of rows that sum to 1, each written where there are few."""
    image = axis.imshow(matrix, cmap=_MAP, vmin=0, vmax=1)
    axis.spines[:].set_visible(False)
    if len(matrix) <= _WRITTEN_UP_TO:
        turned = 90 if max(map(len, names)) > 2 else 0
        axis.set_xticks(range(len(matrix)), names, rotation=turned, fontsize=7)
        axis.set_yticks(range(len(matrix)), names, fontsize=7)
        for y, row in enumerate(matrix):
            for z, share in enumerate(row):
                if share >= 0.005:
                    _write(axis, z, y, f"{stats.rounded(100 * share, 0)}", share, 6)
    return image


def values(runs: Sequence[Result], key: str) -> list[float]:
    return sorted({run.config[key] for run in runs})


def _of(runs: Sequence[Result], q: float, k: float, rule: str) -> stats.Sample | None:
    here = [run.number(rule) for run in runs if (run.config["loss.q"], run.config["loss.k"]) == (q, k)]
    return stats.describe([value for value in here if value is not None])


def _written(sample: stats.Sample | None) -> str:
    if sample is None:
        return "-"
    return spread(sample.mean, sample.std).replace(" ±", "\n±") + f"\n({sample.n})"


def _write(axis: Any, x: float, y: float, text: str, depth: float, size: float) -> None:
    """Text on a field of the map, dark on light and light on dark."""
    axis.text(x, y, text, ha="center", va="center", fontsize=size, color="#ffffff" if depth > 0.55 else "#08306b")


def settings(cells: Cells) -> dict[str, list[Result]]:
    """The runs by data set and noise, under a name that tells these apart."""
    runs = [run for cell in cells.cell.values() for run in cell.runs]
    more = [key for key in varying(runs) if key.startswith(("data.", "noise.")) and key != "noise.rate"]
    keys = list(dict.fromkeys(["noise.name", "rate", *more]))
    found: dict[str, list[Result]] = {}
    for run in runs:
        found.setdefault(" ".join(labels(keys, [run.config.get(key) for key in keys])), []).append(run)
    return found
