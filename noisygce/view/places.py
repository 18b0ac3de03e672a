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
from noisygce.sweep.plan import Plan

_LONGEST = 150  # characters of a name, which a file system must bear with what is added


def archived(asked: Plan) -> bool:
    """Whether the runs of a plan stand in an archive."""
    return (asked.results / archive.RUNS).is_file()


def name(asked: Plan, *options: str) -> str:
    """What tells a plan, under further options of its command, from any other: demo+seed=0-val."""
    return f"{asked.name}{_variant(asked, *options)}".lstrip("+")


def stem(asked: Plan, kind: str, *options: str) -> Path:
    """The file without its ending: of a table, report or figure (the kind)."""
    if archived(asked):
        return asked.results / f"{kind}{_variant(asked, *options)}"
    own = name(asked, *options)
    folders = {"table": f"tables/{own}", "report": f"report/{own}"}
    return asked.results / folders.get(kind, f"figures/{own}/{kind}")


def _variant(asked: Plan, *options: str) -> str:
    words = [word for word in _words(asked) if not word.startswith(("experiment=", "hydra."))]
    variant = re.sub(r"[^A-Za-z0-9_.,=+-]", "", "-".join(["".join(f"+{word}" for word in words), *options]))
    if len(variant) > _LONGEST:
        variant = f"{variant[:_LONGEST]}-{hashlib.sha256(variant.encode()).hexdigest()[:8]}"
    return variant


def command(asked: Plan, *options: str) -> str:
    """The command line that makes the table of a plan."""
    return shlex.join(["python", "-m", "noisygce.table", *_words(asked), *options])


def _words(asked: Plan) -> list[str]:
    return [word for word in asked.arguments if not word.startswith("paths.")]


def tables(folder: Path) -> Iterator[Path]:
    """The written tables below ``folder``, in every form."""
    beside = (path for runs in folder.rglob(archive.RUNS) for path in runs.parent.glob("table*"))
    yield from sorted({*folder.rglob("tables/*"), *beside})


def arguments(table: Path) -> list[str]:
    """What the command that made a written table was told, as its Markdown says. Raises NoisygceError."""
    source = table.with_suffix(".md")
    text = source.read_text() if source.is_file() else ""
    said = re.findall(r"^- Made by `python -m noisygce\.table (.+)`\.$", text, re.MULTILINE)
    if not said:
        raise NoisygceError(f"{source.name} does not say which command made it")
    results = table.parent.parent if table.parent.name == "tables" else table.parent
    return [*shlex.split(said[-1]), f"paths.results='{results}'"]
