"""The figures of an experiment, by name: those that its runs can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from noisygce.runs import drawing
from noisygce.sweep.plan import Plan
from noisygce.view import curves, heat, memorisation
from noisygce.view.cells import Cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "overview": "Test accuracy over epochs, and what the network says of the mislabelled training samples",
    "accuracy": "Test accuracy over epochs: each seed thin, their mean bold; where losses are many, the range of all",
    "pruning": "Pruning: how right it is, and what it keeps",
    "memorisation": "Memorisation: what the network says of the mislabelled training samples (mean of the seeds)",
    "noise": "Noise as drawn: share of each given label among the samples of a true label, in % (mean of the seeds)",
    "confusion": "What the model that is kept says of the test samples of each class, in % (mean of the seeds)",
    "q_and_k": "Test accuracy in % over q and k: mean ± sample standard deviation (runs)",
}


def draw(plan: Plan, cells: Cells, kinds: Iterable[str] = TITLES) -> Iterator[tuple[str, Figure]]:
    """The figures of these kinds that the runs of an experiment can show, each with its kind."""
    shown = plan.table.get("overview", {})
    first = str(shown.get("column", ""))
    drawings: dict[str, Callable[[], Figure | None]] = {
        "overview": lambda: memorisation.overview(cells, shown),
        "accuracy": lambda: curves.accuracy(cells, first),
        "pruning": lambda: curves.pruning(cells),
        "memorisation": lambda: memorisation.memorisation(cells, first),
        "noise": lambda: heat.noise(cells),
        "confusion": lambda: heat.confusion(cells, first),
        "q_and_k": lambda: heat.q_and_k(cells, plan.table.get("rules", ["val"])),
    }
    for kind in kinds:
        with drawing.by_default():
            figure = drawings[kind]()
        if figure is not None:
            yield kind, figure
