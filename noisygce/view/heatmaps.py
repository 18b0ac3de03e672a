"""Heat maps: noise as drawn, confusion of the classes, and test accuracy over q and k. One scale a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisygce import data
from noisygce.results import Result
from noisygce.view import canvas, stats
from noisygce.view.cells import Cells, grouped, groups, in_order, labels, varying
from noisygce.view.measures import MEASURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

_WRITTEN_UP_TO = 10  # classes: each share is written into its field
_LONGEST = 10  # letters of a class at an axis
_LEAST_SPAN = 2  # of accuracies in per cent; and four standard deviations: colours must not tell apart what chance does


@canvas.styled()
def noise(cells: Cells) -> Figure | None:
    """The drawn noise of each setting: share of each given label among the samples of a true label; seeds averaged.
    None of data whose labels are taken as they are."""
    import pandas as pd

    maps = {}
    cells = cells.of(lambda run: run.config.get("noise.name") != "clean")
    for name, runs in settings(cells.runs, ("data.", "noise.")).items() if cells.cell else ():
        done = {run.config["seed"]: run for run in runs if run.state == "done"}  # all losses of a seed have one draw
        shares = [pd.DataFrame(run.manifest["noise"]["transition"]) for run in done.values()]
        if shares:
            names = _classes(runs[0], len(shares[0]))
            maps[name] = (sum(shares[1:], shares[0]) / len(shares)).set_axis(names).set_axis(names, axis=1)
    return _maps(maps, cells, "given label", "Share of the samples of a true label")


def _classes(run: Result, count: int) -> list[str]:
    """The class names of a data set of noisygce's own, or their numbers."""
    kind = getattr(data, str(run.config.get("data._target_")).rpartition(".")[2], None)
    names = list(getattr(kind, "classes", ()))
    return names if len(names) == count else [str(i) for i in range(count)]


@canvas.styled()
def confusion(cells: Cells, first: str = "") -> Figure | None:
    """What the kept model predicts for the test samples of each class, mean of the seeds that kept predictions: a panel
    a cell, of the settings that fit a page."""
    import pandas as pd

    cells = cells.of(lambda run: bool(run.confusion))
    if not cells.cell:
        return None
    cells, left_out = canvas.page(cells, first)
    maps = {}
    for row, column in cells.places:
        counts = [pd.DataFrame(run.confusion).T for run in cells.cell[row, column].runs]
        shares = [each.div(each.sum(axis=1).clip(lower=1), axis=0) for each in counts]
        maps[f"{cells.row_label(row)}, {cells.column_label(column)}"] = sum(shares[1:], shares[0]) / len(shares)
    return _maps(maps, cells, "predicted label", "Share of the test samples of a class", left_out)


def _maps(maps: Mapping[str, DataFrame], cells: Cells, x: str, heading: str, note: str = "") -> Figure | None:
    """A panel a matrix of shares, whose index and columns are classes; each share is written where classes are few."""
    if not maps:
        return None
    same = len({tuple(matrix.index) for matrix in maps.values()}) == 1  # axes
    figure, axes = canvas.panels([*maps], x, size=(2.4, 2.6), sharex=same, sharey=same)
    for axis, matrix in zip(axes, maps.values(), strict=True):
        percent, few = (100 * matrix.to_numpy()).tolist(), len(matrix) <= _WRITTEN_UP_TO
        texts = [[str(stats.rounded(share, 0)) if few and share >= 0.5 else "" for share in row] for row in percent]
        image = _map(axis, percent, texts, 6, vmin=0, vmax=100)
        if not few:
            continue
        short = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in matrix.index]
        axis.set_xticks(range(len(matrix)), short, rotation=90 if max(map(len, short)) > 2 else 0, fontsize=7)
        axis.set_yticks(range(len(matrix)), short, fontsize=7)
    figure.colorbar(image, ax=axes, label="share in %", fraction=0.05)
    return canvas.frame(figure, cells, canvas.MEAN, note, y="true label", heading=heading)


