"""The site of these pages: Sphinx, with MyST for Markdown and the furo theme. ``make docs`` builds it.

Sphinx and not MkDocs, because the API reference comes from docstrings, MkDocs 1.x is no longer maintained and the theme
that most sites use ends in November 2026. The pages stay plain Markdown that a code host shows as well.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from sphinx.application import Sphinx

from noisygce import __version__

project = "noisygce"
author = "The noisygce authors"
project_copyright = "The noisygce authors, MIT licence"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "reference"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
source_suffix = {".md": "markdown"}
nitpicky = False  # types of torch and numpy have no pages here

myst_heading_anchors = 4  # links such as tables.md#what-a-cell-says, as code hosts have them
myst_enable_extensions = ["deflist"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"noisygce {__version__}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False

# Links to files of the repository that are no pages of this site: their names stay, as text.
_OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\(\.\./[^)]*\)")


def without_links_outside(_app: Sphinx, page: str, content: list[str]) -> None:
    if "/" not in page:
        content[0] = _OUTSIDE.sub(r"\1", content[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", without_links_outside)
