"""Tables of an experiment: its cells under each selection rule, and the texts that are written."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from noisygce import check, results, runs
from noisygce.errors import ConfigError
from noisygce.results import LABEL_WAVE, NOISY_VALIDATION, Result
from noisygce.sweep.plan import Plan, look
from noisygce.view import compare, escape, paths, provenance, published, ranks, subtable
from noisygce.view.cells import Cell, Cells, Key, Place, by_class, grouped, keys_of
from noisygce.view.compare import Compared, mean_and_std
from noisygce.view.measures import MEASURES
from noisygce.view.published import Number
from noisygce.view.subtable import Entry, Subtable

RULES = (*runs.RULES, "gap", NOISY_VALIDATION, LABEL_WAVE)
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
_MODELS = {"val": "the best-validation model", "last": "the model at the end"}  # whose other measures these rules give
# The arguments of the command, and the values that each may have; no values: any text.
OPTIONS: dict[str, tuple[str, ...]] = {"rule": RULES, "against": (), "measure": tuple(MEASURES), "name": ()}


@dataclass(frozen=True)
class Spec:
    """What a table is to show, beside its runs.

    name: as files and labels of LaTeX have it. argv: the command that makes it. options: of ``OPTIONS``, those that are
    given. rows, columns: keys of the config. names: how values of the config are printed. decimals: of per cent.
    """

    title: str
    name: str
    argv: tuple[str, ...]
    options: Mapping[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    rules: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    decimals: int = 2

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
    """A table of an experiment, from its runs and nothing else. It draws itself in a notebook.

    compared: by rule, the number beside each cell, or why there is none.
    """

    spec: Spec
    runs: Sequence[Result]
    compared: Compared = field(default_factory=dict)

    @cached_property
    def cells(self) -> Cells:
        """The runs in rows and columns. Raises ConfigError, or NoisygceError of measure=per_class."""
        spec = self.spec
        measure = "accuracy" if spec.measure == "rank" else spec.measure
        cells = replace(grouped(spec.rows, spec.columns, self.runs, measure), names=spec.names)
        if spec.measure == "rank":
            return ranks.by_rank(cells, spec.rules)
        return by_class(cells) if spec.measure == "per_class" else cells

    @cached_property
    def subtables(self) -> dict[str, Subtable]:
        """Each under one rule or beside other numbers, by names for a label."""
        found = {}
        for rule in self.spec.rules:
            if self.spec.measure == "rank":
                found[rule] = ranks.subtable_of(self.cells, rule, _MEANING[rule])
            elif self.spec.measure == "per_class":  # a subtable a setting: their columns side by side are too many
                settings = dict.fromkeys(column[:-1] for column in self.cells.columns)
                for n, setting in enumerate(settings, 1):
                    part = self.cells.only([place for place in self.cells.cell if place[1][:-1] == setting])
                    found[f"{rule}-{n}"] = rule_subtable(part, rule, self.spec.decimals)
            else:
                found[rule] = rule_subtable(self.cells, rule, self.spec.decimals)
            if rule in self.compared:
                name, numbers = f"{rule}-{Path(self.spec.against).stem}", self.compared[rule]
                found[name] = compare.against(self.cells, rule, self.spec.against, numbers, self.spec.decimals)
        return found

    @property
    def pairs(self) -> list[Subtable]:
        """Rows against each other, under each rule."""
        rules = [rule for rule in self.spec.rules if rule != "gap"]
        if self.spec.measure in ("per_class", "rank") or not compare.pairable(self.cells):
            return []
        return [compare.paired(self.cells, rule, self.spec.decimals) for rule in rules]

    @property
    def footer(self) -> list[str]:
        return provenance.footer(self.runs)

    def _repr_html_(self) -> str:
        return "\n".join(map(subtable.html, (*self.subtables.values(), *self.pairs)))

    def __repr__(self) -> str:
        return markdown(self)


def tabulate(
    plan: Plan, rule: str = "", against: str = "", measure: str = "accuracy", name: str = "", command: str = "table"
) -> Table:
    """The table of a plan: under ``rule``, or under all that its experiment names and the gap between two of them.

    against: published, reference or a CSV file of numbers. measure: of ``MEASURES``. name: of its files, and of its
    labels in LaTeX. Raises ConfigError or DataError.
    """
    for key, value in (("rule", rule), ("measure", measure)):
        if value:
            check.choice(key, value, OPTIONS[key])
    found = look(plan)
    rules = _rules(plan, found, rule, measure)
    number = _numbers(against, measure)
    given = {"rule": rule, "against": against, "measure": measure.replace("accuracy", ""), "name": name}
    options = {key: value for key, value in given.items() if value}
    title = str(plan.table.get("title", plan.name))
    held_out = rules == (NOISY_VALIDATION,) and measure == "accuracy"
    retitled = (
        title.replace("Test accuracy", "Noisy validation accuracy") if held_out else MEASURES[measure].titled(title)
    )
    spec = Spec(
        title=retitled,
        name=paths.name(plan, options),
        argv=tuple(paths.argv(plan, command, options)),
        options=options,
        rows=keys_of(plan, found, "rows"),
        columns=keys_of(plan, found, "columns"),
        rules=rules,
        names=_names(plan),
        decimals=check.whole("table.decimals", plan.table.get("decimals", 2), "[0, 4]"),
    )
    table = Table(spec, found)
    comparable = [each for each in rules if against and each in runs.RULES]
    cells = table.cells.cell  # here, so that runs which would share a cell are refused
    compared = {each: {place: number(cell, each) for place, cell in cells.items()} for each in comparable}
    return replace(table, compared=compared)


def _rules(plan: Plan, found: Sequence[Result], rule: str, measure: str) -> tuple[str, ...]:
    """The rules of a table that have this measure. Raises ConfigError where none has."""
    done = [run for run in found if run.state == "done"]
    known: Sequence[str] = MEASURES[measure].rules or RULES
    if measure == "per_class":  # of the model that a run keeps
        known = sorted({run.kept_by for run in done}, reverse=True) or ["val"]
    asked = plan.table.get("rules", ["val", "last"])
    allowed = (*runs.RULES, LABEL_WAVE)
    for each in asked:
        if each not in allowed:
            raise ConfigError(f"table.rules={asked}: each must be one of {', '.join(allowed)}")
    asked = [rule] if rule else [*asked, "gap"]
    if not rule and measure == "accuracy" and done and all(run.number("last") is None for run in done):
        asked = [NOISY_VALIDATION]  # without a test set
    if not (rules := tuple(each for each in asked if each in known)):
        raise ConfigError(f"measure={measure}: it has only the rules {', '.join(known)}")
    return rules


def _names(plan: Plan) -> dict[str, str]:
    names = plan.table.get("names", {})
    if not isinstance(names, Mapping) or not all(isinstance(text, str) and text for text in names.values()):
        raise ConfigError(f"table.names={names}: must be a mapping of names to texts, such as {{gce: '$L_q$'}}")
    return {str(name): text for name, text in names.items()}


def _numbers(against: str, measure: str) -> Callable[[Cell, str], Number | str]:
    """Looks up the number to compare a cell with under a rule. Raises ConfigError or DataError."""
    if against not in ("", "published", "reference") and not against.endswith(".csv"):
        raise ConfigError(f"against={against}: against must be one of published, reference, or a CSV file of numbers")
    if against not in ("", "reference") and measure != "accuracy":
        raise ConfigError(
            f"measure={measure}: no {'own' if against != 'published' else against} numbers of it are known"
        )
    if against and not MEASURES[measure].share:
        raise ConfigError(f"measure={measure}: against={against} compares shares, and this measure is none")
    if against == "published":
        return lambda cell, rule: published.number(cell.config, rule)
    if against.endswith(".csv"):
        rows = published.read_own(Path(against))
        return lambda cell, rule: published.own_number(rows, cell.config, rule)
    known = {run.id: run for run in results.found(results.reference()) if run.state == "done"} if against else {}

    def reference(cell: Cell, rule: str) -> Number | str:
        sample = Cell(tuple(known[run.id] for run in cell.runs if run.id in known), measure).sample(rule)
        return Number(sample.mean, sample.std, f"{sample.n} reference runs") if sample else "none known"

    return reference


def rule_subtable(cells: Cells, rule: str, decimals: int = 2) -> Subtable:
    """Rows times columns under one selection rule, which its title names."""
    measure = MEASURES[cells.measure]

    def entry(row: Key, column: Key) -> Entry:
        cell = cells.at(row, column)
        if cell is None:
            return Entry("")
        best = rule != "gap" and row in cells.bold(rule, column)
        return Entry(mean_and_std(cell.sample(rule), decimals, rule == "gap", measure), best, cell.count(rule))

    body = [[Entry(cells.row_label(r)), *(entry(r, c) for c in cells.columns)] for r in cells.rows]
    corner = ", ".join(key.removesuffix(".name").rpartition(".")[2] for key in cells.row_keys)
    bold = "" if rule == "gap" else " Bold: the best and all within its 95 % t interval."
    meaning = measure.of.format(_MODELS[rule]) if measure.of and rule in _MODELS else _MEANING[rule]
    note = f"{meaning[0].upper() + meaning[1:]}. Mean ± sample standard deviation (runs).{bold}"
    return Subtable(compare.rule_title(rule), note, [(corner,), *cells.header()], body)


def markdown(table: Table) -> str:
    sections = [
        f"# {escape.markdown(table.spec.title)}\n",
        *map(subtable.markdown, (*table.subtables.values(), *table.pairs)),
    ]
    footer = [*map(escape.markdown, table.footer), f"Made by {escape.code(table.spec.command)}."]
    return "\n".join([*sections, "\n".join(f"- {line}" for line in footer), ""])


def latex(table: Table) -> str:
    """One float a rule, and one beside other numbers; how rows differ is left to the other forms."""
    spec, needs = table.spec, ",".join(subtable.LATEX_PACKAGES)
    comments = [f"{spec.title}; needs \\usepackage{{{needs}}}", *table.footer, f"Made by {spec.command}."]
    floats = [
        subtable.latex(each, [f"{spec.title}.", table.cells.caption(name.split("-")[0])], f"tab:{spec.name}-{name}")
        for name, each in table.subtables.items()
    ]
    return "\n".join([*(f"% {escape.plain(line)}" for line in comments), *floats])


def csv_text(table: Table) -> str:
    """A line for each cell and rule, every number a fraction with all its digits; no text is a formula of a
    spreadsheet."""
    import pandas as pd

    lines = [_line(table, rule, place) for rule in table.spec.rules for place in table.cells.cell]
    return str(pd.DataFrame(lines, dtype=object).to_csv(index=False, lineterminator="\n"))


def _line(table: Table, rule: str, place: Place) -> dict[str, Any]:
    cells, cell = table.cells, table.cells.cell[place]
    values, sample = cell.values(rule), cell.sample(rule)
    line: dict[str, Any] = dict(zip((*cells.row_keys, *cells.column_keys), (*place[0], *place[1]), strict=True))
    line |= {"measure": cells.measure, "rule": rule, "n": sample.n if sample else 0, "runs": len(cell.runs)}
    line["failed"] = sum(run.state == "failed" for run in cell.runs)
    line |= dict.fromkeys(("mean", "std", "t_low", "t_high"))
    if sample:
        line |= {"mean": sample.mean, "std": sample.std}
    if sample and sample.half is not None:
        line |= {"t_low": sample.mean - sample.half, "t_high": sample.mean + sample.half}
    line["bold"] = int(rule != "gap" and place[0] in cells.bold(rule, place[1]))
    if table.spec.against:
        line |= dict.fromkeys(("theirs_mean", "theirs_std", "difference", "tolerance", "within", "note"))
        number = table.compared[rule][place] if rule in table.compared else ""
        if isinstance(number, str):
            line["note"] = number
        else:
            line |= {"theirs_mean": number.mean, "theirs_std": number.std, "note": number.source}
            line["tolerance"] = number.tolerance()
            if sample:
                line |= {"difference": sample.mean - number.mean, "within": int(number.agrees(sample))}
    line = {key: escape.csv(value) for key, value in line.items()}
    each = {} if table.spec.measure == "rank" else values  # a rank is of a mean over seeds, and no seed has one
    return line | {"seeds": " ".join(map(str, values)), "values": " ".join(map(repr, each.values()))}
