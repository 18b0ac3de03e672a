"""Missing runs: why runs that a person knows to be there have no result under the ids of a plan."""

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
    """Why runs of a plan may be missing that a person knows to be there; empty where there is nothing to say."""
    if said := _changed(plan, found):
        return said
    return "" if any(run.state == "done" for run in found) else closest(plan)


def _changed(plan: Plan, found: Sequence[Result]) -> str:
    """Of the missing runs, those that are there as trained before something changed that is no value of their config:
    own code, own files, noisygce."""
    before: list[tuple[str, set[str]]] = []
    for asked, run in zip(plan.runs, found, strict=True):
        label = glob.escape(asked.id.rpartition("-")[0])
        folders = (plan.results / "runs").glob(f"{label}-*") if run.state == "missing" else ()
        for there in map(results.of_folder, sorted(folders)):
            was = there.manifest.get("config", {})
            if flat(runs.given(was)) == flat(runs.given(asked.identity)):
                before.append((there.id, _differing(was, asked.identity)))
                break
    if not before:
        return ""
    what = ", ".join(sorted(set().union(*(names for _, names in before))))
    return f"{len(before)} of the missing runs were trained before {what} changed, such as {before[0][0]}"


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """The modules and files of a person, or noisygce itself, that two identities of one config differ in."""
    named = {
        name
        for part in ("code", "contents")
        for name in {**was.get(part, {}), **now.get(part, {})}
        if was.get(part, {}).get(name) != now.get(part, {}).get(name)
    }
    return named or {"noisygce"}


def closest(plan: Plan) -> str:
    """Of a plan of which no run is done: the finished run of its data that is most like one of it, whatever its seed,
    and how it differs; empty where there is none."""
    asked = {json.dumps(each, sort_keys=True): each for each in map(_without_seed, (run.identity for run in plan.runs))}
    names = {each.get("data.name") for each in asked.values()}
    best: tuple[int, str] | None = None
    for run in results.found(plan.results):
        if run.state != "done" or run.config.get("data.name") not in names:
            continue
        there = _without_seed(run.manifest["config"])
        for each in asked.values():
            others = [key for key in sorted({*there, *each}) if there.get(key) != each.get(key)]
            if best is None or len(others) < best[0]:
                has = [f"{key}={there[key]}" for key in others if key in there and not key.endswith("_target_")]
                how = f"with {' '.join(has)}" if has else "with other code, other data or another seed"
                best = len(others), f"none of these runs is done; the most alike there is {run.id}, {how}"
    return best[1] if best else ""


def _without_seed(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat(runs.given(identity)).items() if key != "seed"}
