"""matplotlib by its own defaults, whatever MPLBACKEND, a matplotlibrc or the program around noisygce says.

A notebook sets MPLBACKEND for all that it starts, and matplotlib cannot even be imported where that names a package
which is missing; a matplotlibrc may ask for LaTeX. Figures of noisygce need no backend: they are drawn into files.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

_one_at_a_time = threading.RLock()  # settings of matplotlib belong to the process, and runs side by side are threads


@contextlib.contextmanager
def by_default(style: Path | None = None, settings: Any = None) -> Iterator[None]:
    """Within it, matplotlib has its defaults, a style sheet and these settings; after it, those of before."""
    with _one_at_a_time:
        _import()
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            if style:
                matplotlib.rcParams.update(matplotlib.rc_params_from_file(style, use_default_template=False))
            matplotlib.rcParams.update({"text.parse_math": False, **(settings or {})})  # $ in a name of a class is text
            yield


def _import() -> None:
    """Imports matplotlib without MPLBACKEND, which it has afterwards where it can."""
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):  # it names no backend that is there
            matplotlib.rcParams["backend"] = backend


def curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy over epochs, beside what becomes of the mislabelled training samples. rows: of metrics.csv."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = {
        "accuracy": ("train_accuracy", "val_accuracy", "test_accuracy"),
        "of the mislabelled, predicted as": ("mislabelled_as_true", "mislabelled_as_noisy", "mislabelled_as_other"),
    }
    for axis, (title, names) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for name in names:
            there = [row for row in rows if row[name] is not None]
            axis.plot([row["epoch"] for row in there], [row[name] for row in there], label=name)
        axis.set(title=title, xlabel="epoch", ylim=(0, 1))
        axis.legend(fontsize=8)
    return figure


def picture(figure: Figure) -> Image:
    """A figure as Pillow's image."""
    from PIL import Image

    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content)
