"""``python -m noisygce.figure``: the figures of an experiment, from whatever runs are done.

    python -m noisygce.figure experiment=demo
    python -m noisygce.figure experiment=demo paths.results=elsewhere

Writes PDF, PNG and SVG to results/figures/<experiment>: accuracy, pruning, memorisation, noise, and a q x k heat map
where the experiment sweeps loss.q and loss.k. The other arguments are those of noisygce.train.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from noisygce import arguments, results
from noisygce.errors import NoisygceError
from noisygce.plan import Plan, plan
from noisygce.view import canvas, curves, heat
from noisygce.view.cells import Cells, lay_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "accuracy": "Test accuracy over epochs: mean of the seeds bold, each seed thin where there are few lines",
    "pruning": "Pruning: how right it is, and what it keeps",
    "memorisation": "Memorisation: what the network says of the mislabelled training samples (mean of the seeds)",
    "noise": "Noise as drawn: share of each given label among the samples of a true label, in % (mean of the seeds)",
    "q_and_k": "Test accuracy in % over q and k: mean ± sample standard deviation (runs)",
}


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Draws and writes the figures that the arguments ask for."""
    _, rest = arguments.split(words, {})
    asked = plan(rest)
    folder = asked.results / "figures" / asked.name
    written = []
    for name, figure in draw(asked, lay_out(asked, results.of(asked))):
        folder.mkdir(parents=True, exist_ok=True)
        for ending in canvas.FORMATS:
            (folder / f"{name}.{ending}").write_bytes(canvas.file(figure, ending, name))
        written.append(name)
        print(f"{folder / name}.pdf, .png, .svg: {TITLES[name]}", flush=True)
    if not written:
        raise NoisygceError(f"no run of {asked.name} is done yet: there is nothing to draw")


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


if __name__ == "__main__":
    main()
