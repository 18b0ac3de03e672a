"""Missing runs: why runs that a person has trained have no result under the IDs of a plan."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from typing import Any

from noisygce import results, runs
from noisygce.results import Result
from noisygce.runs.ids import flat
from noisygce.sweep.plan import Plan


def hint(plan: Plan, found: Sequence[Result]) -> str:
    """Why runs of a plan may be missing; empty where nothing explains it."""
    if reason := _changed(plan, found):
        return reason
    return "" if any(run.state == "done" for run in found) else closest(plan)


def _changed(plan: Plan, found: Sequence[Result]) -> str:
    """The missing runs of the same config that were trained with other code of one's own, other files or another
    noisygce."""
    names: set[str] = set()
    trained: list[str] = []
    for planned, run in zip(plan.runs, found, strict=True):
        label = glob.escape(planned.id.rpartition("-")[0])
        folders = (plan.results / "runs").glob(f"{label}-*") if run.state == "missing" else ()
        for there in map(results.of_folder, sorted(folders)):
            identity = there.manifest.get("config", {})
            if flat(runs.given(identity)) == flat(runs.given(planned.identity)):
                names |= _differing(identity, planned.identity)
                trained.append(there.id)
                break
    if not trained:
        return ""
    changed = ", ".join(sorted(names))
    return f"{len(trained)} of the missing runs were trained before {changed} changed, such as {trained[0]}"


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    """The modules and files of a person, or noisygce itself, that two identities of one config differ in."""
    pairs = [(old.get(part, {}), new.get(part, {})) for part in ("code", "contents")]
    return {name for a, b in pairs for name in {**a, **b} if a.get(name) != b.get(name)} or {"noisygce"}


def closest(plan: Plan) -> str:
    """Of a plan of which no run is done: the finished run on the same data that differs least from a planned run,
    whatever its seed, and how it differs; empty where there is none."""
    each_once = {json.dumps(each, sort_keys=True): each for each in (_without_seed(run.identity) for run in plan.runs)}
    planned = list(each_once.values())
    best: tuple[int, str] | None = None
    for run in results.found(plan.results):
        if run.state != "done":
            continue
        there = _without_seed(run.manifest["config"])
        for each in (each for each in planned if each.get("data.name") == there.get("data.name")):
            other = [key for key in sorted({*there, *each}) if there.get(key) != each.get(key)]
            if best is None or len(other) < best[0]:
                values = [f"{key}={there[key]}" for key in other if key in there and not key.endswith("_target_")]
                how = f"with {' '.join(values)}" if values else "with other code, other data or another seed"
                best = len(other), f"none of these runs is done; the most similar finished run is {run.id}, {how}"
    return best[1] if best else ""


def _without_seed(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat(runs.given(identity)).items() if key != "seed"}
