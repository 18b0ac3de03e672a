"""Texts that a person has chosen (names, notes, titles) as each form shows them: as they are, never as commands of it.

Control characters, such as those that move the cursor of a terminal, are shown as Python's repr shows them.
"""

from __future__ import annotations

import html as _html
import re

from noisygce.settings.command import printable

plain = printable


def html(text: str) -> str:
    return _html.escape(plain(text))


def markdown(text: str) -> str:
    """Raw HTML, columns, links, emphasis, formulas and entities stay text. Inside a word an underscore is one."""
    escaped = re.sub(r"[\\`*|~$\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", plain(text))
    return re.sub(r"&(?=#?\w+;)", "&amp;", escaped).replace("<", "&lt;")


def code(text: str) -> str:
    """``text`` as a code span of Markdown, between more backquotes than it has in a row."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in (text[:1], text[-1:]) else ""
    return f"{fence}{space}{plain(text)}{space}{fence}"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row LaTeX takes [ and * for arguments
    "*": "{*}",
    "--": "-{}-",
    "±": r"$\pm$",
    "−": r"$-$",
    "→": r"$\to$",
    "×": r"$\times$",
}


def latex(text: str) -> str:
    return re.sub(r"[\\~^`<>|\[*±−→×]|--|[&%$#_{}]", lambda m: _LATEX.get(m[0], "\\" + m[0]), plain(text))


def csv(value: object) -> object:
    """A text that a spreadsheet would take for a formula, marked as the text it is; any other value as it is."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
