"""The figures of an experiment, by name: those that its runs can show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from noisygce.sweep.plan import Plan
from noisygce.view import canvas, curves, heat
from noisygce.view.cells import Cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "accuracy": "Test accuracy over epochs: mean of the seeds bold, each seed thin where there are few lines",
    "pruning": "Pruning: how right it is, and what it keeps",
    "memorisation": "Memorisation: what the network says of the mislabelled training samples (mean of the seeds)",
    "noise": "Noise as drawn: share of each given label among the samples of a true label, in % (mean of the seeds)",
    "q_and_k": "Test accuracy in % over q and k: mean ± sample standard deviation (runs)",
}


def draw(asked: Plan, cells: Cells) -> Iterator[tuple[str, Figure]]:
    """The figures of an experiment by name, those that its runs can show."""
    found = {
        "accuracy": curves.accuracy(cells),
        "pruning": curves.pruning(cells),
        "memorisation": curves.memorisation(cells),
        "noise": heat.noise(cells),
        "q_and_k": heat.q_and_k(cells, asked.table.get("rules", ["val"])),
    }
    for name, figure in found.items():
        if figure is not None:
            canvas.settle(figure)
            yield name, figure
