"""The figures of an experiment, by name: those that its runs can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from noisygce.errors import NoisygceError
from noisygce.sweep.plan import Plan, look
from noisygce.view import canvas, curves, heatmaps, memorisation, ranks, rates, reliability, rules
from noisygce.view.cells import Cells, lay_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "overview": "Test accuracy over epochs, and what the network predicts for the mislabelled training samples",
    "accuracy": "Test accuracy over epochs; of more than 12 rows, final test accuracy, sorted",
    "rates": "Test accuracy over the noise rate",
    "pruning": "Pruning: precision, recall, and the share of samples that it keeps",
    "memorisation": "Memorisation: what the network predicts for the mislabelled training samples",
    "noise": "Noise as drawn: share of each given label among the samples of a true label",
    "confusion": "What the kept model predicts for the test samples of each class",
    "calibration": "Reliability: accuracy of the kept model over its confidence, on the test set",
    "ranks": "Critical-difference diagram: mean rank of test accuracy over the settings",
    "q_and_k": "Test accuracy over q and k",
}
DRAWN = tuple(kind for kind in TITLES if kind != "ranks")  # where no kind is asked for: ranks needs an extra


@dataclass(frozen=True)
class Drawing:
    """One figure, of matplotlib. It draws itself in a notebook. against: the numbers that stand beside ours."""

    kind: str
    figure: Figure = field(repr=False)
    against: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """As its files have it."""
        return f"{self.kind}-{self.against}" if self.against else self.kind

    @property
    def title(self) -> str:
        return TITLES[self.kind]

    def file(self, ending: str) -> bytes:
        """As a file: pdf, png or svg."""
        return canvas.file(self.figure, ending, self.kind)

    def _repr_png_(self) -> bytes:
        return self.file("png")


def draw_plan(plan: Plan, kinds: Sequence[str], against: str = "") -> Iterator[Drawing]:
    """The figures of these kinds that the runs of a plan can show. Raises NoisygceError where there is none."""
    drawing = None
    for drawing in draw(plan, lay_out(plan, look(plan)), kinds, against):
        yield drawing
    if drawing is None:
        nothing = f"no figure of the kind {kinds[0]}" if len(kinds) == 1 else "nothing to draw"
        raise NoisygceError(f"the runs that are done below {plan.results} give {nothing}")


def draw(plan: Plan, cells: Cells, kinds: Iterable[str] = DRAWN, against: str = "") -> Iterator[Drawing]:
    """The figures of these kinds that the runs of an experiment can show. against: published, of ``rates``."""
    cells = replace(cells, names={})  # names with formulas are for tables, and table.overview has those of the config
    overview = plan.table.get("overview", {})
    first = str(overview.get("column", ""))
    under = rules.of_table(plan.table, ["val"])
    drawings: dict[str, Callable[[], Figure | None]] = {
        "overview": lambda: memorisation.overview(cells, overview),
        "accuracy": lambda: curves.accuracy(cells),
        "rates": lambda: rates.rates(cells, under, against),
        "pruning": lambda: curves.pruning(cells),
        "memorisation": lambda: memorisation.memorisation(cells, first),
        "noise": lambda: heatmaps.noise(cells),
        "confusion": lambda: heatmaps.confusion(cells, first),
        "calibration": lambda: reliability.reliability(cells, first),
        "ranks": lambda: ranks.diagram(cells, under),
        "q_and_k": lambda: heatmaps.q_and_k(cells, under),
    }
    for kind in kinds:
        if (figure := drawings[kind]()) is not None:
            yield Drawing(kind, figure, against if kind == "rates" else "")
