"""``python -m noisygce.report``: one HTML page of an experiment, to read or to hand on.

    python -m noisygce.report experiment=demo
    python -m noisygce.report experiment=table1_cifar10 against=published     or against=reference

Writes results/report/<experiment>.html, which holds tables, figures, gaps between selection rules, what is missing,
versions, digests and the command that reproduces each cell, and needs no other file. The other arguments are those of
noisygce.train.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from noisygce.errors import NoisygceError
from noisygce.results import STATES, Result
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.sweep.jobs import expand
from noisygce.sweep.plan import Plan, hint, shown
from noisygce.view import canvas, page, places, sheet
from noisygce.view.cells import Cell
from noisygce.view.figures import TITLES, draw
from noisygce.view.tables import OPTIONS, Table, tabulate


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Writes the report that the arguments ask for."""
    own, rest = arguments.split(words, {"against": OPTIONS["against"]})
    plan = shown(rest)
    table = tabulate(plan, against=own.get("against", ""))
    if all(run.state == "missing" for run in table.runs):
        why = hint(plan, table.runs)
        raise NoisygceError(f"none of these runs is below {plan.results}: nothing to report{why and f'; {why}'}")
    stem = places.stem(plan, "report", *own.values())
    path = stem.with_name(f"{stem.name}.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, report(plan, table), durable=False)
    print(f"Written: {path}")


def report(plan: Plan, table: Table) -> str:
    """The page as HTML."""
    counts = Counter(run.state for run in table.runs)
    summary = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    name = f"Experiment <code>{sheet.escape(plan.name)}</code>: " if plan.name else ""
    lead = f"<p>{name}{len(table.runs)} runs, {summary}.</p>"
    accuracies = [*(s for name, s in table.sheets.items() if name != "gap"), *table.pairs]
    gaps = [s for name, s in table.sheets.items() if name == "gap"]
    sections = [
        ("tables", "Tables", "\n".join(map(sheet.html, accuracies))),
        ("gaps", "Gaps between rules", "\n".join(map(sheet.html, gaps))),
        ("figures", "Figures", _figures(plan, table)),
        ("made", "How the runs were made", page.listing(table.footer)),
        ("missing", "What is missing", _missing(plan, table.runs)),
        ("commands", "Reproduce a cell", _commands(plan, table)),
        ("digests", "Digests", _digests(table.runs)),
    ]
    return page.page(table.title, lead, sections)


def _figures(plan: Plan, table: Table) -> str:
    drawn = [
        f'<figure><figcaption>{sheet.escape(TITLES[name])}</figcaption><div class="wide">'
        f"{canvas.inline(drawing, name, TITLES[name])}</div></figure>"
        for name, drawing in draw(plan, table.cells)
    ]
    return "\n".join(drawn) or "<p>No run is done yet.</p>"


def _missing(plan: Plan, runs: Sequence[Result]) -> str:
    absent = [run for run in runs if run.state != "done"]
    if not absent:
        return "<p>Nothing: every run is done.</p>"
    go_on = page.command("python -m noisygce.train -m", arguments.typed(plan.arguments))
    rows = [[run.id, run.state, run.note] for run in absent]
    listed = page.words(["run", "state", "why"], rows)
    again = "A failed or unreadable run is left out until its failed.json or manifest.json is deleted."
    opened = " open" if len(absent) <= 20 else ""
    return (
        f"<p>This command makes what is missing and leaves the rest as it is:</p>{go_on}<p>{again}</p>"
        f"<details{opened}><summary>{len(absent)} runs</summary>{listed}</details>"
    )


def _commands(plan: Plan, table: Table) -> str:
    cells = table.cells
    rows = [
        [cells.row_label(row), cells.column_label(column), f"`{reproduce(plan, cell)}`"]
        for (row, column), cell in cells.cell.items()
    ]
    note = "<p>Each command trains the runs of one cell, from a clone at a commit above. A click selects it.</p>"
    return note + page.words(["row", "setting", "command"], rows)


_IDLE = ("paths.", "runtime.", "hydra.", "grid=", "table.", "experiment=")  # say where and how, not what to train


def reproduce(plan: Plan, cell: Cell) -> str:
    """The command line whose runs are those of a cell, and no others."""

    def shaping(job: Sequence[str]) -> list[str]:
        return [override for override in job if not override.startswith(_IDLE)]

    seeds = ",".join(str(run.config["seed"]) for run in cell.runs)
    job = [override for override in shaping(cell.runs[0].job) if not override.startswith("seed=")]
    words = [*([f"experiment={plan.name}"] if plan.name else []), *job, f"seed={seeds}"]
    wanted = {tuple(sorted(shaping(run.job))) for run in cell.runs}
    if plan.grid and {tuple(sorted(shaping(other))) for other in expand(words, plan.grid)} != wanted:
        words.insert(1, "grid=null")  # blocks of the grid that set other keys would bring other runs
    hydra = arguments.typed([word for word in plan.arguments if word.startswith("hydra.")])
    return shlex.join(["python", "-m", "noisygce.train", "-m", *hydra, *words])


def _digests(runs: Sequence[Result]) -> str:
    rows = [
        [run.id, run.manifest["noise"]["labels_sha256"], run.manifest["state_sha256"]]
        for run in runs
        if run.state == "done"
    ]
    note = (
        "<p>SHA-256 of the noisy labels, and of the final weights. A run repeated on the same device, versions and "
        "threads must give both; elsewhere the labels stay the same and weights may differ by rounding.</p>"
    )
    listed = page.words(["run", "noisy labels", "final state"], rows)
    return (
        note + f"<details><summary>{len(rows)} runs</summary>{listed}</details>" if rows else "<p>No run is done.</p>"
    )


if __name__ == "__main__":
    main()
