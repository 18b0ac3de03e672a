"""Where a table, report or figure is written, and the command that writes it.

Below a results folder: tables/demo.md, figures/demo/accuracy.png, report/demo.html; where other arguments than the
experiment are given, a readable name and a digest of all arguments, or the ``name`` that a person gives. Beside the
archive of an experiment: table.md, accuracy.png, report.html.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from noisygce.errors import ConfigError
from noisygce.runs import archive, atomic
from noisygce.settings import setting
from noisygce.settings.arguments import typed
from noisygce.sweep.plan import Plan

_LONGEST = 60  # characters of a readable name


def archived(plan: Plan) -> bool:
    """Whether the runs of a plan stand in an archive."""
    return (plan.results / archive.RUNS).is_file()


def given_name(options: Mapping[str, str]) -> str:
    """The ``name`` among the options of a command, empty where there is none. Raises ConfigError for one that is no
    file name."""
    given = options.get("name")
    if given is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{,99}", given):
        raise ConfigError(f"name={given}: must be a file name of letters, digits, '_', '.' and '-', such as table1")
    return given or ""


def with_name(words: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """The arguments of a plan, with the name that a person gives it. Raises ConfigError."""
    return [*words, f"name={given_name(options)}"] if "name" in options else [*words]


def name(plan: Plan, options: Mapping[str, str] | None = None, first: str | None = None) -> str:
    """What tells a plan, under the options of a command, from any other: demo, or demo+seed=0-val-1a2b3c4d; or the
    name that a person gives.

    first: in place of the experiment's name.
    """
    values = {key: value for key, value in (options or {}).items() if key != "name"}
    first = plan.name if first is None else first
    if given := given_name(options or {}):
        return given
    words = [
        word
        for word in plan.arguments
        if not word.startswith(("paths.", "name=")) and word != f"experiment={plan.name}"
    ]
    seen = "".join(f"+{word}" for word in words if not word.startswith("hydra."))
    readable = re.sub(r"[^A-Za-z0-9_.,=+-]", "", "-".join([first + seen, *values.values()]))[:_LONGEST].lstrip("+-.")
    if readable == first and not words:
        return first
    digest = hashlib.sha256(json.dumps([first, words, [*values.values()]]).encode()).hexdigest()[:8]
    return f"{readable}-{digest}"


def stem(plan: Plan, kind: str, options: Mapping[str, str] | None = None) -> Path:
    """The file without its ending: of a table, report or figure (the kind). Raises ConfigError for a folder of it that
    is a link."""
    if archived(plan):
        known = name(plan, options, first=kind)
        return plan.results / (f"{kind}-{known}" if options and "name" in options else known)
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
    words = [word for word in plan.arguments if not word.startswith(("paths.results=", "name="))]
    if plan.results != Path("results"):
        given = [word for word in plan.arguments if word.startswith("paths.results=")]
        words += given[-1:] or [setting("paths.results", str(plan.results))]
    words = [*typed(words), *(f"{key}={value}" for key, value in options.items())]
    return ["python", "-m", f"noisygce.{command}", *words]


def written(folder: Path, kind: str, ending: str) -> Iterator[Path]:
    """The files of this ending of all written tables or reports (the kind) below ``folder``."""
    below = {"table": "tables", "report": "report"}[kind]
    beside = (path for runs in folder.rglob(archive.RUNS) for path in runs.parent.glob(f"{kind}*{ending}"))
    yield from sorted({*folder.rglob(f"{below}/*{ending}"), *beside})


def results_of(path: Path) -> Path:
    """The results folder whose runs a written table or report is of."""
    return path.parent.parent if path.parent.name in ("tables", "report") else path.parent
