"""Numbers of others to compare ours with: published ones, where data set, model, noise, rate, loss, rule and protocol
are the same, and a person's own, where all of these but the protocol are.

published.csv holds numbers that were found verbatim in at least one public source (status V1) or two (V2), in per cent,
with the spread where one is given. All but the last rows are Zhang & Sabuncu 2018, Table 1 (arXiv 1805.07836).
published_robust_losses.csv is Table 2 of Wang et al. 2024 (epsilon-softmax, NeurIPS), without validation. What it calls
asymmetric noise is called by our names, class_map on CIFAR-10 and index_block on CIFAR-100.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisygce import check, runs
from noisygce.errors import DataError
from noisygce.inputs import tables
from noisygce.runs.archive import read_rows
from noisygce.runs.ids import flat
from noisygce.sweep.plan import identities, jobs_of
from noisygce.view.stats import TIE, Sample

LEAST = 0.01  # one percentage point: two numbers this close count as equal whatever their spread
_FILES = ("published.csv", "published_robust_losses.csv")
_PAPER = "Zhang & Sabuncu 2018 Table 1"  # the protocol that the config leaves hold
# Papers whose protocol is that of the runs of an experiment, each with the values that its loss has under its noise.
_EXPERIMENTS = {"Wang et al. 2024 (epsilon-softmax) Table 2": "table_robust_losses_{dataset}"}
_COLUMNS = ("dataset", "model", "rule", "noise", "rate", "loss", "mean", "std")  # that a person's own file needs
_GROUPS = ("data", "model", "noise", "loss")
_NAMES = {"dataset": "data.name", "model": "model.name", "noise": "noise.name", "loss": "loss.name"}
_SPOKEN = {"dataset": "data set"}

# What may differ and is named instead of refused: the paper leaves it open or its re-implementations changed it.
_NAMED = {"precision": "", "data.normalise": " (the paper: pixel_mean)", "prune.mode": ""}
_NAMED_OF = {paper: {"precision": " (the paper: fp32)"} for paper in _EXPERIMENTS}  # of other papers


@dataclass(frozen=True)
class Number:
    """A mean accuracy to compare with, a fraction; std: its sample standard deviation, where known."""

    mean: float
    std: float | None
    source: str
    paper: str = ""

    def tolerance(self) -> float:
        """max(3 std, one point)."""
        return max(3 * (self.std or 0.0), LEAST)

    def agrees(self, ours: Sample) -> bool:
        return abs(ours.mean - self.mean) <= self.tolerance() + TIE


@functools.cache
def rows() -> Sequence[Mapping[str, str]]:
    """All published numbers, as the files have them."""
    return [row for name in _FILES for row in read_rows(Path(__file__).with_name(name))]


def number(config: Mapping[str, Any], rule: str) -> Number | str:
    """The published number for a run with this config (dotted keys), or why there is none to compare with."""
    ranked = sorted(rows(), key=lambda row: (len(_differing(row, config, rule)), row["paper"] != _PAPER))
    nearest = ranked[0]
    differing = _differing(nearest, config, rule)
    if other := [_SPOKEN.get(name, name) for name in differing if name not in ("loss", "rate")]:
        return f"not comparable: {', '.join(other)}"
    if differing:
        return "none known"
    if nearest["paper"] not in (_PAPER, *_EXPERIMENTS):
        return "not comparable: protocol"
    if other := _unlike(nearest, config):
        return f"not comparable: protocol ({', '.join(other)})"
    return _number(nearest, f"{nearest['paper']}, found in {nearest['found_in']}", nearest["paper"])


def elsewhere(config: Mapping[str, Any], rule: str) -> Number | None:
    """The paper's number of the same data set, noise, rate, loss and rule, whatever the network and the protocol."""
    alike = (row for row in rows() if row["paper"] == _PAPER and not {*_differing(row, config, rule)} - {"model"})
    row = next(alike, None)
    return _number(row, f"{row['model']} ({_PAPER})", _PAPER) if row else None


def _number(row: Mapping[str, str], source: str, paper: str = "") -> Number:
    std = float(row["std"]) / 100 if row["std"] else None
    return Number(float(row["mean"]) / 100, std, source, paper)


