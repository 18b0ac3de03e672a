"""``python -m noisygce.table``: the table of an experiment at any moment, complete or not.

    python -m noisygce.table experiment=demo
    python -m noisygce.table experiment=demo rule=val                 one selection rule: val, last, last10,
                                                                      val_clean, test, or gap (last - val)
    python -m noisygce.table experiment=table1_cifar10 against=published     or against=reference
    python -m noisygce.table experiment=demo paths.results=elsewhere  results below another folder

Prints Markdown; writes Markdown, LaTeX (booktabs) and CSV (fractions, full precision) to results/tables. The other
arguments are those of noisygce.train: experiment=demo seed=0,1 makes the table of these seeds.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisygce import arguments, atomic, results, runs
from noisygce.errors import ConfigError
from noisygce.plan import Plan, plan
from noisygce.results import Result
from noisygce.view import provenance, published, sheet
from noisygce.view.cells import Cell, Cells, Key, lay_out
from noisygce.view.compare import Lookup, against_sheet, paired_sheet, said
from noisygce.view.published import Number
from noisygce.view.sheet import Entry, Sheet
from noisygce.view.stats import Sample

RULES = (*runs.RULES, "gap")
_MEANING = {
    "val": "test accuracy at the epoch of best noisy validation accuracy",
    "last": "test accuracy at the last epoch",
    "last10": "mean test accuracy of the last ten epochs",
    "val_clean": "ORACLE, looks at clean labels: test accuracy at the epoch of best clean validation accuracy",
    "test": "ORACLE, looks at the test set: best test accuracy of any epoch",
    "gap": "last − val of each run, in percentage points: what training to the end costs (−) or brings (+)",
}


@dataclass(frozen=True)
class Table:
    """All that a table of an experiment says: sheets to read, and the lines below them."""

    title: str
    cells: Cells
    runs: Sequence[Result]
    rules: tuple[str, ...]
    against: str  # published, reference or nothing
    lookup: Lookup
    sheets: Sequence[tuple[str, Sheet]]  # each with the rule that it is about
    footer: Sequence[str]


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Prints the table that the arguments ask for and writes its files."""
    own, rest = arguments.split(words, {"rule": RULES, "against": ("published", "reference")})
    asked = plan(rest)
    table = tabulate(asked, own.get("rule", ""), own.get("against", ""))
    beside = [word for word in rest if not word.startswith(("experiment=", "paths."))]  # makes it another table
    name = "-".join(["+".join([asked.name, *beside]), *(own[key] for key in ("rule", "against") if key in own)])
    name = re.sub(r"[^A-Za-z0-9_.,=+-]", "", name)
    folder = asked.results / "tables"
    texts = {"md": markdown(table), "tex": latex(table), "csv": full(table)}
    print(texts["md"])
    for ending, text in texts.items():
        write(folder / f"{name}.{ending}", text)
    print(f"Written: {folder / name}.md, .tex, .csv")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, text, durable=False)


def tabulate(asked: Plan, rule: str = "", against: str = "") -> Table:
    """The table of a plan: under ``rule``, or under all that its experiment names and the gap between two of them."""
    found = results.of(asked)
    cells = lay_out(asked, found)
    rules = (rule,) if rule else (*_rules(asked), "gap")
    lookup = _numbers(asked, against)
    sheets = []
    for each in rules:
        sheets.append((each, rule_sheet(cells, each)))
        if against and each != "gap":
            sheets.append((each, against_sheet(cells, each, against, lookup)))
    sheets += [(each, paired_sheet(cells, each)) for each in rules if each != "gap" and len(cells.rows) > 1]
    title = str(asked.table.get("title", asked.name))
    return Table(title, cells, found, rules, against, lookup, sheets, provenance.footer(found))


def _rules(asked: Plan) -> tuple[str, ...]:
    rules = asked.table.get("rules", ["val"])
    for each in rules:
        if each not in runs.RULES:
            raise ConfigError(f"table.rules={rules}: each must be one of {', '.join(runs.RULES)}")
    return tuple(rules)


def _numbers(asked: Plan, against: str) -> Lookup:
    """Where the numbers to compare with come from."""
    if against == "published":
        return lambda cell, rule: published.number(cell.config, rule)
    folder = asked.results / "reference" / "runs"

    def reference(cell: Cell, rule: str) -> Number | str:
        theirs = (results.look(folder, run.id) for run in cell.runs)
        return published.reference(Cell(tuple(run for run in theirs if run.state == "done")), rule)

    return reference


def rule_sheet(cells: Cells, rule: str) -> Sheet:
    """Rows times columns under one selection rule, which its title names."""

    def entry(row: Key, column: Key) -> Entry:
        cell = cells.at(row, column)
        if cell is None:
            return Entry("")
        best = rule != "gap" and row in cells.bold(rule, column)
        return Entry(said(cell.sample(rule), signed=rule == "gap"), best, cell.count())

    oracle = " (oracle)" if rule in runs.ORACLES else ""
    body = [[Entry(cells.row_label(r)), *(entry(r, c) for c in cells.columns)] for r in cells.rows]
    corner = ", ".join(key.removesuffix(".name").rpartition(".")[2] for key in cells.row_keys)
    bold = "" if rule == "gap" else " Bold: the best and all within its 95 % t interval."
    note = f"{_MEANING[rule][0].upper() + _MEANING[rule][1:]}. Mean ± sample standard deviation (runs).{bold}"
    return Sheet(f"Rule `{rule}`{oracle}", note, [(corner,), *cells.heads()], body)


def markdown(table: Table) -> str:
    sections = [f"# {table.title}\n", *(sheet.markdown(each) for _, each in table.sheets)]
    return "\n".join([*sections, "\n".join(f"- {line}" for line in table.footer), ""])


def latex(table: Table) -> str:
    comments = "\n".join(f"% {line}" for line in [f"{table.title}; needs \\usepackage{{booktabs}}", *table.footer])
    return "\n".join([comments, *(sheet.latex(each) for _, each in table.sheets)])


def full(table: Table) -> str:
    """A line for each cell and rule, every number a fraction with all its digits."""
    cells, text = table.cells, io.StringIO()
    theirs = ["theirs_mean", "theirs_std", "difference", "tolerance", "within", "note"] if table.against else []
    names = ["n", "runs", "failed", "mean", "std", "t_low", "t_high", "bold", *theirs, "seeds", "values"]
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*cells.row_keys, *cells.column_keys, "rule", *names])
    for rule in table.rules:
        for (row, column), cell in cells.cell.items():
            values, s = cell.values(rule), cell.sample(rule)
            low, high = (s.mean - s.half, s.mean + s.half) if s and s.half is not None else (None, None)
            bold = int(rule != "gap" and row in cells.bold(rule, column))
            failed = sum(run.state == "failed" for run in cell.runs)
            line = [len(values), len(cell.runs), failed, s and s.mean, s and s.std, low, high, bold]
            if table.against:
                line += _beside(s, "" if rule == "gap" else table.lookup(cell, rule))
            seeds = [" ".join(map(str, values)), " ".join(map(repr, values.values()))]
            out.writerow([*row, *column, rule, *line, *seeds])
    return text.getvalue()


def _beside(ours: Sample | None, theirs: Number | str) -> list[Any]:
    if isinstance(theirs, str):
        return [None, None, None, None, None, theirs]
    difference, within = (ours.mean - theirs.mean, int(theirs.agrees(ours))) if ours else (None, None)
    return [theirs.mean, theirs.std, difference, theirs.tolerance(), within, theirs.source]


if __name__ == "__main__":
    main()
