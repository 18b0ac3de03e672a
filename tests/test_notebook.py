"""The notebooks of the docs run as they stand, and show what they show now."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from noisygce import settings

DOCS = settings.config_dir().parent / "docs"
SHOWS = {"text/html": "_repr_html_", "image/png": "_repr_png_"}


def run(source, names):
    """Runs a cell; the value of its last expression. A cell may be a file to write, as in Jupyter."""
    if source.startswith("%%writefile "):
        head, _, text = source.partition("\n")
        Path(head.split()[1]).write_text(text)
        return None
    *before, last = ast.parse(source).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def cells(name):
    found = json.loads((DOCS / name).read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def shown(cell):
    """What a cell shows, by its kind; progress on standard error is not among it."""
    return next((output["data"] for output in cell["outputs"] if "data" in output), {})


def numbers(text):
    return re.findall(r"-?\d+\.\d+", text)


def test_every_cell_runs_and_shows_what_is_stored_with_it(monkeypatch):
    monkeypatch.chdir(DOCS)
    names: dict = {}
    compared = 0
    for cell in cells("results.ipynb"):
        value = run("".join(cell["source"]), names)
        for kind in shown(cell).keys() & SHOWS.keys():
            assert getattr(value, SHOWS[kind])()
        page = "".join(shown(cell).get("text/html", ""))
        if page and not type(value).__module__.startswith("noisygce.api"):  # a run trained here, by this processor
            assert numbers(value._repr_html_()) == numbers(page)
            compared += 1
    assert (len(cells("results.ipynb")), compared) == (6, 4)


def test_a_loss_of_one_s_own_goes_from_idea_to_table(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_losses", raising=False)  # of another test
    names: dict = {}
    lines = 0
    for cell in cells("own_loss.ipynb"):
        source = "".join(cell["source"])
        lines += len([line for line in source.splitlines() if line.strip()])
        value = run(source, names)
        for kind in shown(cell).keys() & SHOWS.keys():
            assert getattr(value, SHOWS[kind])()
    assert lines <= 30
    assert {row for (row,) in names["runs"].table().cells.rows} == {"ce", "gce", "poly_one"}


def test_a_cell_that_fails_is_seen():
    with pytest.raises(NameError):
        run("import json\nnothing", {})
