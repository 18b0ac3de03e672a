"""``python -m noisygce.figure``: the figures of an experiment, from whatever runs are done.

    python -m noisygce.figure experiment=demo
    python -m noisygce.figure experiment=demo kind=overview
    python -m noisygce.figure experiment=demo paths.results=elsewhere

Writes PDF, PNG and SVG to results/figures/<experiment>, of all kinds or one: accuracy, pruning, memorisation, noise,
confusion where runs keep their predictions, calibration (a reliability diagram), q_and_k where the experiment sweeps
loss.q and loss.k, and overview where its table.overview names rows and a column; ranks (a critical-difference diagram)
where it is asked for. The other arguments are those of noisygce.train.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from noisygce.errors import NoisygceError
from noisygce.settings import arguments
from noisygce.sweep.plan import Plan, look, shown
from noisygce.view import canvas, places
from noisygce.view.cells import lay_out
from noisygce.view.figures import DRAWN, TITLES, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """One figure, of matplotlib. It draws itself in a notebook."""

    kind: str
    figure: Figure = field(repr=False)

    def file(self, ending: str) -> bytes:
        """As a file: pdf, png or svg."""
        return canvas.file(self.figure, ending, self.kind)

    def _repr_png_(self) -> bytes:
        return self.file("png")


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Draws and writes the figures that the arguments ask for."""
    plan, drawings = _asked(argv)
    formats = ("png",) if places.archived(plan) else canvas.FORMATS
    for drawing in drawings:
        stem = places.stem(plan, drawing.kind)
        stem.parent.mkdir(parents=True, exist_ok=True)
        for ending in formats:
            stem.with_name(f"{stem.name}.{ending}").write_bytes(drawing.file(ending))
        print(f"{stem}{', '.join(f'.{ending}' for ending in formats)}: {TITLES[drawing.kind]}", flush=True)


def of(*words: str) -> Drawing:
    """The first figure that the arguments of the command ask for: ``figure.of("experiment=demo", "kind=accuracy")``.

    Raises NoisygceError, or what Hydra raises.
    """
    return next(_asked(words)[1])


def _asked(words: Sequence[str]) -> tuple[Plan, Iterator[Drawing]]:
    own, rest = arguments.split(words, {"kind": tuple(TITLES)})
    plan = shown(rest)

    def drawings() -> Iterator[Drawing]:
        nothing = True
        for kind, figure in draw(plan, lay_out(plan, look(plan)), [own["kind"]] if own else DRAWN):
            nothing = False
            yield Drawing(kind, figure)
        if nothing:
            kinds = f"no figure of the kind {own['kind']}" if own else "nothing to draw"
            raise NoisygceError(f"the runs that are done below {plan.results} give {kinds}")

    return plan, drawings()


if __name__ == "__main__":
    main()
