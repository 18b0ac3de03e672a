"""Published numbers, and ours beside them: compared only where data set, model, noise, rate, loss, rule and protocol
are the same.

published.csv holds numbers that were found verbatim in at least one public source (status V1) or two (V2), in per cent,
with the spread where one is given. All but the last rows are Zhang & Sabuncu 2018, Table 1 (arXiv 1805.07836).
published_robust_losses.csv is Table 2 of Wang et al. 2024 (epsilon-softmax, NeurIPS), without validation. What it calls
asymmetric noise is called by our names, class_map on CIFAR-10 and index_block on CIFAR-100.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisygce.runs.ids import flat
from noisygce.sweep.plan import identities, jobs_of
from noisygce.view.cells import Cell
from noisygce.view.stats import TIE, Sample

LEAST = 0.01  # one percentage point: two numbers this close count as equal whatever their spread
_FILES = ("published.csv", "published_robust_losses.csv")
_PAPER = "Zhang & Sabuncu 2018 Table 1"  # the protocol that the config leaves hold
# Papers whose protocol is that of the runs of an experiment, each with the values that its loss has under its noise.
_EXPERIMENTS = {"Wang et al. 2024 (epsilon-softmax) Table 2": "table_robust_losses_{dataset}"}
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


def rows() -> list[dict[str, str]]:
    """All published numbers, as the files have them."""
    return [dict(row) for name in _FILES for row in _read(name)]


@functools.cache
def _read(name: str) -> tuple[Mapping[str, str], ...]:
    with open(Path(__file__).with_name(name), newline="") as file:
        return tuple(csv.DictReader(file))


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
    std = float(nearest["std"]) / 100 if nearest["std"] else None
    source = f"{nearest['paper']}, found in {nearest['found_in']}"
    return Number(float(nearest["mean"]) / 100, std, source, nearest["paper"])


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
    theirs = _protocol(row, config)
    aside = ("seed", "numerics", *_NAMED_OF.get(row["paper"], _NAMED))
    keys = {key for key in (*theirs, *config) if key not in aside and not key.endswith("_target_")}
    return sorted(key for key in keys if theirs.get(key) != config.get(key))


def _protocol(row: Mapping[str, str], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of a run under the protocol of a row's paper, with data set, model, noise, rate and loss of a run."""
    chosen, rate = {group: f"{group}={config[f'{group}.name']}" for group in _GROUPS}, f"rate={config['rate']}"
    job = [*chosen.values(), rate]
    if row["paper"] in _EXPERIMENTS:
        own = {chosen["noise"], chosen["loss"], *([rate] if config["rate"] else [])}
        jobs = _jobs(_EXPERIMENTS[row["paper"]].format(**row))
        job = next((each for each in jobs if own <= {*each}), job)
    return flat(next(identities([job]))[0])


@functools.cache
def _jobs(experiment: str) -> list[list[str]]:
    return jobs_of([f"experiment={experiment}", "seed=0"])


def named(compared: Sequence[tuple[Mapping[str, Any], Number]]) -> str:
    """What may differ from a paper's protocol in spite of the comparison, with its values.

    compared: config of a run, and the number beside it.
    """
    said: dict[str, None] = {}
    for paper in dict.fromkeys(number.paper for _, number in compared):
        configs = [config for config, number in compared if number.paper == paper]
        for key, theirs in _NAMED_OF.get(paper, _NAMED).items():
            values = sorted({str(config.get(key)) for config in configs})
            said[f"{key}={'/'.join(values)}{theirs}"] = None
    return ", ".join(said)


def reference(cell: Cell, rule: str) -> Number | str:
    """The mean of our own committed runs, for comparison."""
    sample = cell.sample(rule)
    return Number(sample.mean, sample.std, f"{sample.n} reference runs") if sample else "none known"
