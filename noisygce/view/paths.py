"""Where a table, report or figure is written, and the command that writes it.

Below a results folder: tables/demo.md, figures/demo/accuracy.png, report/demo.html; where other arguments than the
experiment are given, a readable name and a digest of all arguments, or the ``name=NAME`` among the arguments.

An archive is only read: views of its runs are written below the results folder of the current directory, in
views/<its folder>-<digest of its path>. ``publish`` writes table.md, accuracy.png, report.html into it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from noisygce.runs import archive, atomic
from noisygce.settings import setting
from noisygce.settings.arguments import typed
from noisygce.sweep.plan import Plan
from noisygce.sweep.stored import take_name

_LONGEST = 60  # characters of a readable name


def source(plan: Plan, publish: bool) -> str:
    """The archive that a view of these runs is written outside of; empty where it is written beside them."""
    return str(plan.results.resolve()) if not publish and (plan.results / archive.RUNS).is_file() else ""


def name(plan: Plan, options: Mapping[str, str] | None = None) -> str:
    """What tells a plan, under the options of a command, from any other: demo, or demo+seed=0-val-1a2b3c4d; or the
    name that a person gives."""
    given, words = take_name(plan.arguments)
    return given or _readable(plan.name, [word for word in words if word != f"experiment={plan.name}"], options)


def stem(plan: Plan, kind: str, options: Mapping[str, str] | None = None, *, publish: bool = False) -> Path:
    """The file without its ending: of a table, report or figure (the kind). Raises ConfigError for a folder of it that
    is a link.

    publish: it goes into the archive that has the runs.
    """
    if publish:
        own = f"experiment={plan.name}" if plan.name == plan.results.name else ""  # the archive is called by it
        return plan.results / _readable(kind, [word for word in plan.arguments if word != own], options)
    results, file = plan.results, name(plan, options)
    folders = {"table": f"tables/{file}", "report": f"report/{file}"}
    found = Path(folders.get(kind, f"figures/{file}/{kind}"))
    if there := source(plan, publish):
        results = Path("results")
        found = Path("views", f"{Path(there).name}-{hashlib.sha256(there.encode()).hexdigest()[:8]}", found)
    atomic.refuse_links((results / found).parent, results)
    return results / found


def _readable(first: str, words: Sequence[str], options: Mapping[str, str] | None) -> str:
    """A readable name of a command line, with a digest of it unless ``first`` is all."""
    words, values = [word for word in words if not word.startswith("paths.")], [*(options or {}).values()]
    seen = "".join(f"+{word}" for word in words if not word.startswith("hydra."))
    readable = re.sub(r"[^A-Za-z0-9_.,=+-]", "", "-".join([first + seen, *values]))[:_LONGEST].lstrip("+-.")
    if readable == first and not words:
        return first
    return f"{readable}-{hashlib.sha256(json.dumps([first, words, values]).encode()).hexdigest()[:8]}"


def with_ending(stem: Path, ending: str) -> Path:
    """The file of a stem, which may have dots of its own."""
    return stem.with_name(f"{stem.name}{ending}")


def argv(plan: Plan, command: str, options: Mapping[str, str]) -> list[str]:
    """The command line that makes the table or report of a plan, word by word."""
    given, words = take_name(plan.arguments)
    folders = [word for word in words if word.startswith("paths.results=")]
    words = [word for word in words if word not in folders]
    if plan.results.absolute() != Path("results").absolute():
        words += folders[-1:] or [setting("paths.results", str(plan.results))]
    words = [
        *typed(words),
        *(f"{key}={value}" for key, value in options.items()),
        *([f"name={given}"] if given else []),
    ]
    return ["python", "-m", f"noisygce.{command}", *words]
