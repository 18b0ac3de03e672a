"""Heat maps: noise as drawn, confusion of the classes, and test accuracy over q and k. One scale a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from noisygce import data
from noisygce.results import Result
from noisygce.view import canvas, stats
from noisygce.view.cells import Cells, labels, varying
from noisygce.view.curves import found, in_order, in_sequence, on_a_page
from noisygce.view.stats import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_WRITTEN_UP_TO = 10  # classes: each share is written into its field
_LONGEST = 10  # letters of a class at an axis
_LEAST_SPAN = 0.02  # of accuracies: colours must not tell apart what chance does

Matrix = Sequence[Sequence[float]]


@canvas.styled()
def noise(cells: Cells) -> Figure | None:
    """The drawn noise of each setting: share of each given label among the samples of a true label; seeds averaged."""
    found = settings([run for cell in cells.cell.values() for run in cell.runs], ("data.", "noise."))
    drawn = {name: (matrix, runs) for name, runs in found.items() if (matrix := _matrix(runs)) is not None}
    maps = {name: (matrix, _classes(runs[0], len(matrix))) for name, (matrix, runs) in drawn.items()}
    return _fields(maps, [runs for _, runs in drawn.values()], "given label", "Share of the samples of a true label")


def _matrix(runs: Sequence[Result]) -> Matrix | None:
    """The mean over seeds of the shares that their draws gave; every loss of a seed has the same draw."""
    found = {run.config["seed"]: run.manifest["noise"]["transition"] for run in runs if run.state == "done"}
    if not found:
        return None
    rows = zip(*found.values(), strict=True)
    return [[sum(shares) / len(found) for shares in zip(*row, strict=True)] for row in rows]


def _classes(run: Result, count: int) -> list[str]:
    """The class names of a data set of noisygce's own, or their numbers."""
    kind = getattr(data, str(run.config.get("data._target_")).rpartition(".")[2], None)
    names = list(getattr(kind, "classes", ()))
    return names if len(names) == count else [str(i) for i in range(count)]


@canvas.styled()
def confusion(cells: Cells, first: str = "") -> Figure | None:
    """What the kept model predicts for the test samples of each class, mean of the seeds that kept predictions: a panel
    a cell, of the settings that fit a page (``Cells.page``)."""
    runs = found(cells, lambda cell: [run for run in cell.runs if run.confusion])
    if not runs:
        return None
    cells, left_out = on_a_page(cells, runs, first)
    shown = {f"{cells.row_label(r)}, {cells.column_label(c)}": runs[r, c] for r, c in in_order(cells)}
    maps = {
        name: (_mean_shares([run.confusion for run in seeds]), [*seeds[0].confusion]) for name, seeds in shown.items()
    }
    return _fields(maps, [*shown.values()], "predicted label", "Share of the test samples of a class", left_out)


def _mean_shares(runs: Sequence[Mapping[str, Mapping[str, int]]]) -> Matrix:
    """Of counts by true and predicted class: the shares of each true class, averaged over runs."""

    def share(true: str, predicted: str) -> float:
        return sum(run[true][predicted] / max(1, sum(run[true].values())) for run in runs) / len(runs)

    return [[share(true, predicted) for predicted in runs[0]] for true in runs[0]]


def _fields(
    maps: Mapping[str, tuple[Matrix, Sequence[str]]],
    runs: Sequence[Sequence[Result]],
    x: str,
    heading: str,
    note: str = "",
) -> Figure | None:
    """A panel a matrix of shares of true labels, with the names of its classes; each share written where classes are
    few."""
    if not maps:
        return None
    same = len({tuple(names) for _, names in maps.values()}) == 1  # axes
    figure, axes = canvas.panels([*maps], x, size=(2.4, 2.6), sharex=same, sharey=same)
    for axis, (matrix, names) in zip(axes, maps.values(), strict=True):
        image = axis.imshow([[100 * share for share in row] for row in matrix], aspect="auto", vmin=0, vmax=100)
        axis.spines[:].set_visible(False)
        if len(matrix) > _WRITTEN_UP_TO:
            continue
        short = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]
        axis.set_xticks(range(len(matrix)), short, rotation=90 if max(map(len, short)) > 2 else 0, fontsize=7)
        axis.set_yticks(range(len(matrix)), short, fontsize=7)
        for y, row in enumerate(matrix):
            for z, share in enumerate(row):
                if share >= 0.005:
                    _write(axis, image, z, y, 100 * share, str(stats.rounded(100 * share, 0)), 6)
    figure.colorbar(image, ax=axes, label="share in %", fraction=0.05)
    return canvas.frame(figure, runs, "Mean of the seeds.", note, y="true label", heading=heading)


