"""Tables of an experiment: its cells under each selection rule, and the texts that are written."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from noisygce import check, runs
from noisygce.errors import ConfigError
from noisygce.results import LABEL_WAVE, NOISY_VALIDATION, Result
from noisygce.sweep.plan import Plan, look
from noisygce.view import compare, escape, paths, provenance, ranks, rules, subtable
from noisygce.view.cells import Cells, Place, by_class, grouped, keys_of
from noisygce.view.compare import Compared
from noisygce.view.measures import MEASURES
from noisygce.view.published import Number
from noisygce.view.rules import RULES
from noisygce.view.stats import Sample
from noisygce.view.subtable import Subtable

log = logging.getLogger("noisygce")

# The arguments of the command, and the values that each may have; no values: any text.
OPTIONS: dict[str, tuple[str, ...]] = {"rule": RULES, "against": (), "measure": tuple(MEASURES)}
_OF_ACCURACY = ("accuracy", "rank")  # measures of noisy validation where there is no test set


@dataclass(frozen=True)
class Spec:
    """What a table is to show, beside its runs.

    name: as files and labels of LaTeX have it. argv: the command that makes it; of one word, a call of Python. options:
    of ``OPTIONS``, those that are given. rows, columns: keys of the config. names: how values of the config are
    printed. decimals: of per cent.
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
        return self.argv[0] if len(self.argv) == 1 else shlex.join(self.argv)


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
                found[rule] = ranks.subtable(self.cells, rule)
            elif self.spec.measure == "per_class":  # a subtable a setting: their columns side by side are too many
                settings = dict.fromkeys(column[:-1] for column in self.cells.columns)
                for n, setting in enumerate(settings, 1):
                    part = self.cells.only([place for place in self.cells.cell if place[1][:-1] == setting])
                    found[f"{rule}-{n}"] = rules.subtable(part, rule, self.spec.decimals)
            else:
                found[rule] = rules.subtable(self.cells, rule, self.spec.decimals)
            if rule in self.compared:
                name, numbers = f"{rule}-{Path(self.spec.against).stem}", self.compared[rule]
                found[name] = compare.against(self.cells, rule, self.spec.against, numbers, self.spec.decimals)
        return found

    @property
    def pairs(self) -> list[Subtable]:
        """Rows against each other, under each rule."""
        if self.spec.measure in ("per_class", "rank") or not compare.pairable(self.cells):
            return []
        return [compare.paired(self.cells, rule, self.spec.decimals) for rule in self.spec.rules if rule != "gap"]

    @property
    def footer(self) -> list[str]:
        return provenance.footer(self.runs)

    def _repr_html_(self) -> str:
        return "\n".join(map(subtable.html, (*self.subtables.values(), *self.pairs)))

    def __repr__(self) -> str:
        return markdown(self)


def tabulate(plan: Plan, rule: str = "", against: str = "", measure: str = "accuracy", command: str = "table") -> Table:
    """The table of a plan: under ``rule``, or under all that its experiment names and the gap between two of them.

    against: published, reference or a CSV file of numbers. measure: of ``MEASURES``. Raises ConfigError or DataError.
    """
    for key, value in (("rule", rule), ("measure", measure)):
        if value:
            check.choice(key, value, OPTIONS[key])
    found = look(plan)
    under = _rules(plan, found, rule, measure)
    number = compare.numbers(against, measure, plan.name)
    given = {"rule": rule, "against": against, "measure": measure.replace("accuracy", "")}
    options = {key: value for key, value in given.items() if value}
    title = MEASURES[measure].titled(str(plan.table.get("title", plan.name)))
    if under == (NOISY_VALIDATION,) and measure in _OF_ACCURACY:
        title = title.replace("Test accuracy", "Noisy validation accuracy").replace(
            "test accuracy", "noisy validation accuracy"
        )
    spec = Spec(
        title=title,
        name=paths.name(plan, options),
        argv=tuple(paths.argv(plan, command, options)),
        options=options,
        rows=keys_of(plan, found, "rows"),
        columns=keys_of(plan, found, "columns"),
        rules=under,
        names=_names(plan),
        decimals=check.whole("table.decimals", plan.table.get("decimals", 2), "[0, 4]"),
    )
    table = Table(spec, found)
    cells = table.cells.cell  # here, so that runs which would share a cell are refused
    known = {*runs.RULES, *((LABEL_WAVE, NOISY_VALIDATION) if against == "reference" else ())}
    comparable = [each for each in under if against and each in known]
    if against and not comparable:
        raise ConfigError(f"against={against}: there are no such numbers under the rule {', '.join(under)}")
    compared = {each: {place: number(cell, each) for place, cell in cells.items()} for each in comparable}
    if line := compare.left_over(against, [cell.config for cell in cells.values()], [*known] if rule else comparable):
        log.warning(line)
    return replace(table, compared=compared)


