"""Texts that a person has chosen (names, notes, titles) as each form shows them: as they are, never as commands of it.

Control characters, such as those that move the cursor of a terminal, are shown as Python's repr shows them.
"""

from __future__ import annotations

import html as _html
import re
from collections.abc import Callable, Sequence

from noisygce.settings.command import printable

plain = printable  # a text without control characters: each as its escape


class Typeset(str):
    """A text whose formulas, between dollar signs, LaTeX and Markdown typeset: ``Truncated $L_q$``."""


def joined(separator: str, texts: Sequence[str]) -> str:
    """The texts as one, whose formulas are typeset if any text's are."""
    text = separator.join(texts)
    return Typeset(text) if any(isinstance(each, Typeset) for each in texts) else text


def _but_formulas(escape: Callable[[str], str], text: str) -> str:
    """``text``, escaped; formulas of a ``Typeset`` stay as they are."""
    if not isinstance(text, Typeset):
        return escape(text)
    parts = re.split(r"(\$[^$]+\$)", text)
    return "".join(plain(part) if i % 2 else escape(part) for i, part in enumerate(parts))


def html(text: str) -> str:
    return _html.escape(plain(text))


def markdown(text: str) -> str:
    """Raw HTML, columns, links, emphasis, formulas and entities stay text. Inside a word an underscore is one."""

    def escape(part: str) -> str:
        escaped = re.sub(r"[\\`*|~$\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", plain(part))
        return re.sub(r"&(?=#?\w+;)", "&amp;", escaped).replace("<", "&lt;")

    return _but_formulas(escape, text)


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
    def escape(part: str) -> str:
        found = r"[\\~^`<>|\[*±−→×]|--|[&%$#_{}]"
        return re.sub(found, lambda match: _LATEX.get(match[0], "\\" + match[0]), plain(part))

    return _but_formulas(escape, text)


def csv(value: object) -> object:
    """A text that a spreadsheet would take for a formula, marked as the text it is; any other value as it is."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
