"""``python -m noisygce.status``: the progress of runs, on this machine and all others that share the results folder.

    python -m noisygce.status experiment=demo
    python -m noisygce.status                                   all runs found below results
    python -m noisygce.status experiment=demo paths.results=elsewhere

Prints which runs are done, running (where, epoch, since when), stopped (can be resumed), failed, unreadable or missing,
and an estimate of the time left. Other arguments are those of noisygce.train: experiment=demo loss=ce, or data=digits
loss=ce seed=0,1
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from noisygce import results
from noisygce.errors import counted
from noisygce.results import Result
from noisygce.runs.messages import duration
from noisygce.settings import arguments
from noisygce.settings.command import printable
from noisygce.sweep.missing import hint
from noisygce.sweep.plan import look, plan_of, results_folder

_KIND = ("data.name", "model.name", "loss.name", "schedule.epochs")  # what the time of a run depends on most
_NEED = ("failed", "unreadable")
_NAMED_UP_TO = 10  # stopped and missing runs are named up to so many; running, failed and unreadable ones always


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Prints the status of the runs that the arguments ask for."""
    _, rest = arguments.split(argv, {})
    if any(not argument.startswith(("paths.", "hydra.")) for argument in rest):
        plan = plan_of(rest)
        found = look(plan)
        lines = [*report(plan.name or "asked for", found, time.time()), hint(plan, found)]
    else:
        folder = results_folder(rest)
        found = results.found(folder)
        lines = report(str(folder), found, time.time())
        if any(run.state == "stopped" for run in found):
            place = folder / "runs"
            lines.append(f"to drop a stopped run, such as one whose own code has changed, delete its folder in {place}")
    for line in filter(None, lines):
        print(printable(line))


def report(name: str, runs: Sequence[Result], now: float) -> list[str]:
    """The lines to print; ``now`` in seconds since 1970."""
    lines = [f"{name}: {counted(len(runs), 'run')}{': ' + results.summary(runs) if runs else ''}"]
    lines += [f"  running     {_running(run, now)}" for run in runs if run.state == "running"]
    lines += [f"  {run.state:<11} {run.id}: {run.note}{_again(run)}" for run in runs if run.state in _NEED]
    for state in ("stopped", "missing"):
        names = [" ".join([run.id, *_values(run)]) for run in runs if run.state == state]
        lines += [f"  {state:<11} {run}" for run in names[:_NAMED_UP_TO]]
        lines += [f"  {state:<11} and {len(names) - _NAMED_UP_TO} more"] if len(names) > _NAMED_UP_TO else []
    return [*lines, left(runs)]


def _again(run: Result) -> str:
    """What to do about a run that training does not resume."""
    name = {"failed": "failed.json", "unreadable": "manifest.json"}[run.state]
    return f"; delete {run.folder / name} to train it again" if os.path.isfile(run.folder / name) else ""


def _running(run: Result, now: float) -> str:
    epochs, done = run.config.get("schedule.epochs", "?"), _epochs_done(run.folder)
    at = "finishing" if done == epochs else f"epoch {done + 1}/{epochs}"  # predictions of all samples, files
    where = f"process {run.owner.get('pid', '?')} on {run.owner.get('host', '?')}"
    since = duration(max(0.0, now - run.owner["since"]))
    return f"{run.id}: {at}, for {since}, {where}"


def _values(run: Result) -> list[str]:
    """What a planned run sets that its id does not show, such as loss.q; and that it was killed, or why it crashed."""
    aside = ("hydra.", "runtime.", "paths.")
    values = [override for override in run.job if "." in override.partition("=")[0] and not override.startswith(aside)]
    ended = f"killed or crashed: process {run.owner.get('pid', '?')}" if run.owner else run.note
    return [*values, f"({ended})"] if ended else values


def _epochs_done(folder: Path) -> int:
    try:
        return max(0, (folder / "metrics.csv").read_bytes().count(b"\n") - 1)  # less the header
    except OSError:
        return 0


def left(runs: Sequence[Result]) -> str:
    """The time until all is done by as many workers as run now: of each run the mean of the finished ones of its kind.

    The time of a kind of which none is done is not known; the line counts these runs.
    """
    to_do = [run for run in runs if run.state in ("running", "stopped", "missing")]
    if not to_do:
        need = sum(run.state in _NEED for run in runs)
        but = f" but for {need} that need{'s' if need == 1 else ''} you" if need else ""
        return f"nothing is left to do{but}" if runs else "no runs"
    took: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        if run.state == "done" and isinstance(run.manifest.get("seconds"), int | float):
            took.setdefault(_kind(run.config), []).append(run.manifest["seconds"])
    known = [run for run in to_do if _kind(run.config) in took]
    if not known:
        return f"{counted(len(to_do), 'run')} left; no time is known before a run of this kind is done"
    seconds = 0.0
    for run in known:
        alike, epochs = took[_kind(run.config)], run.config.get("schedule.epochs")
        done = _epochs_done(run.folder) if run.state != "missing" else 0
        share = done / epochs if isinstance(epochs, int) and epochs > 0 else 0.0
        seconds += sum(alike) / len(alike) * (1 - min(share, 1.0))
    workers = sum(run.state == "running" for run in runs)
    by = counted(workers, "worker") if workers else "one worker; none is running"
    rest = f"; the time of {n} of them is not known" if (n := len(to_do) - len(known)) else ""
    return f"{counted(len(to_do), 'run')} left: about {duration(seconds / max(workers, 1))} by {by}{rest}"


def _kind(config: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(str(config.get(key)) for key in _KIND)


if __name__ == "__main__":
    main()
