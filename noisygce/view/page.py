"""Pages: one HTML file that needs nothing else, filled from a template of this folder by Jinja."""

from __future__ import annotations

from pathlib import Path


def render(template: str, **values: object) -> str:
    """A template (report.html, gallery.html) with these values; a text is escaped unless it is of markupsafe.Markup."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)
