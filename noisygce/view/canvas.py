"""A canvas: panels in a grid, one look for all figures, and files whose bytes depend on nothing but what they show.

Colours are those of Okabe and Ito, which people of any colour vision tell apart; where they run out, the line style
changes. matplotlib is imported inside the functions.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from noisygce.runs import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK = "#1b1b1f"  # text and axes; a page may set its own colour in its place
_CYCLE = (BLUE, PURPLE, INK, ORANGE, VERMILLION, GREEN)  # last those that stand for something else beside lines
_STYLES = ("-", "--", ":", "-.")
GREY = "#9a9aa2"
FORMATS = ("pdf", "png", "svg")
_ACROSS = 4  # panels in a row, unless the figure says otherwise
_GAP = 0.06  # inches between what stands around the panels
_LETTER = 0.07  # inches of a letter of 9 points, about
_SHORTEST = 17  # letters in a line
_LINES_ABOVE = 2  # of a legend; a higher one stands at the right

Entry = tuple[str, dict[str, Any]]  # of a legend: its label, and how its line or patch looks


def style(index: int) -> dict[str, Any]:
    """Colour and style of the index-th line."""
    return {"color": _CYCLE[index % len(_CYCLE)], "linestyle": _STYLES[index // len(_CYCLE) % len(_STYLES)]}


def _settings(salt: str) -> Any:
    return {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.7,
        "legend.frameon": False,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
        "pdf.fonttype": 42,  # text stays text
        "svg.hashsalt": salt,  # ids are drawn at random otherwise
    }


def panels(count: int, across: int = _ACROSS, size: tuple[float, float] = (2.5, 2.1)) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` panels, ``across`` in a row, each of ``size`` inches; axes are shared.

    What belongs to all panels is put around them afterwards (``label``, ``scale``, ``legend``, ``headline``, ``note``,
    in this order), and a file is as large as all of it.
    """
    across = min(across, count)
    down = -(-count // across)
    with drawing.by_default(_settings("")):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(size[0] * across, size[1] * down), layout="constrained")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        axes: list[Axes] = list(grid.flat)
        for spare in axes[count:]:
            spare.remove()
        for i, axis in enumerate(axes[:count]):
            lowest = (i // across + 2) * across > count  # of a row in which any panel has none below it
            axis.tick_params(length=2.5, labelbottom=lowest, colors=INK)
    return figure, axes[:count]


def halves(count: int) -> tuple[Figure, Axes, list[Axes]]:
    """A figure of the width of a page: one wide panel at its left, at its right ``count`` panels that share an axis."""
    with drawing.by_default(_settings("")):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9.0, 3.2), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 0.62 * count], wspace=0.03).flat
        axes: list[Axes] = [left.subplots(), *right.subplots(1, count, sharey=True, squeeze=False).flat]
        for axis in axes:
            axis.tick_params(length=2.5, colors=INK)
            axis.set_xlabel("epoch", fontsize=9, color=INK)
    return figure, axes[0], axes[1:]


