"""matplotlib by its own defaults, whatever MPLBACKEND, a matplotlibrc or the program around noisygce says.

A notebook sets MPLBACKEND for all that it starts, and matplotlib cannot even be imported where that names a package
which is missing; a matplotlibrc may ask for LaTeX. Figures of noisygce need no backend: they are drawn into files.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
