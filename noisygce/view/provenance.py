"""Provenance: what made the numbers of a table, whether all of its runs were made alike, and which are not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from noisygce.results import STATES, Result

_PROTOCOL = (
    ("data.name", "data"),
    ("model.name", "model"),
    ("schedule.epochs", "epochs"),
    ("schedule.batch_size", "batch size"),
    ("schedule.lr", "learning rate"),
    ("precision", "precision"),
    ("data.normalise", "normalised by"),
    ("prune.mode", "pruning"),
)


def footer(results: Sequence[Result]) -> list[str]:
    """Lines for below a table: protocol, commits, versions, devices, NUMERICS, and a warning where runs are mixed."""
    done = [run for run in results if run.state == "done"]
    lines = ["Protocol: " + "; ".join(f"{name} {_said(results, key)}" for key, name in _PROTOCOL) + "."]
    if done:
        made = {name: _counted(values) for name, values in _made(done).items()}
        lines += [f"{name}: {values}." for name, values in made.items()]
    if mixed := mixtures(done):
        lines.append(f"Warning: the runs were not all made alike; they differ in {', '.join(mixed)}.")
    return lines + absent(results)


def _said(results: Sequence[Result], key: str) -> str:
    return ", ".join(sorted({str(run.config.get(key)) for run in results}))


def _made(done: Sequence[Result]) -> dict[str, list[str]]:
    """What made each run."""
    return {
        "Commits": [commit(run.manifest) for run in done],
        "Versions": [versions(run.manifest) for run in done],
        "Devices": [str(run.manifest.get("device")) for run in done],
        "CPU threads": [str(run.manifest.get("threads")) for run in done],
        "NUMERICS": [str(run.config.get("numerics")) for run in done],
    }


def commit(manifest: Mapping[str, Any]) -> str:
    """Commit of a run, shortened, and whether the code had changes beside it."""
    known = manifest.get("commit")
    return (str(known)[:12] if known else "not known") + (" with changes" if manifest.get("dirty") else "")


def versions(manifest: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in manifest.get("versions", {}).items() if v is not None)


def _counted(values: Sequence[str]) -> str:
    """The distinct values, with how many runs each has where there are several."""
    counts = Counter(values)
    return "; ".join(value if len(counts) == 1 else f"{value} ({n} runs)" for value, n in sorted(counts.items()))


def mixtures(done: Sequence[Result]) -> list[str]:
    """In what the runs were not made alike; a change beside the commit counts, for nobody can have it."""
    mixed = [name.lower() if name != "NUMERICS" else name for name, v in _made(done).items() if len(set(v)) > 1]
    return [name.replace("cpu", "CPU") for name in mixed] + (
        ["changes beside the commit"] if any(run.manifest.get("dirty") for run in done) else []
    )


def absent(results: Sequence[Result]) -> list[str]:
    """What is not there: how many runs of each state, then the failed and the unreadable ones by name and cause."""
    counts = Counter(run.state for run in results)
    if counts["done"] == len(results):
        return [f"Complete: all {len(results)} runs are done."]
    said = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    lines = [f"Not complete: of {len(results)} runs, {said}."]
    return lines + [f"{run.state.capitalize()}: {run.id}: {run.note}." for run in results if run.note]
