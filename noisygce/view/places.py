"""Where what is written stands, and the command that writes it.

Below a results folder: tables/demo.md, figures/demo/accuracy.png, report/demo.html; other arguments than the experiment
are part of the name. Beside the archive of an experiment: table.md, accuracy.png, report.html.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from noisygce.errors import NoisygceError
from noisygce.runs import archive
from noisygce.settings import setting
from noisygce.settings.arguments import typed
from noisygce.sweep.plan import Plan

_LONGEST = 150  # characters of a name, which a file system must bear with what is added


def archived(plan: Plan) -> bool:
    """Whether the runs of a plan stand in an archive."""
    return (plan.results / archive.RUNS).is_file()


def name(plan: Plan, *options: str) -> str:
    """What tells a plan, under further options of its command, from any other: demo+seed=0-val."""
    return f"{plan.name}{_variant(plan, *options)}".lstrip("+")


def stem(plan: Plan, kind: str, *options: str) -> Path:
    """The file without its ending: of a table, report or figure (the kind)."""
    if archived(plan):
        return plan.results / f"{kind}{_variant(plan, *options)}"
    file = name(plan, *options)
    folders = {"table": f"tables/{file}", "report": f"report/{file}"}
    return plan.results / folders.get(kind, f"figures/{file}/{kind}")


def _variant(plan: Plan, *options: str) -> str:
    words = [word for word in _words(plan) if not word.startswith(("experiment=", "hydra."))]
    whole = "-".join(["".join(f"+{word}" for word in words), *options])
    variant = re.sub(r"[^A-Za-z0-9_.,=+-]", "", whole)[:_LONGEST]
    if variant != whole:  # what is left out may be all that tells it from another
        variant += f"-{hashlib.sha256(whole.encode(errors='surrogateescape')).hexdigest()[:8]}"
    return variant


def command(plan: Plan, *options: str) -> str:
    """The command line that makes the table of a plan."""
    return shlex.join(["python", "-m", "noisygce.table", *typed(_words(plan)), *options])


def _words(plan: Plan) -> list[str]:
    return [word for word in plan.arguments if not word.startswith("paths.")]


def tables(folder: Path) -> Iterator[Path]:
    """The written tables below ``folder``, in every form."""
    beside = (path for runs in folder.rglob(archive.RUNS) for path in runs.parent.glob("table*"))
    yield from sorted({*folder.rglob("tables/*"), *beside})


def arguments(table: Path) -> list[str]:
    """What the command that made a written table was told, as its Markdown says. Raises NoisygceError."""
    source = table.with_suffix(".md")
    text = source.read_text() if source.is_file() else ""
    commands = re.findall(r"^- Made by `python -m noisygce\.table (.+)`\.$", text, re.MULTILINE)
    if not commands:
        raise NoisygceError(f"{source.name} does not say which command made it")
    results = table.parent.parent if table.parent.name == "tables" else table.parent
    return [*shlex.split(commands[-1]), setting("paths.results", str(results))]
