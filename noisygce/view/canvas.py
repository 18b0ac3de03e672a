"""A canvas: panels in a grid, one style sheet for all figures, and files whose bytes depend on the figure alone.

A loss has one colour and line style in every figure, of the colours of Okabe and Ito, which people of any colour vision
tell apart. Greys and indigo stand for everything else. matplotlib is imported inside the functions.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import textwrap
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import settings
from noisygce.runs import drawing
from noisygce.view.cells import Cells
from noisygce.view.provenance import subset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b1b1f"  # text and axes; a page may set its own colour in its place
INDIGO = "#332288"  # mislabelled samples, and what becomes of them
LIGHT, MIDDLE, DARK = "#dedede", "#8f8f8f", "#4d4d4d"
FORMATS = ("pdf", "png", "svg")
PAGE = 24  # panels on a page
THIN_AND_THICK = "Thin line: one seed; thick line: their mean."  # notes of figures, where there are several seeds
MEAN = "Mean of the seeds."
POINT = "Point: mean of the seeds; bar: 95 % t interval."

# Black and the colours of Okabe and Ito.
_COLOURS = (INK, "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7")
_DASHES = tuple((0, dashes) for dashes in ((), (9, 2), (5, 1.5), (1, 1), (6, 1.5, 1, 1.5), (3, 1, 1, 1, 1, 1), (1, 3)))
_LATER_DASHES = (0, (12, 2, 3, 2))  # a further one for each colour, after all others, so that no loss changes its look
_LOOKS = [
    {"color": colour, "linestyle": _DASHES[(i + turn) % len(_DASHES)]}
    for turn in range(len(_DASHES))
    for i, colour in enumerate(_COLOURS)
] + [{"color": colour, "linestyle": _LATER_DASHES} for colour in _COLOURS]
_MOST_USED = ("ce", "gce", "tgce", "mae", "elr", "forward", "sce")  # a colour and a line style each


def styled(salt: str = "") -> contextlib._GeneratorContextManager[None]:
    """Within it, or in the function that it decorates, matplotlib draws by noisygce's style sheet alone.

    salt: of the ids in an SVG, which are random without one.
    """
    return drawing.by_default(Path(__file__).with_name("figures.mplstyle"), {"svg.hashsalt": salt})


def loss_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and line style of each loss: a fixed one for those of configs/loss, whatever else is drawn. A person's own
    loss gets one by its name, and the next where another loss of the figure has that one already."""
    known = [*_MOST_USED, *(name for name in _packaged() if name not in _MOST_USED)]
    found = {name: _LOOKS[known.index(name) % len(_LOOKS)] for name in names if name in known}
    for name in sorted({*names} - {*found}):
        turn = zlib.crc32(name.encode()) % len(_LOOKS)
        found[name] = next(look for look in [*_LOOKS[turn:], *_LOOKS] if look not in found.values())
    return found


@functools.cache
def _packaged() -> list[str]:
    return sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml"))


def variant(look: dict[str, Any], index: int) -> dict[str, Any]:
    """The look of the index-th further line of one loss: its colour, another line style."""
    dashes = (*_DASHES, _LATER_DASHES)
    return {**look, "linestyle": dashes[(dashes.index(look["linestyle"]) + index) % len(dashes)]}


def ramp(count: int) -> list[dict[str, Any]]:
    """Colours and line styles of values of one thing, such as the q of one loss: dark to light, and no loss's own."""
    import matplotlib

    colours = matplotlib.colormaps["cividis"]
    return [{"color": colours(0.85 * i / max(1, count - 1)), "linestyle": ("-", "--")[i % 2]} for i in range(count)]


def panels(
    titles: Sequence[str], x: str = "", across: int = 4, size: tuple[float, float] = (2.5, 2.1), **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of a panel a title, ``across`` in a row, each of about ``size`` inches. x: the label of their x axes.
    shared: sharex and sharey (True where not given) and what else ``Figure.subplots`` takes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    across = min(across, len(titles))
    down = -(-len(titles) // across)
    figure = Figure(figsize=(size[0] * across, size[1] * down), layout="constrained")
    axes: list[Axes] = [
        *figure.subplots(down, across, squeeze=False, **{"sharex": True, "sharey": True, **shared}).flat
    ]
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(wrapped(_in_words(title), max(17, int(10 * size[0]))))
    for axis in axes[max(0, len(titles) - across) : len(titles)]:  # those that have no panel below
        axis.set_xlabel(x)
        axis.tick_params(labelbottom=True)
        if x == "epoch":
            axis.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, steps=[1, 2, 5, 10]))
    for spare in axes[len(titles) :]:
        spare.remove()
    return figure, axes[: len(titles)]


