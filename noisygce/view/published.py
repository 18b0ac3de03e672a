"""Published numbers, and ours beside them: compared only where data set, model, noise, rate, loss, rule and protocol
are the same.

published.csv holds numbers that were found verbatim in at least one public source (status V1) or two (V2), in per cent,
with the spread where one is given. All but the last rows are Zhang & Sabuncu 2018, Table 1 (arXiv 1805.07836).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisygce.runs.ids import flat
from noisygce.sweep import identities
from noisygce.view.cells import Cell
from noisygce.view.stats import Sample

LEAST = 0.01  # one percentage point: two numbers this close count as equal whatever their spread
_PAPER = "Zhang & Sabuncu 2018 Table 1"  # the protocol that the config leaves hold
_NAMES = {"dataset": "data.name", "model": "model.name", "noise": "noise.name", "loss": "loss.name"}
_SPOKEN = {"dataset": "data set"}

# What may differ and is named instead of refused: the paper leaves it open or its re-implementations changed it.
_NAMED = {"precision": "", "data.normalise": " (the paper: pixel_mean)", "prune.mode": ""}
_ASIDE = ("seed", "numerics", *_NAMED)


@dataclass(frozen=True)
class Number:
    """A mean accuracy to compare with, a fraction; std: its sample standard deviation, where known."""

    mean: float
    std: float | None
    source: str

    def tolerance(self) -> float:
        """max(3 std, one point)."""
        return max(3 * (self.std or 0.0), LEAST)

    def agrees(self, ours: Sample) -> bool:
        return abs(ours.mean - self.mean) <= self.tolerance() + 1e-12


def rows() -> list[dict[str, str]]:
    """published.csv as it is."""
    with open(Path(__file__).with_name("published.csv"), newline="") as file:
        return list(csv.DictReader(file))


def number(config: Mapping[str, Any], rule: str) -> Number | str:
    """The published number for a run with this config (dotted keys), or why there is none to compare with."""
    ranked = sorted(rows(), key=lambda row: (len(_differing(row, config, rule)), row["paper"] != _PAPER))
    nearest = ranked[0]
    differing = _differing(nearest, config, rule)
    if other := [_SPOKEN.get(name, name) for name in differing if name not in ("loss", "rate")]:
        return f"not comparable: {', '.join(other)}"
    if differing:
        return "none known"
    if nearest["paper"] != _PAPER:
        return "not comparable: protocol"
    if other := _protocol(config):
        return f"not comparable: protocol ({', '.join(other)})"
    std = float(nearest["std"]) / 100 if nearest["std"] else None
    return Number(float(nearest["mean"]) / 100, std, f"{nearest['paper']}, found in {nearest['found_in']}")


def _differing(row: Mapping[str, str], config: Mapping[str, Any], rule: str) -> list[str]:
    """In what a published number is about something else."""
    differing = [name for name, key in _NAMES.items() if row[name] != config[key]]
    try:
        same_rate = abs(float(row["rate"]) - config["rate"]) < 1e-9
    except ValueError:  # a set of human labels has a name instead
        same_rate = row["rate"] == str(config.get("noise.set"))
    return [*differing, *([] if same_rate else ["rate"]), *([] if row["rule"] == rule else ["rule"])]


def _protocol(config: Mapping[str, Any]) -> list[str]:
    """The values in which a run differs from the paper's protocol, which the config leaves hold."""
    job = [f"{group}={config[f'{group}.name']}" for group in ("data", "model", "noise", "loss")]
    paper = flat(next(iter(identities.of([[*job, f"rate={config['rate']}"]]))))
    keys = {key for key in (*paper, *config) if key not in _ASIDE and not key.endswith("_target_")}
    return sorted(key for key in keys if paper.get(key) != config.get(key))


def named(configs: Sequence[Mapping[str, Any]]) -> str:
    """What may differ from the paper's protocol in spite of the comparison, with its values."""
    values = {key: sorted({str(config.get(key)) for config in configs}) for key in _NAMED}
    return ", ".join(f"{key}={'/'.join(found)}{_NAMED[key]}" for key, found in values.items())


def reference(cell: Cell, rule: str) -> Number | str:
    """The mean of our own committed runs, for comparison."""
    sample = cell.sample(rule)
    return Number(sample.mean, sample.std, f"{sample.n} reference runs") if sample else "none known"