def _rules(plan: Plan, found: Sequence[Result], rule: str, measure: str) -> tuple[str, ...]:
    """The rules of a table that have this measure. Raises ConfigError where none has."""
    done = [run for run in found if run.state == "done"]
    known: Sequence[str] = MEASURES[measure].rules or RULES
    if measure == "per_class":  # of the model that a run keeps
        known = sorted({run.kept_by for run in done}, reverse=True) or ["val"]
    of_table = rules.of_table(plan.table, ["val", "last"])
    asked = [rule] if rule else [*of_table, "gap"]
    if not rule and measure in _OF_ACCURACY and done and all(run.number("last") is None for run in done):
        asked = [NOISY_VALIDATION]  # without a test set
    if not (under := tuple(each for each in asked if each in known)):
        raise ConfigError(f"measure={measure}: it has only the rules {', '.join(known)}")
    return under


def _names(plan: Plan) -> dict[str, str]:
    names = plan.table.get("names", {})
    if not isinstance(names, Mapping) or not all(isinstance(text, str) and text for text in names.values()):
        raise ConfigError(f"table.names={names}: must be a mapping of names to texts, such as {{gce: '$L_q$'}}")
    return {str(name): text for name, text in names.items()}


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

    lines = []
    for rule in table.spec.rules:
        bold = table.cells.bold(rule)
        lines += [_line(table, rule, place, place in bold) for place in table.cells.cell]
    return str(pd.DataFrame(lines, dtype=object).to_csv(index=False, lineterminator="\n"))


def _line(table: Table, rule: str, place: Place, bold: bool) -> dict[str, Any]:
    cells, cell = table.cells, table.cells.cell[place]
    values, sample = cell.values(rule), cell.sample(rule)
    low, high = (sample and sample.interval) or (None, None)
    line: dict[str, Any] = {
        **dict(zip((*cells.row_keys, *cells.column_keys), (*place[0], *place[1]), strict=True)),
        "measure": cells.measure,
        "rule": rule,
        "n": sample.n if sample else 0,
        "runs": len(cell.runs),
        "failed": sum(run.state == "failed" for run in cell.runs),
        "mean": sample and sample.mean,
        "std": sample and sample.std,
        "t_low": low,
        "t_high": high,
        "bold": int(bold),
    }
    if table.spec.against:
        line |= _beside(sample, table.compared.get(rule, {}).get(place, ""))
    line = {key: escape.csv(value) for key, value in line.items()}
    each = {} if table.spec.measure == "rank" else values  # a rank is of a mean over seeds, and no seed has one
    return line | {"seeds": " ".join(map(str, values)), "values": " ".join(map(repr, each.values()))}


def _beside(ours: Sample | None, number: Number | str) -> dict[str, Any]:
    """The number beside a cell, or in ``note`` why there is none."""
    line: dict[str, Any] = dict.fromkeys(("theirs_mean", "theirs_std", "difference", "tolerance", "within", "note"))
    if isinstance(number, str):
        return line | {"note": number}
    line |= {"theirs_mean": number.mean, "theirs_std": number.std, "tolerance": number.tolerance()}
    if ours:
        line |= {"difference": ours.mean - number.mean, "within": int(number.agrees(ours))}
    return line | {"note": number.source}
