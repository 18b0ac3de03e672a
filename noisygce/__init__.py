"""noisygce: reproducible experiments on learning with noisy labels, around Generalized Cross Entropy.

    import noisygce
    run = noisygce.run(data="digits", loss="gce", noise="pair", rate=0.4)    # .metrics, .results, .model()
    runs = noisygce.grid(data="digits", loss=["ce", "gce"], seed=range(5))   # .table(), .plot(), .frame

The losses, each a torch.nn.Module: noisygce.losses. All runs below a folder as one table: noisygce.results. Commands:
``python -m noisygce.NAME``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noisygce.api import grid as grid
    from noisygce.api import run as run

__version__ = "0.1.0"
__all__ = ["grid", "run"]


def __getattr__(name: str) -> Any:
    """What trains, imported when it is first used: importing noisygce costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("noisygce.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
