"""Tables of an experiment: its cells under each selection rule, and the texts that are written."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noisygce import results, runs
from noisygce.errors import ConfigError
from noisygce.results import Result
from noisygce.sweep.plan import Plan, look
from noisygce.view import escape, places, provenance, published, ranks, sheet
from noisygce.view.cells import Cell, Cells, Key, by_class, grouped, keys_of
from noisygce.view.compare import Compared, against_sheet, mean_and_std, pairable, paired_sheet
from noisygce.view.measures import MEASURES
from noisygce.view.published import Number
from noisygce.view.sheet import Entry, Sheet
from noisygce.view.stats import Sample

RULES = (*runs.RULES, "gap", results.NOISY_VALIDATION, results.LABEL_WAVE)
_MEANING = {
    "val": "test accuracy at the epoch of best noisy validation accuracy",
    "last": "test accuracy at the last epoch",
    "last10": "mean test accuracy of the last ten epochs",
    "val_clean": "ORACLE, looks at clean labels: test accuracy at the epoch of best clean validation accuracy",
    "test": "ORACLE, looks at the test set: best test accuracy of any epoch",
    "label_wave": "test accuracy at the epoch before the changes of training predictions, averaged over three epochs, "
    "rise for the first time (Label Wave); it looks at no validation data",
    "noisy_validation": "best accuracy on the noisy validation labels of any epoch, wrong labels among them",
    "gap": "last − val of each run, in percentage points: what training to the end costs (−) or brings (+)",
}
_FINDS = {"val": "the best-validation model", "last": "the model at the end"}  # of the measures but accuracy
OPTIONS = {"rule": RULES, "against": ("published", "reference"), "measure": tuple(MEASURES)}


@dataclass(frozen=True)
class Spec:
    """What a table is to show, beside its runs.

    name: as files and labels of LaTeX have it. argv: the command that makes it. options: rule, against and measure,
    those that are given. rows, columns: keys of the config.
    """

    title: str
    name: str
    argv: tuple[str, ...]
    options: Mapping[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    rules: tuple[str, ...]

    @property
    def against(self) -> str:
        return self.options.get("against", "")

    @property
    def measure(self) -> str:
        return self.options.get("measure", "accuracy")

    @property
    def command(self) -> str:
        return shlex.join(self.argv)


@dataclass(frozen=True, repr=False)
class Table:
    """All that a table of an experiment says: sheets to read, and the lines below them.

    compared: by rule, the number beside each cell, or why there is none. sheets: each under one rule or beside other
    numbers, by names for a label. pairs: rows against each other. It draws itself in a notebook.
    """

    spec: Spec
    cells: Cells
    runs: Sequence[Result]
    compared: Compared
    sheets: Mapping[str, Sheet]
    pairs: Sequence[Sheet]
    footer: Sequence[str]

    def _repr_html_(self) -> str:
        return "\n".join(map(sheet.html, (*self.sheets.values(), *self.pairs)))

    def __repr__(self) -> str:
        return markdown(self)


def tabulate(plan: Plan, rule: str = "", against: str = "", measure: str = "accuracy") -> Table:
    """The table of a plan: under ``rule``, or under all that its experiment names and the gap between two of them.

    measure: of ``MEASURES``. Raises ConfigError.
    """
    found = look(plan)
    shown = MEASURES[measure]
    known = RULES if measure == "accuracy" else shown.rules or _kept_by(found)
    without = measure == "accuracy" and _no_test_set(found)
    named = (rule,) if rule else (results.NOISY_VALIDATION,) if without else (*_rules(plan), "gap")
    rules = tuple(each for each in named if each in known)
    if not rules:
        raise ConfigError(f"measure={measure}: it has only the rules {', '.join(known)}")
    if against == "published" and measure != "accuracy":
        raise ConfigError(f"measure={measure}: no published numbers of it are known")
    if against and not shown.share:
        raise ConfigError(f"measure={measure}: against={against} compares shares, and this measure is none")
    title = str(plan.table.get("title", plan.name))
    held_out = rules == (results.NOISY_VALIDATION,)
    title = title.replace("Test accuracy", "Noisy validation accuracy") if held_out else shown.titled(title)
    given = {"rule": rule, "against": against, "measure": measure.replace("accuracy", "")}
    options = {key: value for key, value in given.items() if value}
    keys = keys_of(plan, found, "rows"), keys_of(plan, found, "columns")
    name, argv = places.name(plan, *options.values()), places.argv(plan, **options)
    spec = Spec(title, name, tuple(argv), options, *keys, rules)
    cells = cells_of(spec, found)
    lookup = _numbers(against, measure)
    beside = [each for each in rules if against and each in runs.RULES]
    compared = {each: {place: lookup(cell, each) for place, cell in cells.cell.items()} for each in beside}
    return table_of(spec, found, cells, compared)


def cells_of(spec: Spec, found: Sequence[Result]) -> Cells:
    """The runs in the rows and columns of a table."""
    cells = grouped(spec.rows, spec.columns, found, "accuracy" if spec.measure == "rank" else spec.measure)
    if spec.measure == "rank":
        return ranks.by_rank(cells, spec.rules)
    return by_class(cells) if spec.measure == "per_class" else cells


def table_of(spec: Spec, found: Sequence[Result], cells: Cells, compared: Compared) -> Table:
    """The table of these runs, from nothing else than what is given."""
    sheets = {}
    for each in spec.rules:
        ranked = spec.measure == "rank"
        sheets[each] = ranks.sheet_of(cells, each, _MEANING[each]) if ranked else rule_sheet(cells, each)
        if each in compared:
            sheets[f"{each}-{spec.against}"] = against_sheet(cells, each, spec.against, compared[each])
    paired = [
        each for each in spec.rules if each != "gap" and pairable(cells) and spec.measure not in ("per_class", "rank")
    ]
    pairs = [paired_sheet(cells, each) for each in paired]
    return Table(spec, cells, found, compared, sheets, pairs, provenance.footer(found))


def _no_test_set(found: Sequence[Result]) -> bool:
    """Whether no finished run has a test set."""
    done = [run for run in found if run.state == "done"]
    return bool(done) and all(run.number("last") is None for run in done)


def _kept_by(found: Sequence[Result]) -> list[str]:
    """The rules that have chosen the models which finished runs keep."""
    return sorted({run.kept_by for run in found if run.state == "done"}, reverse=True) or ["val"]


def _rules(plan: Plan) -> tuple[str, ...]:
    rules = plan.table.get("rules", ["val", "last"])
    known = (*runs.RULES, results.LABEL_WAVE)
    for each in rules:
        if each not in known:
            raise ConfigError(f"table.rules={rules}: each must be one of {', '.join(known)}")
    return tuple(rules)


def _numbers(against: str, measure: str) -> Callable[[Cell, str], Number | str]:
    """Where the numbers to compare with come from."""
    if against == "published":
        return lambda cell, rule: published.number(cell.config, rule)
    theirs = {run.id: run for run in results.found(results.reference()) if run.state == "done"} if against else {}

    def reference(cell: Cell, rule: str) -> Number | str:
        found = tuple(theirs[run.id] for run in cell.runs if run.id in theirs)
        return published.reference(Cell(found, measure), rule)

    return reference


def rule_sheet(cells: Cells, rule: str) -> Sheet:
    """Rows times columns under one selection rule, which its title names."""
    measure = MEASURES[cells.measure]

    def entry(row: Key, column: Key) -> Entry:
        cell = cells.at(row, column)
        if cell is None:
            return Entry("")
        best = rule != "gap" and row in cells.bold(rule, column)
        return Entry(mean_and_std(cell.sample(rule), rule == "gap", measure), best, cell.count(rule))

    oracle = " (oracle)" if rule in runs.ORACLES else ""
    body = [[Entry(cells.row_label(r)), *(entry(r, c) for c in cells.columns)] for r in cells.rows]
    corner = ", ".join(key.removesuffix(".name").rpartition(".")[2] for key in cells.row_keys)
    bold = "" if rule == "gap" else " Bold: the best and all within its 95 % t interval."
    meaning = measure.of.format(_FINDS[rule]) if measure.of and rule in _FINDS else _MEANING[rule]
    note = f"{meaning[0].upper() + meaning[1:]}. Mean ± sample standard deviation (runs).{bold}"
    return Sheet(f"Rule `{rule}`{oracle}", note, [(corner,), *cells.heads()], body)


def markdown(table: Table) -> str:
    sections = [
        f"# {escape.markdown(table.spec.title)}\n",
        *map(sheet.markdown, (*table.sheets.values(), *table.pairs)),
    ]
    footer = [*map(escape.markdown, table.footer), f"Made by {escape.code(table.spec.command)}."]
    return "\n".join([*sections, "\n".join(f"- {line}" for line in footer), ""])


def latex(table: Table) -> str:
    """One float a rule, and one beside other numbers; how rows differ is left to the other forms."""
    needs = ",".join(sheet.LATEX_PACKAGES)
    comments = [f"{table.spec.title}; needs \\usepackage{{{needs}}}", *table.footer, f"Made by {table.spec.command}."]
    floats = [
        sheet.latex(
            each, f"{table.spec.title}. {table.cells.described(name.split('-')[0])}", f"tab:{table.spec.name}-{name}"
        )
        for name, each in table.sheets.items()
    ]
    return "\n".join([*(f"% {escape.plain(line)}" for line in comments), *floats])


def full(table: Table) -> str:
    """A line for each cell and rule, every number a fraction with all its digits."""
    cells, text = table.cells, io.StringIO()
    theirs = ["theirs_mean", "theirs_std", "difference", "tolerance", "within", "note"] if table.spec.against else []
    names = ["n", "runs", "failed", "mean", "std", "t_low", "t_high", "bold", *theirs, "seeds", "values"]
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*cells.row_keys, *cells.column_keys, "measure", "rule", *names])
    for rule in table.spec.rules:
        for (row, column), cell in cells.cell.items():
            values, s = cell.values(rule), cell.sample(rule)
            low, high = (s.mean - s.half, s.mean + s.half) if s and s.half is not None else (None, None)
            bold = int(rule != "gap" and row in cells.bold(rule, column))
            failed = sum(run.state == "failed" for run in cell.runs)
            line = [s.n if s else 0, len(cell.runs), failed, s and s.mean, s and s.std, low, high, bold]
            if table.spec.against:
                line += _beside(s, table.compared[rule][row, column] if rule in table.compared else "")
            seeds = [" ".join(map(str, values)), " ".join(map(repr, values.values()))]
            where = map(escape.csv, (*row, *column))
            out.writerow([*where, cells.measure, rule, *map(escape.csv, line), *seeds])
    return text.getvalue()


def _beside(ours: Sample | None, theirs: Number | str) -> list[Any]:
    if isinstance(theirs, str):
        return [None, None, None, None, None, theirs]
    difference, within = (ours.mean - theirs.mean, int(theirs.agrees(ours))) if ours else (None, None)
    return [theirs.mean, theirs.std, difference, theirs.tolerance(), within, theirs.source]
