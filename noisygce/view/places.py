"""Where what is written stands, and the command that writes it.

Below a results folder: tables/demo.md, figures/demo/accuracy.png, report/demo.html; where other arguments than the
experiment are given, a readable name and a digest of all arguments. Beside the archive of an experiment: table.md,
accuracy.png, report.html.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from noisygce.runs import archive, atomic
from noisygce.settings import setting
from noisygce.settings.arguments import typed
from noisygce.sweep.plan import Plan

_LONGEST = 100  # characters of a readable name, which a file system must bear with what is added


def archived(plan: Plan) -> bool:
    """Whether the runs of a plan stand in an archive."""
    return (plan.results / archive.RUNS).is_file()


def name(plan: Plan, *options: str) -> str:
    """What tells a plan, under further options of its command, from any other: demo, or demo+seed=0-val-1a2b3c4d."""
    return _name(plan.name, plan, *options)


def stem(plan: Plan, kind: str, *options: str) -> Path:
    """The file without its ending: of a table, report or figure (the kind). Raises ConfigError for a folder of it that
    is a link."""
    if archived(plan):
        return plan.results / _name(kind, plan, *options)
    file = name(plan, *options)
    folders = {"table": f"tables/{file}", "report": f"report/{file}"}
    found = plan.results / folders.get(kind, f"figures/{file}/{kind}")
    atomic.refuse_links(found.parent, plan.results)
    return found


def _name(first: str, plan: Plan, *options: str) -> str:
    words = [word for word in plan.arguments if not word.startswith("paths.") and word != f"experiment={plan.name}"]
    seen = "".join(f"+{word}" for word in words if not word.startswith("hydra."))
    readable = re.sub(r"[^A-Za-z0-9_.,=+-]", "", "-".join([first + seen, *options]))[:_LONGEST].lstrip("+-.")
    if readable == first and not words:
        return first
    digest = hashlib.sha256(json.dumps([first, words, options]).encode()).hexdigest()[:8]
    return f"{readable}-{digest}"


def argv(plan: Plan, program: str = "table", **options: str) -> list[str]:
    """The command line that makes the table or report of a plan, word by word."""
    words = [word for word in plan.arguments if not word.startswith("paths.results=")]
    if plan.results != Path("results"):
        typed_so = [word for word in plan.arguments if word.startswith("paths.results=")]
        words += typed_so[-1:] or [setting("paths.results", str(plan.results))]
    given = [f"{key}={value}" for key, value in options.items()]
    return ["python", "-m", f"noisygce.{program}", *typed(words), *given]


def written(folder: Path, kind: str, ending: str) -> Iterator[Path]:
    """The files of this ending of all written tables or reports (the kind) below ``folder``."""
    where = {"table": "tables", "report": "report"}[kind]
    beside = (path for runs in folder.rglob(archive.RUNS) for path in runs.parent.glob(f"{kind}*{ending}"))
    yield from sorted({*folder.rglob(f"{where}/*{ending}"), *beside})


def results_of(path: Path) -> Path:
    """The results folder whose runs a written table or report is of."""
    return path.parent.parent if path.parent.name in ("tables", "report") else path.parent
