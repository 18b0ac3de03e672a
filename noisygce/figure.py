"""``python -m noisygce.figure``: the figures of an experiment, from the runs that are done.

    python -m noisygce.figure experiment=demo
    python -m noisygce.figure experiment=demo kind=overview
    python -m noisygce.figure experiment=demo name=figure1      into results/figures/figure1
    python -m noisygce.figure experiment=demo paths.results=elsewhere

Writes PDF, PNG and SVG to results/figures/<experiment>, of all kinds or one:

    accuracy, pruning, memorisation, noise
    calibration (reliability diagram), confusion    of runs that keep their predictions
    q_and_k                                         of an experiment that sweeps loss.q and loss.k
    overview                                        of an experiment whose table.overview names rows and a column
    ranks (critical-difference diagram)             with kind=ranks only

Other arguments are those of noisygce.train.
"""

from __future__ import annotations

from collections.abc import Sequence

from noisygce.errors import NoisygceError
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.sweep.plan import Plan, look, shown
from noisygce.view import canvas, paths
from noisygce.view.cells import lay_out
from noisygce.view.figures import DRAWN, TITLES, Drawing, draw

OPTIONS: dict[str, tuple[str, ...]] = {"kind": tuple(TITLES), "name": ()}


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Draws and writes the figures that the arguments ask for."""
    options, rest = arguments.split(argv, OPTIONS)
    plan = shown(paths.with_name(rest, options))
    formats = ("png",) if paths.archived(plan) else canvas.FORMATS
    name = {key: value for key, value in options.items() if key == "name"}
    drawn = False
    for drawing in draw(plan, lay_out(plan, look(plan)), _kinds(options)):
        stem = paths.stem(plan, drawing.kind, name)
        stem.parent.mkdir(parents=True, exist_ok=True)
        for ending in formats:
            atomic.write(paths.with_ending(stem, f".{ending}"), [drawing.file(ending)], durable=False)
        print(f"{stem}{', '.join(f'.{ending}' for ending in formats)}: {drawing.title}", flush=True)
        drawn = True
    if not drawn:
        raise _nothing(plan, options)


def of(*words: str) -> Drawing:
    """The first figure that the arguments of the command ask for: ``figure.of("experiment=demo", "kind=accuracy")``.

    Raises NoisygceError, or what Hydra raises.
    """
    options, rest = arguments.split(words, OPTIONS)
    plan = shown(paths.with_name(rest, options))
    for drawing in draw(plan, lay_out(plan, look(plan)), _kinds(options)):
        return drawing
    raise _nothing(plan, options)


def _kinds(options: dict[str, str]) -> Sequence[str]:
    return [options["kind"]] if "kind" in options else DRAWN


def _nothing(plan: Plan, options: dict[str, str]) -> NoisygceError:
    nothing = f"no figure of the kind {options['kind']}" if "kind" in options else "nothing to draw"
    return NoisygceError(f"the runs that are done below {plan.results} give {nothing}")


if __name__ == "__main__":
    main()
