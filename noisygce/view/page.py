"""A page: one HTML file that needs nothing else, light or dark as its reader prefers, readable on a phone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from noisygce.view.sheet import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #ffffff; --soft: #5c5c66; --line: #d9d9e0; --tint: #f4f4f7;
  --link: #0b5cad; --warn: #8a4b00; --warn-tint: #fff3e0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ec; --paper: #16171b; --soft: #a5a5b0; --line: #36373f; --tint: #202127; --link: #7db8f0;
    --warn: #ffc27a; --warn-tint: #33260f; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem; }
p { margin: .25rem 0 .75rem; }
section > p, h3 + p, figcaption { color: var(--soft); font-size: .92rem; max-width: 48rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
a { color: var(--link); }
.wide { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .35rem .75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th[scope=row], thead tr:first-child th:first-child { text-align: left; position: sticky; left: 0;
  background: var(--paper); }
th { font-weight: 500; } thead th { color: var(--soft); } th[colspan] { text-align: center; }
td small { color: var(--soft); }
table.words td { text-align: left; }
code { font: .86em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
td code, pre { user-select: all; }
pre { overflow-x: auto; padding: .6rem .8rem; background: var(--tint); border-radius: 6px; margin: .25rem 0 .75rem; }
figure { margin: 0 0 2rem; } figure svg { height: auto; min-width: 640px; max-width: 100%; display: block; }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; overflow-wrap: anywhere; }
.warn { color: var(--warn); background: var(--warn-tint); padding: .5rem .8rem; border-radius: 6px; }
details { margin: .5rem 0; } summary { cursor: pointer; }
@media (max-width: 40rem) { body { padding: 1rem .75rem 3rem; } th, td { padding: .3rem .5rem; }
  figure svg { max-width: none; } }
"""


def page(title: str, lead: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """A page of (anchor, heading, HTML) sections, with links to each at the top; ``lead`` is HTML too."""
    links = " ".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections)
    body = "\n".join(f'<section id="{a}">\n<h2>{escape(h)}</h2>\n{content}\n</section>' for a, h, content in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{lead}\n<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
    )


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