def _in_words(title: str) -> str:
    """Human labels by the name of their data set: human_twin set worse -> CIFAR-10N worse, synthetic twin."""

    def named(found: re.Match[str]) -> str:
        return f"CIFAR-10{'0' * (found[2] == 'noisy')}N {found[2]}" + ", synthetic twin" * (found[1] is not None)

    return re.sub(r"\bhuman(_twin)? set (\w+)", named, title)


def shares_alone(axis: Axes, along: str) -> None:
    """Ends the axis ``along`` (x or y), in %, where shares do: an interval of two seeds may reach past 0 or 100."""
    low, high = getattr(axis, f"get_{along}lim")()
    axis.set(**{f"{along}lim": (max(low, 0), min(high, 100))})


def page(cells: Cells, first: str) -> tuple[Cells, str]:
    """The cells of as many settings as fit a page with a panel a cell, the one of the label ``first`` among them; and a
    sentence that names the settings left out."""
    room = max(1, PAGE // len(cells.rows))
    chosen = sorted(cells.columns, key=lambda column: cells.column_label(column) != first)[:room]
    left_out = ", ".join(cells.column_label(column) for column in cells.columns if column not in chosen)
    return cells.only([place for place in cells.places if place[1] in chosen]), left_out and f"Left out: {left_out}."


def frame(
    figure: Figure,
    cells: Cells,
    *notes: str,
    y: str = "",
    heading: str = "",
    entries: Iterable[dict[str, Any]] = (),
) -> Figure:
    """The figure, with what stands around its panels. cells: whose data and seeds the footnote names. entries: of the
    legend, each the keywords of a line, or of a patch where they have a ``facecolor``."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    width, height = figure.get_size_inches()
    handles = [Patch(**entry) if "facecolor" in entry else Line2D([], [], **entry) for entry in entries]
    if handles:
        labels = [wrapped(str(handle.get_label()), 24) for handle in handles]
        figure.legend(handles=handles, labels=labels, loc="outside right upper")
        width += 0.6 + 0.075 * max(len(line) for label in labels for line in label.splitlines())
    seeds = [sum(run.state == "done" for run in cell.runs) for cell in cells.cell.values()]
    true = [note for note in notes if note and (max(seeds) > 1 or note not in (THIN_AND_THICK, MEAN, POINT))]
    lines = textwrap.wrap(" ".join([_about(cells), *true]), int(17 * width))
    figure.set_size_inches(width + 0.5, height + 0.5 + 0.13 * len(lines))
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7)
    if y:
        figure.supylabel(y)
    if heading:
        figure.suptitle(wrapped(heading, int(11 * width)), x=0.01, ha="left")
    figure.draw_without_rendering()  # each file that is written would lay the panels out once more
    figure.set_layout_engine("none")
    return figure


def wrapped(text: str, letters: int) -> str:
    """In lines of so many letters."""
    return textwrap.fill(text, letters, break_on_hyphens=False)


def _about(cells: Cells) -> str:
    done = [[run for run in cell.runs if run.state == "done"] for cell in cells.cell.values()]
    data = dict.fromkeys(str(run.config.get("data.name")) for runs in done for run in runs)
    seeds = sorted({len(runs) for runs in done if runs})
    range_of = dict.fromkeys((seeds[0], seeds[-1]))
    return f"Data: {', '.join(data)}{subset(cells.runs)}. Seeds: {' to '.join(map(str, range_of))}."


def file(figure: Figure, ending: str, name: str) -> bytes:
    """The figure as a PDF, PNG or SVG file; equal bytes for equal figures."""
    dated = {"pdf": {"CreationDate": None}, "png": {"Software": None}, "svg": {"Date": None}}
    out = io.BytesIO()
    with styled(salt=name):
        figure.savefig(out, format=ending, metadata=dated[ending], transparent=ending == "svg")
    return out.getvalue()


def inline(figure: Figure, name: str, title: str) -> str:
    """The figure as an <svg> to stand inside a page, in the page's colour of text; ids start with its name."""
    text = file(figure, "svg", name).decode()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
