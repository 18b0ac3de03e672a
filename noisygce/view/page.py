"""A page (page.html): one file that needs nothing else, light or dark as its reader prefers, readable on a phone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from noisygce.view.sheet import escape


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """A page of (anchor, heading, HTML) sections, with links to each at the top; ``lead`` is HTML too."""
    links = " ".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections)
    body = "\n".join(f'<section id="{a}">\n<h2>{escape(h)}</h2>\n{content}\n</section>' for a, h, content in sections)
    return filled("page.html", title=escape(title), lead=lead, links=links, sections=body)


def filled(template: str, **parts: str) -> str:
    """A template of this folder, each ``{{name}}`` in it replaced by a part; what a part holds stays as it is."""
    text = Path(__file__).with_name(template).read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], text)


def command(name: str, words: Sequence[str]) -> str:
    """A command line to copy: a click selects all of it."""
    return f"<pre>{escape(f'{name} {shlex.join(words)}')}</pre>"


def listing(lines: Sequence[str]) -> str:
    """A list; a line that is a warning stands out."""
    items = [
        f'<li class="warn">{escape(x)}</li>' if x.startswith("Warning") else f"<li>{escape(x)}</li>" for x in lines
    ]
    return "<ul>\n" + "\n".join(items) + "\n</ul>"


def words(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    top = "".join(f'<th scope="col" style="text-align:left">{escape(text)}</th>' for text in head)
    body = "\n".join(
        "<tr>"
        + "".join(f'<th scope="row">{t}</th>' if i == 0 else f"<td>{t}</td>" for i, t in enumerate(row))
        + "</tr>"
        for row in ([escape(text) for text in row] for row in rows)
    )
    table = f'<table class="words">\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'
    return f'<div class="wide">{table}</div>'
