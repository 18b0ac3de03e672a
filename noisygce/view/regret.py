"""Regret of selection rules: by how much test accuracy under a rule stays below the best of any epoch (``test``)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from noisygce.results import Result
from noisygce.view import stats
from noisygce.view.stats import Sample, percent
from noisygce.view.subtable import Entry, Subtable


def regrets(runs: Sequence[Result], rules: Sequence[str]) -> list[dict[str, float]]:
    """``test`` - rule, fractions >= 0, of each run that has a number under every one of the rules."""
    numbers = [{rule: run.number(rule) for rule in (*rules, "test")} for run in runs]
    known = [{rule: value for rule, value in each.items() if value is not None} for each in numbers]
    return [{rule: each["test"] - each[rule] for rule in rules} for each in known if len(each) > len(rules)]


def subtables(runs: Sequence[Result], rules: Sequence[str]) -> list[Subtable]:
    """The mean regret of each rule, and the rules against each other, run by run."""
    found = regrets(runs, rules)
    about = (
        "In percentage points; 95 % t interval over the runs, which takes them for independent though they share data."
    )
    alone = [[Entry(rule), *_entries(stats.describe([each[rule] for each in found]))] for rule in rules]
    pairs = []
    for one, other in itertools.combinations(rules, 2):
        differences = [each[other] - each[one] for each in found]
        better = f"{sum(d < -stats.TIE for d in differences)} / {sum(d > stats.TIE for d in differences)}"
        sample = stats.describe(differences)
        pairs.append([Entry(f"{other} − {one}"), *_entries(sample, signed=True), Entry(better)])
    head = [(text,) for text in ("rule", "mean regret", "95 % interval", "runs")]
    return [
        Subtable("Regret", f"Best test accuracy of any epoch less that under the rule. {about}", head, alone),
        Subtable(
            "Rules against each other", about, [("pair",), ("difference",), *head[2:], ("better / worse",)], pairs
        ),
    ]


def _entries(sample: Sample | None, signed: bool = False) -> list[Entry]:
    if sample is None:
        return [Entry("-"), Entry("-"), Entry("0")]
    ends = () if sample.half is None else (sample.mean - sample.half, sample.mean + sample.half)
    interval = " to ".join(percent(end, signed=signed) for end in ends)
    return [Entry(percent(sample.mean, signed=signed)), Entry(interval or "-"), Entry(str(sample.n))]
