"""A sheet: one table as it is read. pandas' Styler makes LaTeX and HTML of it; Markdown is made of the same cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noisygce.view import escape

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


@dataclass(frozen=True)
class Entry:
    """text: what counts. bold: among the best. small: said beside it, never bold."""

    text: str
    bold: bool = False
    small: str = ""


@dataclass(frozen=True)
class Sheet:
    """head: a label of one or two levels for each column, the first one heading the row labels. note: one line."""

    title: str
    note: str
    head: Sequence[tuple[str, ...]]
    body: Sequence[Sequence[Entry]]


def _styler(sheet: Sheet, escaped: Callable[[str], str], cell: Callable[[Any], str]) -> Styler:
    """The sheet as pandas lays it out: ``escaped`` labels, and a text for each ``cell``. Equal labels stay apart, since
    the frame knows rows and columns by their numbers."""
    import pandas as pd
    from pandas.io.formats.style import Styler

    first, *others = sheet.head
    numbers, labels = list(range(len(others))), [" ".join(head) for head in others]
    columns: pd.Index = pd.Index(numbers, name=escaped(" ".join(first)))
    shown: dict[Any, Any] = {0: lambda i: escaped(labels[i])}
    if others and all(len(head) == 2 for head in others):  # of one group, the second below the first
        columns = pd.MultiIndex.from_arrays([[head[0] for head in others], numbers], names=[None, columns.name])
        shown = {0: escaped, 1: lambda i: escaped(others[i][1])}
    frame = pd.DataFrame([row[1:] for row in sheet.body], columns=columns, dtype=object)
    styler = Styler(frame, uuid="", cell_ids=False).format(cell)
    names: dict[Any, Any] = {0: lambda i: cell(sheet.body[i][0])}
    styler.format_index(names, axis="index")
    return styler.format_index(shown, axis="columns", level=list(shown))


def markdown(sheet: Sheet) -> str:
    """A section with a table, columns aligned in the source too."""

    def cell(entry: Entry) -> str:
        text = escape.markdown(entry.text)
        return f"{f'**{text}**' if entry.bold else text} {escape.markdown(entry.small)}".strip()

    rows = [[escape.markdown(" ".join(level for level in head if level)) for head in sheet.head]]
    rows += [[cell(entry) for entry in row] for row in sheet.body]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    ruler = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join(ruler) + " |")
    return f"## {sheet.title}\n\n{sheet.note}\n\n" + "\n".join(lines) + "\n"


LATEX_PACKAGES = ("booktabs", "adjustbox")


def latex(sheet: Sheet, about: str, label: str) -> str:
    """A ``table`` for ``LATEX_PACKAGES``, scaled down to the width and height of the text where it is larger.

    about: what the caption begins with. What stands small in every cell alike is left to the caption.
    """
    smalls = {entry.small for row in sheet.body for entry in row[1:] if entry.text}
    same = smalls.pop() if len(smalls) == 1 else ""
    note = sheet.note.replace(" (runs)", "") if same else sheet.note

    def cell(entry: Entry) -> str:
        text = f"\\textbf{{{escape.latex(entry.text)}}}" if entry.bold else escape.latex(entry.text)
        small = "" if entry.small in ("", same) else f" {{\\scriptsize {escape.latex(entry.small)}}}"
        return text + small

    tabular = _styler(sheet, escape.latex, cell).to_latex(
        hrules=True, multicol_align="c", column_format=f"@{{}}l{'r' * (len(sheet.head) - 1)}@{{}}"
    )
    lines = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{escape.latex(f'{about} {sheet.title}: {note}'.replace('`', ''))}}}",
        f"\\label{{{re.sub('[^A-Za-z0-9:.=+-]', '-', label)}}}",
        r"\begin{adjustbox}{max width=\textwidth, max totalheight=0.8\textheight}",
        tabular.rstrip(),
        r"\end{adjustbox}",
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def html(sheet: Sheet) -> str:
    """A section with a table that scrolls sideways by itself where the screen is narrow."""

    def cell(entry: Entry) -> str:
        text = f"<b>{escape.html(entry.text)}</b>" if entry.bold else escape.html(entry.text)
        return text + (f" <small>{escape.html(entry.small)}</small>" if entry.small else "")

    table = _styler(sheet, escape.html, cell).to_html(exclude_styles=True)
    return f'<h3>{prose(sheet.title)}</h3>\n<p>{prose(sheet.note)}</p>\n<div class="wide">{table}</div>\n'


def prose(text: str) -> str:
    """``text`` for HTML; `code` in backquotes is set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape.html(text))
