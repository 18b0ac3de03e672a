"""A sheet: one table as it is read, and how it looks in Markdown, LaTeX and HTML."""

from __future__ import annotations

import html as _html
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """text: what counts. bold: among the best. small: said beside it, never bold."""

    text: str
    bold: bool = False
    small: str = ""


@dataclass(frozen=True)
class Sheet:
    """head: a label of one or more levels for each column, the first one heading the row labels. note: one line."""

    title: str
    note: str
    head: Sequence[tuple[str, ...]]
    body: Sequence[Sequence[Entry]]


def markdown(sheet: Sheet) -> str:
    """A section with a table, columns aligned in the source too."""

    def cell(entry: Entry) -> str:
        text = f"**{entry.text}**" if entry.bold else entry.text
        return f"{text} {entry.small}".strip().replace("|", "\\|")

    rows = [[" ".join(level for level in head if level) for head in sheet.head]]
    rows += [[cell(entry) for entry in row] for row in sheet.body]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    ruler = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = ["| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join(ruler) + " |")
    return f"## {sheet.title}\n\n{sheet.note}\n\n" + "\n".join(lines) + "\n"


def latex(sheet: Sheet, about: str, label: str) -> str:
    """A ``table`` for the package booktabs; columns of one group stand below its name, those for which a line has no
    room below the others, and those for which a page has none in a table of their own.

    about: what the caption begins with. What stands small in every cell alike is left to the caption.
    """
    smalls = {entry.small for row in sheet.body for entry in row[1:] if entry.text}
    same = smalls.pop() if len(smalls) == 1 else ""
    body = [[Entry(e.text, e.bold, e.small if e.small != same else "") for e in row] for row in sheet.body]
    parts, size = _tex_parts(Sheet(sheet.title, sheet.note, sheet.head, body))
    note = sheet.note.replace(" (runs)", "") if same else sheet.note
    room = max(1, int(_TEX_HEIGHT // _tex_height(parts[0], size)))
    floats = [parts[first : first + room] for first in range(0, len(parts), room)]
    caption, label = tex(f"{about} {sheet.title}: {note}"), re.sub("[^A-Za-z0-9:.=+-]", "-", label)
    return "\n".join(
        _float(each, size, caption + " (continued)" * bool(i), label + f"-{i + 1}" * bool(i))
        for i, each in enumerate(floats)
    )


def _float(parts: Sequence[Sheet], size: str, caption: str, label: str) -> str:
    lines = ["\\begin{table}", "\\centering", f"\\caption{{{caption}}}", f"\\label{{{label}}}"]
    lines += [f"\\{size}\\setlength{{\\tabcolsep}}{{3pt}}"]
    tabulars = "\n\n\\medskip\n".join(_tabular(part, _tex_small(size)) for part in parts)
    return "\n".join([*lines, tabulars, "\\end{table}", ""])


def _tabular(sheet: Sheet, small: str) -> str:
    def cell(entry: Entry) -> str:
        text = f"\\textbf{{{tex(entry.text)}}}" if entry.bold else tex(entry.text)
        return text + (f" {{\\{small} {tex(entry.small)}}}" if entry.small else "")

    lines = [
        f"\\begin{{tabular}}{{@{{}}l{'r' * (len(sheet.head) - 1)}@{{}}}}",
        "\\toprule",
        *_tex_head(sheet.head),
        "\\midrule",
    ]
    lines += [" & ".join(map(cell, row)) + r" \\" for row in sheet.body]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


# In points, of class article: a character of what cells hold in each size, as LaTeX measures it, and the distance of
# lines; a line, and a page without a caption.
_TEX_SIZES = {"normalsize": 4.65, "small": 4.3, "footnotesize": 3.95, "scriptsize": 3.7, "tiny": 3.17}
_TEX_LINES = {"normalsize": 12, "small": 11, "footnotesize": 9.5, "scriptsize": 8, "tiny": 6}
_TEX_WIDTH, _TEX_HEIGHT = 345, 480


def _tex_small(size: str) -> str:
    """The size of what stands small in a table of this size."""
    return "tiny" if size in ("scriptsize", "tiny") else "scriptsize"


def _tex_parts(sheet: Sheet) -> tuple[list[Sheet], str]:
    """The columns in as few parts as fit into a line, and the largest size at which they do, and each into a page."""
    count = len(sheet.head) - 1
    for n in range(1, max(1, count) + 1):
        most = max(1, -(-count // n))
        firsts = range(1, max(1, count) + 1, most)
        parts = [_columns(sheet, range(first, min(first + most, count + 1))) for first in firsts]
        fits = [size for size in _TEX_SIZES if all(_tex_width(part, size) <= _TEX_WIDTH for part in parts)]
        fits = [size for size in fits if size == "tiny" or _tex_height(sheet, size) <= _TEX_HEIGHT]
        if fits or most == 1:
            break
    return parts, (fits or ["tiny"])[0]


def _columns(sheet: Sheet, which: range) -> Sheet:
    head, *body = [[row[0], *(row[i] for i in which)] for row in (sheet.head, *sheet.body)]
    return Sheet(sheet.title, sheet.note, head, body)  # type: ignore[arg-type]


def _tex_height(sheet: Sheet, size: str) -> float:
    """In points, about: two lines of heads, three rules, and the space to the next part."""
    return (len(sheet.body) + 2) * _TEX_LINES[size] + 24


def _tex_width(sheet: Sheet, size: str) -> float:
    """In points, about; bold characters are a ninth wider, signs two thirds."""
    one, small = _TEX_SIZES[size], _TEX_SIZES[_tex_small(size)]

    def width(e: Entry) -> float:
        signs = sum(map(e.text.count, "+−"))
        return one * (len(e.text) + 2 / 3 * signs) * (10 / 9 if e.bold else 1) + small * len(e.small and f" {e.small}")

    rows = [[one * len(" ".join(head) if len(head) == 1 else head[-1]) for head in sheet.head]]
    rows += [[*map(width, row)] for row in sheet.body]
    return sum(max(column) for column in zip(*rows, strict=True)) + 6 * (len(sheet.head) - 1)


def _tex_head(head: Sequence[tuple[str, ...]]) -> list[str]:
    first, *others = head
    if any(len(label) != 2 for label in others):
        return [" & ".join(tex(" ".join(label)) for label in head) + r" \\"]
    spans, rules, column = [], [], 2
    for name, group in itertools.groupby(others, key=lambda label: label[0]):
        width = len(list(group))
        spans.append(f"\\multicolumn{{{width}}}{{c}}{{{tex(name)}}}")
        rules.append(f"\\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    below = " & ".join([tex(" ".join(first)), *(tex(label[1]) for label in others)])
    return [" & ".join(["", *spans]) + r" \\", " ".join(rules), below + r" \\"]


_TEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "→": r"$\to$",
    "×": r"$\times$",
    "~": r"\textasciitilde{}",
}


def tex(text: str) -> str:
    """``text`` with what LaTeX would read as a command made plain."""
    return re.sub(r"[\\±−→×~]|[&%$#_{}]", lambda m: _TEX.get(m[0], "\\" + m[0]), text.replace("`", ""))


def html(sheet: Sheet) -> str:
    """A section with a table that scrolls sideways by itself where the screen is narrow."""

    def cell(i: int, entry: Entry) -> str:
        text = f"<b>{escape(entry.text)}</b>" if entry.bold else escape(entry.text)
        small = f" <small>{escape(entry.small)}</small>" if entry.small else ""
        return f'<th scope="row">{text}{small}</th>' if i == 0 else f"<td>{text}{small}</td>"

    body = "\n".join("<tr>" + "".join(cell(i, e) for i, e in enumerate(row)) + "</tr>" for row in sheet.body)
    table = f"<table>\n<thead>\n{_html_head(sheet.head)}\n</thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<h3>{escape(sheet.title)}</h3>\n<p>{escape(sheet.note)}</p>\n<div class="wide">{table}</div>\n'


def _html_head(head: Sequence[tuple[str, ...]]) -> str:
    first, *others = head
    if any(len(label) != 2 for label in others):
        return "<tr>" + "".join(f'<th scope="col">{escape(" ".join(label))}</th>' for label in head) + "</tr>"
    spans = [(name, len(list(group))) for name, group in itertools.groupby(others, key=lambda label: label[0])]
    above = "".join(f'<th colspan="{width}" scope="colgroup">{escape(name)}</th>' for name, width in spans)
    below = "".join(f'<th scope="col">{escape(label[1])}</th>' for label in others)
    return f'<tr><th rowspan="2" scope="col">{escape(" ".join(first))}</th>{above}</tr>\n<tr>{below}</tr>'


def escape(text: str) -> str:
    """``text`` safe inside HTML; `code` in backquotes is set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _html.escape(text))