@canvas.styled()
def q_and_k(cells: Cells, rules: Iterable[str]) -> Figure | None:
    """Test accuracy over loss.q and loss.k, a panel a setting and rule; None unless a setting sweeps both. Runs of one
    field differ in nothing but their seed."""
    runs = [run for cell in cells.cell.values() for run in cell.runs]
    both = [run for run in runs if None not in (run.config.get("loss.q"), run.config.get("loss.k"))]
    swept = {
        name: group
        for name, group in settings(both, but=("loss.q", "loss.k")).items()
        if min(len(_values(group, "loss.q")), len(_values(group, "loss.k"))) > 1
    }
    if not swept:
        return None
    fields = {
        f"{name}, rule {rule}": {
            (q, k): _of(group, q, k, rule) for q in _values(group, "loss.q") for k in _values(group, "loss.k")
        }
        for rule in rules
        for name, group in swept.items()
    }
    means = [100 * sample.mean for field in fields.values() for sample in field.values() if sample] or [50.0]
    middle, span = (min(means) + max(means)) / 2, max(max(means) - min(means), 100 * _LEAST_SPAN)
    figure, axes = canvas.panels([*fields], "k", 2, (3.4, 2.8), sharex=False, sharey=False)
    for axis, field in zip(axes, fields.values(), strict=True):
        qs, ks = (sorted({place[i] for place in field}) for i in (0, 1))
        grid = [[100 * s.mean if (s := field[q, k]) else float("nan") for k in ks] for q in qs]
        image = axis.imshow(grid, aspect="auto", origin="lower", vmin=middle - span / 2, vmax=middle + span / 2)
        axis.spines[:].set_visible(False)
        axis.set_xticks(range(len(ks)), [str(k) for k in ks])
        axis.set_yticks(range(len(qs)), [str(q) for q in qs])
        for y, q in enumerate(qs):
            for x, k in enumerate(ks):
                _write(axis, image, x, y, grid[y][x], _written(field[q, k]), 8)
    figure.colorbar(image, ax=axes, label="test accuracy in %", fraction=0.05)
    note = "Each field: mean ± sample standard deviation (number of seeds)."
    return canvas.frame(figure, swept.values(), note, y="q")


def _values(runs: Sequence[Result], key: str) -> list[float]:
    return sorted({run.config[key] for run in runs})


def _of(runs: Sequence[Result], q: float, k: float, rule: str) -> stats.Sample | None:
    here = [run for run in runs if (run.config["loss.q"], run.config["loss.k"]) == (q, k)]
    assert len({run.config["seed"] for run in here}) == len(here), "runs of one field differ in more than their seed"
    return stats.describe([value for run in here if (value := run.number(rule)) is not None])


def _written(sample: stats.Sample | None) -> str:
    if sample is None:
        return "-"
    return spread(sample.mean, sample.std).replace(" ±", "\n±") + f"\n({sample.n})"


def _write(axis: Axes, image: AxesImage, x: float, y: float, value: float, text: str, size: float) -> None:
    """Text on a field of the map, black or white, whichever has the higher contrast."""
    color = "white" if luminance(image.to_rgba([value])[0]) < 0.179 else "black"  # type: ignore[arg-type]
    axis.text(x, y, text, ha="center", va="center", fontsize=size, color=color)


def luminance(rgba: Sequence[float]) -> float:
    """Relative luminance of a colour (WCAG 2.2), on white paper."""
    red, green, blue = (part * rgba[3] + 1 - rgba[3] for part in rgba[:3])
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def settings(runs: Sequence[Result], of: tuple[str, ...] = ("",), but: tuple[str, ...] = ()) -> dict[str, list[Result]]:
    """The runs by noise, rate and each further key in which they vary, where it tells more of them apart; under a name
    that does, sorted. of: what such a key begins with. but: keys that do not count."""

    def groups(keys: Sequence[str]) -> dict[tuple[Any, ...], list[Result]]:
        found: dict[tuple[Any, ...], list[Result]] = {}
        for run in sorted(runs, key=lambda run: [in_sequence(run.config.get(key)) for key in keys]):
            value = tuple(run.config.get(key) for key in keys)
            found.setdefault(tuple(map(str, value)), []).append(run)
        return found

    keys = ["noise.name", "rate"]
    for key in sorted(varying(runs), key=lambda key: not key.endswith(".name")):
        if key.startswith(of) and key not in but and len(groups([*keys, key])) > len(groups(keys)):
            keys.append(key)
    return {
        " ".join(labels(keys, [group[0].config.get(key) for key in keys])): group for group in groups(keys).values()
    }