def read_own(path: Path) -> list[dict[str, str]]:
    """A person's own numbers: a CSV file with the columns of published.csv, of which paper, status and found_in may be
    left out, and std may be empty. Raises DataError, naming the line."""
    try:
        found, numbers = tables.rows(path.expanduser(), blank="remove it")
    except DataError as error:
        raise DataError(f"against={error}") from None
    names, *lines = [[field.strip() for field in row] for row in found] or [[]]
    if missing := [name for name in _COLUMNS if name not in names]:
        raise DataError(f"against={path}: has no column {missing[0]}; its first line must name {','.join(_COLUMNS)}")
    seen, own = set(), [dict(zip(names, line, strict=True)) for line in lines]
    for number, row in zip(numbers[1:], own, strict=True):
        where = f"against={path}, line {number}"
        try:
            check.choice("rule", row["rule"], runs.RULES)
            check.number("mean in per cent", _float(row["mean"]), "[1, 100]")  # 0.87 is a fraction
            check.number("std in per cent", _float(row["std"] or "0"), "[0, 100]")
        except check.Invalid as error:
            raise DataError(f"{where}: {error}") from None
        cell = tuple(_float(row[name]) if name == "rate" else row[name] for name in _COLUMNS[:-2])
        if cell in seen:
            raise DataError(f"{where}: an earlier line is of the same cell; keep one of the two")
        seen.add(cell)
    return own


def unmatched(
    rows: Sequence[Mapping[str, str]], configs: Sequence[Mapping[str, Any]], rules: Sequence[str]
) -> list[Mapping[str, str]]:
    """A person's own numbers that are of no run with these configs (dotted keys), under none of the rules."""
    return [row for row in rows if all(_differing(row, config, rule) for config in configs for rule in rules)]


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def own_number(rows: Sequence[Mapping[str, str]], config: Mapping[str, Any], rule: str) -> Number | str:
    """A person's own number for a run with this config (dotted keys)."""
    found = [row for row in rows if not _differing(row, config, rule)]
    return _number(found[0], found[0].get("paper", "")) if found else "none known"


def _differing(row: Mapping[str, str], config: Mapping[str, Any], rule: str) -> list[str]:
    """In what a published number is about something else."""
    differing = [name for name, key in _NAMES.items() if row[name] != config[key]]
    try:
        same_rate = abs(float(row["rate"]) - config["rate"]) < 1e-9
    except ValueError:  # a set of human labels has a name instead
        same_rate = row["rate"] == str(config.get("noise.set"))
    return [*differing, *([] if same_rate else ["rate"]), *([] if row["rule"] == rule else ["rule"])]


def _unlike(row: Mapping[str, str], config: Mapping[str, Any]) -> list[str]:
    """The values in which a run differs from the protocol of a row's paper."""
    protocol = _protocol(row, config)
    aside = ("seed", "numerics", *_NAMED_OF.get(row["paper"], _NAMED))
    keys = {key for key in (*protocol, *config) if key not in aside and not key.endswith("_target_")}
    return sorted(key for key in keys if protocol.get(key) != config.get(key))


def _protocol(row: Mapping[str, str], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of a run under the protocol of a row's paper, with data set, model, noise, rate and loss of a run."""
    chosen, rate = {group: f"{group}={config[f'{group}.name']}" for group in _GROUPS}, f"rate={config['rate']}"
    job = [*chosen.values(), rate]
    if row["paper"] in _EXPERIMENTS:
        wanted = {chosen["noise"], chosen["loss"], *([rate] if config["rate"] else [])}
        jobs = _jobs(_EXPERIMENTS[row["paper"]].format(**row))
        job = next((each for each in jobs if wanted <= {*each}), job)
    return flat(next(identities([job]))[0])


@functools.cache
def _jobs(experiment: str) -> list[list[str]]:
    return jobs_of([f"experiment={experiment}", "seed=0"])


def named(compared: Sequence[tuple[Mapping[str, Any], Number]]) -> str:
    """What may differ from a paper's protocol in spite of the comparison, with its values.

    compared: config of a run, and the number beside it.
    """
    named: dict[str, None] = {}
    for paper in dict.fromkeys(number.paper for _, number in compared):
        configs = [config for config, number in compared if number.paper == paper]
        for key, value_of_paper in _NAMED_OF.get(paper, _NAMED).items():
            values = sorted({str(config.get(key)) for config in configs})
            named[f"{key}={'/'.join(values)}{value_of_paper}"] = None
    return ", ".join(named)
