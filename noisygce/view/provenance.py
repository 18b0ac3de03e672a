"""Provenance: what made the numbers of a table, whether all of its runs were made alike, and which are not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from noisygce.results import Result, summary

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
_IF_GIVEN = (  # named where a run has them and they are not neutral, null or false
    ("data.subset", "training samples of"),
    ("data.folds", "folds"),
    ("noise.include_true", "wrong labels drawn from all classes"),
    ("noise.seed", "seed of the noise"),
    ("model.init", "initial weights"),
    ("schedule.annealing", "annealing"),
    ("schedule.clip_norm", "gradients clipped to"),
    ("data.rotation", "rotation"),
)


def footer(results: Sequence[Result]) -> list[str]:
    """Lines for below a table: protocol, commits, versions, devices, and a warning where runs are mixed."""
    done = [run for run in results if run.state == "done"]
    keys = [
        *_PROTOCOL,
        *((key, name) for key, name in _IF_GIVEN if any(_is_given(run, key) for run in results)),
    ]
    settings = [f"{name} {_values(results, key)}" for key, name in keys]
    if any(run.config.get("data.validation") == 0 and run.config.get("data.folds") is None for run in results):
        settings.append(f"validation {_values(results, 'data.validation')}")
    if any("data.verdicts_sha256" in run.config for run in results):
        files = sorted({str(run.config.get("data.verdicts_sha256", "none"))[:8] for run in results})
        settings.append(f"labels after the verdicts {', '.join(files)}")
    lines = [f"Protocol: {'; '.join(settings)}."]
    made = {name: Counter(_of_parts(run, of) for run in done) for name, of in _MADE.items()} if done else {}
    lines += [f"{name[0].upper()}{name[1:]}: {_counted(counts)}." for name, counts in made.items()]
    if mixed := [name for name, counts in made.items() if len(counts) > 1] + (
        ["changes beside the commit"] if any(part.get("dirty") for run in done for part in _parts(run)) else []
    ):
        lines.append(f"Warning: the runs were not all made alike; they differ in {', '.join(mixed)}.")
    return lines + absent(results)


def _is_given(run: Result, key: str) -> bool:
    value = run.config.get(key)
    return value is not None and value is not False


def _values(results: Sequence[Result], key: str) -> str:
    return ", ".join(sorted({str(run.config.get(key, "-")) for run in results}))


def _parts(run: Result) -> list[Mapping[str, Any]]:
    """How each process made its part of a run, the last one last."""
    return [*run.manifest.get("also_made", ()), run.manifest]


def _of_parts(run: Result, of: Callable[[Mapping[str, Any]], str]) -> str:
    return " and then ".join(dict.fromkeys(map(of, _parts(run))))


def _commit(part: Mapping[str, Any]) -> str:
    """Commit, shortened, and whether the code had changes beside it, which nobody can have."""
    known = part.get("commit")
    return (str(known)[:12] if known else "not known") + (" with changes" if part.get("dirty") else "")


def _versions(part: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in part.get("versions", {}).items() if v is not None)


def _device(part: Mapping[str, Any]) -> str:
    """Device; of a CPU its model too, where it is recorded, since another one has other bits."""
    device, processor = str(part.get("device")), part.get("processor")
    return f"{device}, {processor}" if processor and device.startswith("cpu") else device


_MADE: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "commits": _commit,
    "versions": _versions,
    "devices": _device,
    "CPU threads": lambda part: str(part.get("threads")),
}


def _counted(counts: Mapping[str, int]) -> str:
    """The distinct values, with how many runs each has where there are several."""
    return "; ".join(
        value if len(counts) == 1 else f"{value} ({n} {'run' if n == 1 else 'runs'})"
        for value, n in sorted(counts.items())
    )


def absent(results: Sequence[Result]) -> list[str]:
    """What is not there: how many runs of each state, then the failed and the unreadable ones by name and cause."""
    if all(run.state == "done" for run in results):
        return [f"Complete: all {len(results)} runs are done." if len(results) > 1 else "Complete: the run is done."]
    lines = [f"Not complete: of {len(results)} {'run' if len(results) == 1 else 'runs'}, {summary(results)}."]
    return lines + [f"{run.state.capitalize()}: {run.id}: {run.note}." for run in results if run.note]


def subset(runs: Iterable[Result]) -> str:
    """What a caption adds to the data set: of how many training samples runs are that do not train on all."""
    sizes = {run.config.get("data.subset") for run in runs}
    if sizes <= {None}:
        return ""
    texts = ["all" if size is None else f"{size:,}" for size in sorted(sizes, key=lambda size: size or 0)]
    return f" ({', '.join(texts)} training samples)"
