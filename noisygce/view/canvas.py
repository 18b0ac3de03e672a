"""A canvas: panels in a grid, one look for all figures, and files whose bytes depend on nothing but what they show.

Colours are those of Okabe and Ito, which people of any colour vision tell apart; where they run out, the line style
changes. matplotlib is imported inside the functions.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
_CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_STYLES = ("-", "--", ":", "-.")
INK = "#1b1b1f"  # text and axes; a page may set its own colour in its place
GREY = "#9a9aa2"
FORMATS = ("pdf", "png", "svg")
_ACROSS = 4  # panels in a row, unless the figure says otherwise


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
    """A figure of ``count`` panels, ``across`` in a row, each of ``size`` inches; axes are shared."""
    import matplotlib
    from matplotlib.figure import Figure

    across = min(across, count)
    down = -(-count // across)
    with matplotlib.rc_context(_settings("")):
        figure = Figure(figsize=(size[0] * across + 0.5, size[1] * down + 0.7), layout="constrained")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        axes: list[Axes] = list(grid.flat)
        for spare in axes[count:]:
            spare.remove()
        for i, axis in enumerate(axes[:count]):
            axis.tick_params(length=2.5, labelbottom=i + across >= count, colors=INK)
    return figure, axes[:count]


def halves(count: int) -> tuple[Figure, Axes, list[Axes]]:
    """A figure of the width of a page: one wide panel at its left, at its right ``count`` panels that share an axis."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_settings("")):
        figure = Figure(figsize=(9.0, 3.2), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 0.62 * count], wspace=0.03).flat
        axes: list[Axes] = [left.subplots(), *right.subplots(1, count, sharey=True, squeeze=False).flat]
        for axis in axes:
            axis.tick_params(length=2.5, colors=INK)
            axis.set_xlabel("epoch", fontsize=9, color=INK)
    return figure, axes[0], axes[1:]


def legend(
    figure: Figure | SubFigure,
    entries: Sequence[tuple[str, dict[str, Any]]],
    place: Literal["outside upper left", "outside lower left"] = "outside upper left",
) -> None:
    """One legend for all panels; an entry is its label and how its line or patch looks."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [Patch(**k) if "facecolor" in k else Line2D([], [], linewidth=2, **k) for _, k in entries]
    labels = [label for label, _ in entries]
    widest = max(map(len, labels)) * 0.075 + 0.6  # inches, about
    columns = max(1, min(len(entries), int(figure.bbox.width / figure.dpi / widest)))
    figure.legend(handles=handles, labels=labels, loc=place, ncols=columns, labelcolor=INK, frameon=False, fontsize=9)


def title(axis: Axes, text: str) -> None:
    axis.set_title(text, fontsize=10, color=INK)


def whole_ticks(axis: Axes) -> None:
    """Marks whole numbers alone on the x axis that all panels share."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))


def heading(figure: SubFigure, text: str) -> None:
    """Above all panels of a half."""
    figure.suptitle(text, fontsize=10, color=INK)


def label(figure: Figure, x: str, y: str) -> None:
    """What the axes of all panels show."""
    figure.supxlabel(x, fontsize=9, color=INK)
    figure.supylabel(y, fontsize=9, color=INK)


def scale(figure: Figure, image: AxesImage, axes: Sequence[Axes], text: str) -> None:
    """The scale of colours that all panels share, in per cent."""
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, format=lambda share, _: f"{100 * share:.3g} %")
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label(text, fontsize=8, color=INK)


def settle(figure: Figure) -> None:
    """Lays the figure out once, instead of twice for each file."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def file(figure: Figure, ending: str, name: str) -> bytes:
    """The figure as a PDF, PNG or SVG file; equal bytes for equal figures."""
    import matplotlib

    dated = {"pdf": {"CreationDate": None}, "png": {"Software": None}, "svg": {"Date": None}}
    out = io.BytesIO()
    with matplotlib.rc_context(_settings(name)):
        figure.savefig(out, format=ending, dpi=160, metadata=dated[ending], transparent=ending == "svg")
    return out.getvalue()


def inline(figure: Figure, name: str, title: str) -> str:
    """The figure as an <svg> to stand inside a page, in the page's colour of text; ids start with its name."""
    text = file(figure, "svg", name).decode()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
