"""The figures of an experiment, by name: those that its runs can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from noisygce.sweep.plan import Plan
from noisygce.view import curves, heat, memorisation, ranks, reliability
from noisygce.view.cells import Cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "overview": "Test accuracy over epochs, and what the network predicts for the mislabelled training samples",
    "accuracy": "Test accuracy over epochs; of more than 12 rows, final test accuracy, sorted",
    "pruning": "Pruning: precision, recall, and the share of samples that it keeps",
    "memorisation": "Memorisation: what the network predicts for the mislabelled training samples",
    "noise": "Noise as drawn: share of each given label among the samples of a true label",
    "confusion": "What the kept model predicts for the test samples of each class",
    "calibration": "Reliability: accuracy of the kept model over its confidence, on the test set",
    "ranks": "Critical-difference diagram: mean rank of test accuracy over the settings",
    "q_and_k": "Test accuracy over q and k",
}
DRAWN = tuple(kind for kind in TITLES if kind != "ranks")  # where no kind is asked for: ranks needs an extra


def draw(plan: Plan, cells: Cells, kinds: Iterable[str] = DRAWN) -> Iterator[tuple[str, Figure]]:
    """The figures of these kinds that the runs of an experiment can show, each with its kind."""
    shown = plan.table.get("overview", {})
    first = str(shown.get("column", ""))
    drawings: dict[str, Callable[[], Figure | None]] = {
        "overview": lambda: memorisation.overview(cells, shown),
        "accuracy": lambda: curves.accuracy(cells),
        "pruning": lambda: curves.pruning(cells),
        "memorisation": lambda: memorisation.memorisation(cells, first),
        "noise": lambda: heat.noise(cells),
        "confusion": lambda: heat.confusion(cells, first),
        "calibration": lambda: reliability.reliability(cells, first),
        "ranks": lambda: ranks.diagram(cells, plan.table.get("rules", ["val"])),
        "q_and_k": lambda: heat.q_and_k(cells, plan.table.get("rules", ["val"])),
    }
    for kind in kinds:
        if (figure := drawings[kind]()) is not None:
            yield kind, figure
