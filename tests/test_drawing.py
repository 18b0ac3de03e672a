"""Figures depend on nothing but what they show: neither on MPLBACKEND nor on a matplotlibrc; neither is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIGURE = """
import hashlib, os
from noisygce.runs import drawing
from noisygce.runs.drawing import curves, picture
from noisygce.view import canvas
row = dict.fromkeys(("train_accuracy", "val_accuracy", "test_accuracy", "mislabelled_as_true",
                     "mislabelled_as_noisy", "mislabelled_as_other"), 0.5)
with canvas.styled():
    figure, (axis,) = canvas.panels(["a title"])
with drawing.by_default():
    picture(curves([{"epoch": 1, **row}, {"epoch": 2, **row}]))
print(*(hashlib.sha256(canvas.file(figure, ending, "x")).hexdigest() for ending in canvas.FORMATS))
import matplotlib
own = {name: dict.__getitem__(matplotlib.rcParams, name) for name in ("text.usetex", "backend")}
print(os.environ.get("MPLBACKEND"), *own.values())
"""


def drawn(**environment: str) -> list[str]:
    """Digests of a figure's files, then MPLBACKEND and matplotlib's own text.usetex and backend, in a new process."""
    plain = {key: value for key, value in os.environ.items() if key not in ("MPLBACKEND", "MATPLOTLIBRC")}
    done = subprocess.run(
        [sys.executable, "-c", FIGURE], env={**plain, **environment}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def plain() -> list[str]:
    return drawn()


def test_a_backend_of_a_notebook_that_is_not_installed_changes_no_bit_of_a_figure(plain: list[str]) -> None:
    *digests, backend, _, _ = drawn(MPLBACKEND="module://a_notebook_s_own")
    assert digests == plain[:3]
    assert backend == "module://a_notebook_s_own"  # as it was, for the program around


def test_a_matplotlibrc_that_asks_for_latex_changes_no_bit_of_a_figure(plain: list[str], tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nlines.linewidth: 9\nsavefig.bbox: standard\n")
    *digests, backend, usetex, own = drawn(MATPLOTLIBRC=str(tmp_path / "matplotlibrc"), MPLBACKEND="svg")
    assert digests == plain[:3]
    assert (backend, usetex, own) == ("svg", "True", "svg")  # which matplotlib has for the program around
