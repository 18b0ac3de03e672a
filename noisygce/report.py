"""``python -m noisygce.report``: one HTML page of an experiment, to read or to share.

    python -m noisygce.report experiment=demo
    python -m noisygce.report experiment=table1_cifar10 against=published     or against=reference

Writes results/report/<experiment>.html with tables, figures, gaps between selection rules, missing runs, versions,
digests and the command that reproduces each cell. The page needs no other file. Other arguments are those of
noisygce.train.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from statistics import median

from noisygce.errors import NoisygceError
from noisygce.results import summary
from noisygce.settings import arguments
from noisygce.sweep.missing import hint
from noisygce.sweep.plan import Plan, shown
from noisygce.view import canvas, escape, page, paths, records, subtable
from noisygce.view.cells import Cell
from noisygce.view.figures import draw
from noisygce.view.tables import OPTIONS, Table, tabulate


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str], *, publish: bool = False) -> None:
    """Writes the report that the arguments ask for; publish: into the archive of its runs."""
    options, rest = arguments.split(argv, {"against": OPTIONS["against"]})
    plan = shown(rest)
    table = tabulate(plan, **options, command="report")
    if all(run.state == "missing" for run in table.runs):
        reason = hint(plan, table.runs)
        raise NoisygceError(f"none of these runs is below {plan.results}: nothing to report{reason and f'; {reason}'}")
    if "decimals" not in plan.table:
        table = replace(table, spec=replace(table.spec, decimals=decimals(table)))
    stem = paths.stem(plan, "report", table.spec.options, publish=publish)
    records.write_report(stem, report(plan, table), table, paths.source(plan, publish))
    print(f"Written: {stem}.html, .json")


def decimals(table: Table) -> int:
    """Decimals of per cent no finer than the spread over seeds: one where a standard deviation is a point or more in
    half of the cells, else two."""
    rules = [rule for rule in table.spec.rules if rule != "gap"]
    samples = [cell.sample(rule) for rule in rules for cell in table.cells.cell.values()]
    deviations = [sample.std for sample in samples if sample and sample.std is not None]
    return 1 if deviations and median(deviations) >= 0.01 else 2


def report(plan: Plan, table: Table) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    accuracies = [*(each for name, each in table.subtables.items() if name != "gap"), *table.pairs]
    cells = table.cells
    return page.render(
        "report.html",
        title=escape.plain(table.spec.title),
        name=plan.name,
        runs=len(table.runs),
        states=summary(table.runs),
        tables=[Markup(subtable.html(each)) for each in accuracies],
        gaps=[Markup(subtable.html(each)) for name, each in table.subtables.items() if name == "gap"],
        figures=[
            (drawing.title, Markup(canvas.inline(drawing.figure, drawing.kind, drawing.title)))
            for drawing in draw(plan, table.cells)
        ],
        made=[escape.plain(line) for line in table.footer],
        train=shlex.join(["python", "-m", "noisygce.train", "-m", *arguments.typed(plan.arguments)]),
        missing=[(run.id, run.state, escape.plain(run.note)) for run in table.runs if run.state != "done"],
        commands=[
            (cells.row_label(row), cells.column_label(column), reproduce(plan, cell))
            for (row, column), cell in cells.cell.items()
        ],
        digests=[
            (run.id, run.manifest["noise"]["labels_sha256"], run.manifest["state_sha256"])
            for run in table.runs
            if run.state == "done"
        ],
    )


# Where and how a run is made, not what is trained.
_NOT_TRAINED = ("paths.", "runtime.", "hydra.", "grid=", "table.", "experiment=")


def reproduce(plan: Plan, cell: Cell) -> str:
    """The command line whose runs are those of a cell, and no others: what the grid sets is among its words."""
    seeds = ",".join(str(run.config["seed"]) for run in cell.runs)
    job = [override for override in cell.runs[0].job if not override.lstrip("+").startswith((*_NOT_TRAINED, "seed="))]
    experiment = [f"experiment={plan.name}"] if plan.name else []
    typed = [word.partition("grid=")[0] for word in plan.arguments if word.lstrip("+").startswith("grid=")]
    has_grid = plan.name and (plan.grid or typed)  # without an experiment there is none to leave out
    grid = [f"{'++' if '+' in ''.join(typed) else ''}grid=null"] if has_grid else []
    hydra = arguments.typed([word for word in plan.arguments if word.startswith("hydra.")])
    return shlex.join(["python", "-m", "noisygce.train", "-m", *hydra, *experiment, *grid, *job, f"seed={seeds}"])


if __name__ == "__main__":
    main()
