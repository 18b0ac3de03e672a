"""``python -m noisygce.figure``: the figures of an experiment, from whatever runs are done.

    python -m noisygce.figure experiment=demo
    python -m noisygce.figure experiment=demo kind=overview
    python -m noisygce.figure experiment=demo paths.results=elsewhere

Writes PDF, PNG and SVG to results/figures/<experiment>, of all kinds or one: accuracy, pruning, memorisation, noise,
q_and_k where the experiment sweeps loss.q and loss.k, and overview where its table.overview says of what. The other
arguments are those of noisygce.train.
"""

from __future__ import annotations

from noisygce.errors import NoisygceError
from noisygce.settings import arguments
from noisygce.sweep.plan import look, plan
from noisygce.view import canvas, places
from noisygce.view.cells import lay_out
from noisygce.view.figures import TITLES, draw


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Draws and writes the figures that the arguments ask for."""
    own, rest = arguments.split(words, {"kind": tuple(TITLES)})
    asked = plan(rest)
    formats = ("png",) if places.archived(asked) else canvas.FORMATS
    drawn = False
    kinds = [own["kind"]] if own else TITLES
    for name, figure in draw(asked, lay_out(asked, look(asked)), kinds):
        stem = places.stem(asked, name)
        stem.parent.mkdir(parents=True, exist_ok=True)
        for ending in formats:
            stem.with_name(f"{stem.name}.{ending}").write_bytes(canvas.file(figure, ending, name))
        drawn = True
        print(f"{stem}{', '.join(f'.{ending}' for ending in formats)}: {TITLES[name]}", flush=True)
    if not drawn:
        raise NoisygceError(f"no run of {asked.name or 'these'} is done yet: there is nothing to draw")


if __name__ == "__main__":
    main()
