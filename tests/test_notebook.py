"""The notebook of the docs runs as it stands, and shows what it shows now."""

import ast
import json

import pytest

from noisygce import settings

DOCS = settings.config_dir().parent / "docs"
SHOWS = {"text/html": "_repr_html_", "image/png": "_repr_png_"}


def run(source, names):
    """Runs a cell; the value of its last expression."""
    *before, last = ast.parse(source).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_every_cell_runs_and_shows_what_is_stored_with_it(monkeypatch):
    monkeypatch.chdir(DOCS)
    cells = [c for c in json.loads((DOCS / "results.ipynb").read_text())["cells"] if c["cell_type"] == "code"]
    names: dict = {}
    for cell in cells:
        value = run("".join(cell["source"]), names)
        (output,) = cell["outputs"]
        for kind in output["data"].keys() & SHOWS.keys():
            assert getattr(value, SHOWS[kind])()
        if type(value).__module__.startswith("noisygce"):
            assert repr(value).strip() == "".join(output["data"]["text/plain"]).strip()
    assert len(cells) == 5


def test_a_cell_that_fails_is_seen():
    with pytest.raises(NameError):
        run("import json\nnothing", {})