@canvas.styled()
def q_and_k(cells: Cells, rules: Iterable[str]) -> Figure | None:
    """Test accuracy over loss.q and loss.k, a panel a setting and rule; None unless a setting sweeps both."""
    both = [run for run in cells.runs if None not in (run.config.get("loss.q"), run.config.get("loss.k"))]
    by_setting = {
        name: grouped(("loss.q",), ("loss.k",), runs) for name, runs in settings(both, but=("loss.q", "loss.k")).items()
    }
    swept = {name: each for name, each in by_setting.items() if min(len(each.rows), len(each.columns)) > 1}
    if not swept:
        return None
    panels = {f"{name}, rule {rule}": (each, rule) for rule in rules for name, each in swept.items()}
    samples = [cell.sample(rule) for each, rule in panels.values() for cell in each.cell.values()]
    means = [100 * sample.mean for sample in samples if sample]
    if not means:
        return None
    deviation = max([100 * sample.std for sample in samples if sample and sample.std], default=0.0)
    middle, span = (min(means) + max(means)) / 2, max(max(means) - min(means), _LEAST_SPAN, 4 * deviation)
    figure, axes = canvas.panels([*panels], "k", 2, (3.4, 2.8), sharex=False, sharey=False)
    for axis, (each, rule) in zip(axes, panels.values(), strict=True):
        fields = [[each.sample(q, k, rule) for k in each.columns] for q in each.rows]
        percent = [[100 * sample.mean if sample else float("nan") for sample in row] for row in fields]
        texts = [[_written(sample) for sample in row] for row in fields]
        image = _map(axis, percent, texts, 8, origin="lower", vmin=middle - span / 2, vmax=middle + span / 2)
        axis.set_xticks(range(len(each.columns)), [str(k) for (k,) in each.columns])
        axis.set_yticks(range(len(each.rows)), [str(q) for (q,) in each.rows])
    figure.colorbar(image, ax=axes, label="test accuracy in %", fraction=0.05)
    note = "Each field: mean ± sample standard deviation (number of seeds). Colours span four such deviations or more."
    return canvas.frame(figure, cells, note, y="q")


def _written(sample: stats.Sample | None) -> str:
    text = MEASURES["accuracy"].spread(sample).replace(" ±", "\n±")
    return f"{text}\n({sample.n})" if sample else text


def _map(
    axis: Axes, values: Sequence[Sequence[float]], texts: Sequence[Sequence[str]], size: float, **scale: Any
) -> Any:
    """The image of the values, with a text on each field, black or white, whichever has the higher contrast."""
    image = axis.imshow(values, aspect="auto", **scale)  # type: ignore[arg-type]
    axis.spines[:].set_visible(False)
    for y, row in enumerate(texts):
        for x, text in enumerate(row):
            if text:
                color = "white" if luminance(image.to_rgba([values[y][x]])[0]) < 0.179 else "black"  # type: ignore[arg-type]
                axis.text(x, y, text, ha="center", va="center", fontsize=size, color=color)
    return image


def luminance(rgba: Sequence[float]) -> float:
    """Relative luminance of a colour (WCAG 2.2), on white paper."""
    red, green, blue = (part * rgba[3] + 1 - rgba[3] for part in rgba[:3])
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def settings(runs: Sequence[Result], of: tuple[str, ...] = ("",), but: tuple[str, ...] = ()) -> dict[str, list[Result]]:
    """The runs of each setting, under a label that tells it from the rest: by noise, rate (or the name of a label set)
    and each further key in which runs vary, where it tells more of them apart. of: what such a key begins with. but:
    keys that do not count."""

    keys = ["noise.name", "noise.set" if all(run.config.get("noise.set") for run in runs) else "rate"]
    for key in sorted(varying(runs), key=lambda key: not key.endswith(".name")):
        if key.startswith(of) and key not in but and len(groups(runs, [*keys, key])) > len(groups(runs, keys)):
            keys.append(key)
    found = groups(runs, keys)
    return {" ".join(labels(keys, values)): found[values] for values in in_order(found)}