def legend(figure: Figure, entries: Sequence[Entry]) -> None:
    """One legend for all panels: above them, or at their right where it would be high."""
    left, _, right, top = _edges(figure)
    width = (right - left) * figure.get_figwidth()
    columns, widest = _columns(entries, width)
    place: Literal["upper left", "lower left"]
    if -(-len(entries) // columns) > _LINES_ABOVE and widest <= width:
        *_, upper = _box(figure)
        place, anchor, columns = "upper left", (right + _GAP / figure.get_figwidth(), upper), 1
    else:
        place, anchor = "lower left", (left, top + _GAP / figure.get_figheight())
    figure.legend(**_keys(entries), ncols=columns, loc=place, bbox_to_anchor=anchor, borderaxespad=0)


def legend_below(half: SubFigure, entries: Sequence[Entry]) -> None:
    """The legend of a half."""
    columns, _ = _columns(entries, half.bbox.width / half.dpi)
    half.legend(**_keys(entries), ncols=columns, loc="outside lower left")


def _columns(entries: Sequence[Entry], width: float) -> tuple[int, float]:
    """In how many columns a legend stands that is ``width`` inches wide, and how wide its widest entry is, about."""
    widest = max((len(label) for label, _ in entries), default=0) * _LETTER + 0.6
    return max(1, min(len(entries), int(width / widest))), widest


def _keys(entries: Sequence[Entry]) -> dict[str, Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(**k) if "facecolor" in k else Line2D([], [], linewidth=2, **k) for _, k in entries]
    labels = [label for label, _ in entries]
    return {"handles": handles, "labels": labels, "labelcolor": INK, "frameon": False, "fontsize": 9}


def title(axis: Axes, text: str) -> None:
    """Above a panel, in lines that are no longer than it has room for."""
    place = axis.get_subplotspec()
    assert place is not None
    whole = axis.get_figure().bbox.width / axis.get_figure().dpi  # type: ignore[union-attr]
    axis.set_title(_wrapped(text, whole / place.get_gridspec().ncols, 10), fontsize=10, color=INK)


def whole_ticks(axis: Axes) -> None:
    """Marks a few whole numbers alone on the x axis that all panels share, so that those of two panels seldom meet."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, steps=[1, 2, 5, 10]))


def heading(figure: SubFigure, text: str) -> None:
    """Above all panels of a half."""
    figure.suptitle(text, fontsize=10, color=INK)


def label(figure: Figure, x: str, y: str) -> None:
    """What the axes of all panels show: x below their middle, y at the left of it."""
    left, bottom, *_ = _edges(figure)
    x0, y0, x1, y1 = _box(figure)
    below, beside = bottom - _GAP / figure.get_figheight(), left - _GAP / figure.get_figwidth()
    figure.supxlabel(x, x=(x0 + x1) / 2, y=below, va="top", fontsize=9, color=INK)
    figure.supylabel(y, x=beside, y=(y0 + y1) / 2, ha="right", fontsize=9, color=INK)


def scale(figure: Figure, image: AxesImage, text: str) -> None:
    """The scale of colours that all panels share, in per cent: at their right, as high as they are."""
    _, _, right, _ = _edges(figure)
    _, y0, _, y1 = _box(figure)
    inch = 1 / figure.get_figwidth()
    place = figure.add_axes((right + 2 * _GAP * inch, y0, 0.13 * inch, y1 - y0))
    bar = figure.colorbar(image, cax=place, format=lambda share, _: f"{100 * share:.3g} %")
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label(_wrapped(text, (y1 - y0) * figure.get_figheight(), 8), fontsize=8, color=INK)


def headline(figure: Figure, text: str) -> None:
    """What the panels show, above all that is drawn."""
    left, _, right, top = _edges(figure)
    y = top + _GAP / figure.get_figheight()
    text = _wrapped(text, (right - left) * figure.get_figwidth(), 10)
    figure.text(left, y, text, va="bottom", fontsize=10, color=INK)


def note(figure: Figure, text: str) -> None:
    """A footnote, below all that is drawn."""
    left, bottom, right, _ = _edges(figure)
    y = bottom - _GAP / figure.get_figheight()
    text = _wrapped(text, (right - left) * figure.get_figwidth(), 8)
    figure.text(left, y, text, va="top", fontsize=8, color=INK)


def _wrapped(text: str, width: float, points: float) -> str:
    """``text`` of this size in lines that are as long as ``width`` inches, and broken between words."""
    letters = int(width / (_LETTER * points / 9))
    return textwrap.fill(text, max(_SHORTEST, letters), break_long_words=False, break_on_hyphens=False)


def settle(figure: Figure) -> None:
    """Lays the panels out, once."""
    from matplotlib.layout_engine import PlaceHolderLayoutEngine  # what is left of an engine that was taken away

    if not isinstance(figure.get_layout_engine(), PlaceHolderLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _edges(figure: Figure) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of all that is drawn so far, as parts of the figure."""
    settle(figure)
    drawn = figure.get_tightbbox()  # inches
    width, height = figure.get_size_inches()
    return drawn.x0 / width, drawn.y0 / height, drawn.x1 / width, drawn.y1 / height


def _box(figure: Figure) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of the panels alone, without what is written around them."""
    from matplotlib.transforms import Bbox

    settle(figure)
    found: Bbox = Bbox.union([axis.get_position() for axis in figure.axes])
    return found.x0, found.y0, found.x1, found.y1


def file(figure: Figure, ending: str, name: str) -> bytes:
    """The figure as a PDF, PNG or SVG file; equal bytes for equal figures."""
    dated = {"pdf": {"CreationDate": None}, "png": {"Software": None}, "svg": {"Date": None}}
    out = io.BytesIO()
    with drawing.by_default(_settings(name)):
        settle(figure)
        drawn = {"bbox_inches": "tight", "pad_inches": _GAP}  # what is around the panels is around the figure
        figure.savefig(out, format=ending, dpi=160, metadata=dated[ending], transparent=ending == "svg", **drawn)
    return out.getvalue()


def inline(figure: Figure, name: str, title: str) -> str:
    """The figure as an <svg> to stand inside a page, in the page's colour of text; ids start with its name."""
    text = file(figure, "svg", name).decode()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
