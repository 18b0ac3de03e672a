"""Where a table, report or figure is written, and the command that writes it.

Below a results folder: tables/demo.md, figures/demo/accuracy.png, report/demo.html; where other arguments than the
experiment are given, a readable name and a digest of all arguments, or the ``name=NAME`` among the arguments.

An archive has table.md, accuracy.png, report.html, ... of its own, as scripts/publish wrote them. What it has is made
again in its place; any other view of its runs is written below the results folder of the current directory.
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
_ENDINGS = {"table": ".json", "report": ".html"}  # by which a view is there; a figure's is .png


def archived(plan: Plan) -> bool:
    """Whether the runs of a plan stand in an archive."""
    return (plan.results / archive.RUNS).is_file()


def name(plan: Plan, options: Mapping[str, str] | None = None) -> str:
    """What tells a plan, under the options of a command, from any other: demo, or demo+seed=0-val-1a2b3c4d; or the
    name that a person gives."""
    given, words = _words(plan)
    return given or _readable(plan.name, [word for word in words if word != f"experiment={plan.name}"], options)


def stem(plan: Plan, kind: str, options: Mapping[str, str] | None = None, *, publish: bool = False) -> Path:
    """The file without its ending: of a table, report or figure (the kind). Raises ConfigError for a folder of it that
    is a link.

    publish: the archive of the runs takes it, also where it has none yet.
    """
    results, file = plan.results, name(plan, options)
    if archived(plan):
        given, words = _words(plan)
        own = results / _readable(
            kind, [word for word in words if word != f"experiment={plan.name}" or plan.name != results.name], options
        )
        if not given and (publish or with_ending(own, _ENDINGS.get(kind, ".png")).is_file()):
            return own
        others = [word for word in words if word != f"experiment={plan.name}"]
        file = given or _readable(plan.name, [*others, f"paths.results={results}"], options)
        results = Path("results")
    folders = {"table": f"tables/{file}", "report": f"report/{file}"}
    found = results / folders.get(kind, f"figures/{file}/{kind}")
    atomic.refuse_links(found.parent, results)
    return found


def _words(plan: Plan) -> tuple[str, list[str]]:
    """The NAME of ``name=NAME``, or nothing, and the other arguments but where files lie."""
    given, words = take_name(plan.arguments)
    return given, [word for word in words if not word.startswith("paths.")]


def _readable(first: str, words: Sequence[str], options: Mapping[str, str] | None) -> str:
    """A readable name, with a digest unless ``first`` is all."""
    values = [*(options or {}).values()]
    seen = "".join(f"+{word}" for word in words if not word.startswith(("hydra.", "paths.")))
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
    if plan.results != Path("results"):
        words += folders[-1:] or [setting("paths.results", str(plan.results))]
    words = [
        *typed(words),
        *(f"{key}={value}" for key, value in options.items()),
        *([f"name={given}"] if given else []),
    ]
    return ["python", "-m", f"noisygce.{command}", *words]
