"""A subtable: one of the tables of an experiment, such as that of one selection rule. pandas' Styler makes LaTeX and
HTML of it; Markdown is made of the same entries."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noisygce.view import escape

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

LATEX_PACKAGES = ("booktabs", "adjustbox")


@dataclass(frozen=True)
class Entry:
    """text: the number or label. bold: among the best. count: how many runs the number stands for, never bold."""

    text: str
    bold: bool = False
    count: str = ""


@dataclass(frozen=True)
class Subtable:
    """header: a label of one or two levels for each column, the first one heading the row labels. note: one line."""

    title: str
    note: str
    header: Sequence[tuple[str, ...]]
    body: Sequence[Sequence[Entry]]


def markdown(subtable: Subtable) -> str:
    """A section with a table, columns aligned in the source too."""

    def cell(entry: Entry) -> str:
        text = escape.markdown(entry.text)
        return f"{f'**{text}**' if entry.bold else text} {escape.markdown(entry.count)}".strip()

    rows = [[escape.markdown(escape.joined(" ", [level for level in head if level])) for head in subtable.header]]
    rows += [[cell(entry) for entry in row] for row in subtable.body]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    ruler = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join(ruler) + " |")
    return f"## {subtable.title}\n\n{subtable.note}\n\n" + "\n".join(lines) + "\n"


def latex(subtable: Subtable, about: Sequence[str], label: str) -> str:
    """A ``table`` for ``LATEX_PACKAGES``, scaled down to the width and height of the text where it is larger.

    about: texts that the caption begins with. A count that all entries share is left to the caption.
    """
    counts = {entry.count for row in subtable.body for entry in row[1:] if entry.text}
    same = counts.pop() if len(counts) == 1 else ""
    note = subtable.note.replace(" (runs)", "") if same else subtable.note
    caption = " ".join(map(escape.latex, [*about, f"{subtable.title}: {note}".replace("`", "")]))

    def cell(entry: Entry) -> str:
        text = f"\\textbf{{{escape.latex(entry.text)}}}" if entry.bold else escape.latex(entry.text)
        return text + ("" if entry.count in ("", same) else f" {{\\scriptsize {escape.latex(entry.count)}}}")

    tabular = _styler(subtable, escape.latex, cell).to_latex(
        hrules=True, multicol_align="c", column_format=f"@{{}}l{'r' * (len(subtable.header) - 1)}@{{}}"
    )
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{caption}}}",
        f"\\label{{{re.sub('[^A-Za-z0-9:.=+-]', '-', label)}}}",
        r"\begin{adjustbox}{max width=\textwidth, max totalheight=0.8\textheight}",
        tabular.rstrip(),
        r"\end{adjustbox}",
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def html(subtable: Subtable) -> str:
    """A section with a table that scrolls sideways by itself where the screen is narrow."""

    def cell(entry: Entry) -> str:
        text = f"<b>{escape.html(entry.text)}</b>" if entry.bold else escape.html(entry.text)
        return text + (f" <small>{escape.html(entry.count)}</small>" if entry.count else "")

    def prose(text: str) -> str:  # `code` in backquotes is set as code
        return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape.html(text))

    table = _styler(subtable, escape.html, cell).to_html(exclude_styles=True)
    return f'<h3>{prose(subtable.title)}</h3>\n<p>{prose(subtable.note)}</p>\n<div class="wide">{table}</div>\n'


def _styler(subtable: Subtable, escaped: Callable[[str], str], cell: Callable[[Entry], str]) -> Styler:
    """The subtable as pandas lays it out. escaped: a label as text of the form; cell: an entry as such.

    The frame knows rows and columns by their numbers, so that equal labels stay apart.
    """
    import pandas as pd
    from pandas.io.formats.style import Styler

    first, *others = ([escaped(level) for level in head] for head in subtable.header)
    numbers = list(range(len(others)))
    columns: pd.Index = pd.Index(numbers, name=" ".join(first))
    last_level = [" ".join(head) for head in others]
    if others and all(len(head) == 2 for head in others):  # of one group, the second below the first
        columns = pd.MultiIndex.from_arrays([[head[0] for head in others], numbers], names=[None, " ".join(first)])
        last_level = [head[1] for head in others]
    frame = pd.DataFrame([row[1:] for row in subtable.body], columns=columns, dtype=object)
    styler = Styler(frame, uuid="", cell_ids=False).format(cell)  # type: ignore[arg-type]
    row_labels: Any = dict(enumerate(cell(row[0]) for row in subtable.body))
    column_labels: Any = dict(enumerate(last_level))
    styler.format_index(row_labels.get, axis="index")
    return styler.format_index(column_labels.get, axis="columns", level=columns.nlevels - 1)
