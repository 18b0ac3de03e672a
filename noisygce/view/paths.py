"""Where a table, report or figure is written, and the command that writes it.

Below a results folder: tables/demo.md, figures/demo/accuracy.png, report/demo.html; where other arguments than the
experiment are given, a readable name and a digest of all arguments, or the ``name=NAME`` among the arguments. Beside
the archive of an experiment: table.md, accuracy.png, report.html.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from noisygce.runs import archive, atomic
from noisygce.settings import setting
from noisygce.settings.arguments import typed
from noisygce.sweep.plan import Plan
from noisygce.sweep.stored import take_name

_LONGEST = 60  # characters of a readable name


def archived(plan: Plan) -> bool:
    """Whether the runs of a plan stand in an archive."""
    return (plan.results / archive.RUNS).is_file()


def name(plan: Plan, options: Mapping[str, str] | None = None, first: str | None = None) -> str:
    """What tells a plan, under the options of a command, from any other: demo, or demo+seed=0-val-1a2b3c4d; or the
    name that a person gives.

    first: in place of the experiment's name.
    """
    given, words = take_name(plan.arguments)
    if given:
        return given
    first, values = plan.name if first is None else first, [*(options or {}).values()]
    own = (
        [f"experiment={plan.name}"] if not archived(plan) or plan.name == plan.results.name else []
    )  # the archive's own
    words = [word for word in words if not word.startswith("paths.") and word not in own]
    seen = "".join(f"+{word}" for word in words if not word.startswith("hydra."))
    readable = re.sub(r"[^A-Za-z0-9_.,=+-]", "", "-".join([first + seen, *values]))[:_LONGEST].lstrip("+-.")
    if readable == first and not words:
        return first
    return f"{readable}-{hashlib.sha256(json.dumps([first, words, values]).encode()).hexdigest()[:8]}"


def stem(plan: Plan, kind: str, options: Mapping[str, str] | None = None) -> Path:
    """The file without its ending: of a table, report or figure (the kind). Raises ConfigError for a folder of it that
    is a link."""
    if archived(plan):
        known = name(plan, options, first=kind)
        return plan.results / (f"{kind}-{known}" if take_name(plan.arguments)[0] else known)
    file = name(plan, options)
    folders = {"table": f"tables/{file}", "report": f"report/{file}"}
    found = plan.results / folders.get(kind, f"figures/{file}/{kind}")
    atomic.refuse_links(found.parent, plan.results)
    return found


def with_ending(stem: Path, ending: str) -> Path:
    """The file of a stem, which may have dots of its own."""
    return stem.with_name(f"{stem.name}{ending}")


def argv(plan: Plan, command: str, options: Mapping[str, str]) -> list[str]:
    """The command line that makes the table or report of a plan, word by word."""
    given, words = take_name(plan.arguments)
    folders = [word for word in words if word.startswith("paths.results=")]
    words = [word for word in words if word not in folders]
    if plan.results != Path("results"):
        words += folders[-1:] or [setting("paths.results", str(plan.results))]
    words = [
        *typed(words),
        *(f"{key}={value}" for key, value in options.items()),
        *([f"name={given}"] if given else []),
    ]
    return ["python", "-m", f"noisygce.{command}", *words]
