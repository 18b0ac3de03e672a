"""``python -m noisygce.figure``: the figures of an experiment, from the runs that are done.

    python -m noisygce.figure experiment=demo
    python -m noisygce.figure experiment=demo kind=overview
    python -m noisygce.figure experiment=demo name=figure1      into results/figures/figure1
    python -m noisygce.figure experiment=demo paths.results=elsewhere
    python -m noisygce.figure experiment=demo kind=rates against=published

Writes PDF, PNG and SVG to results/figures/<experiment>, of all kinds or one:

    accuracy, pruning, memorisation, noise
    rates (accuracy over the noise rate)            of an experiment with several rates; against=published: beside the
                                                    paper's numbers
    calibration (reliability diagram), confusion    of runs that keep their predictions
    q_and_k                                         of an experiment that sweeps loss.q and loss.k
    overview                                        of an experiment whose table.overview names rows and a column
    ranks (critical-difference diagram)             with kind=ranks only

Other arguments are those of noisygce.train.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from noisygce.errors import ConfigError
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.sweep.plan import Plan, shown
from noisygce.view import canvas, paths
from noisygce.view.figures import DRAWN, TITLES, Drawing, draw_plan

OPTIONS = {"kind": tuple(TITLES), "against": ("published",)}


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str], *, publish: bool = False) -> None:
    """Draws and writes the figures that the arguments ask for; publish: into the archive of its runs, as PNG alone."""
    plan, drawings = _asked(argv)
    formats = ("png",) if publish else canvas.FORMATS
    for drawing in drawings:
        stem = paths.stem(plan, drawing.name, publish=publish)
        stem.parent.mkdir(parents=True, exist_ok=True)
        for ending in formats:
            atomic.write(paths.with_ending(stem, f".{ending}"), [drawing.file(ending)], durable=False)
        print(f"{stem}{', '.join(f'.{ending}' for ending in formats)}: {drawing.title}", flush=True)


def of(*words: str) -> Drawing:
    """The first figure that the arguments of the command ask for: ``figure.of("experiment=demo", "kind=accuracy")``.

    Raises NoisygceError, or what Hydra raises.
    """
    return next(_asked(words)[1])


def _asked(words: Sequence[str]) -> tuple[Plan, Iterator[Drawing]]:
    options, rest = arguments.split(words, OPTIONS)
    if "against" in options and options.get("kind", "rates") != "rates":
        raise ConfigError(f"kind={options['kind']}: against=published is for kind=rates")
    plan = shown(rest)
    return plan, draw_plan(plan, [options["kind"]] if "kind" in options else DRAWN, options.get("against", ""))


if __name__ == "__main__":
    main()
