"""Written tables and reports: each with a record beside it, a JSON of what it was made from, by which it is verified.

A record has the command (argv), the options and the table (title, rows, columns, rules); of each run, in the order of
the plan, its id and state, of a finished one the digest of its manifest, of any other its config; the numbers beside
the cells of a table, where it is against others, and its cells. A table is made again from its record and the runs,
without composing any config. Of a report, the runs and the digest of the page are held.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from noisygce import results
from noisygce.errors import NoisygceError
from noisygce.results import Result
from noisygce.runs import atomic
from noisygce.runs.ids import flat
from noisygce.runs.reading import json_values
from noisygce.view import places, tables
from noisygce.view.published import Number
from noisygce.view.tables import Spec, Table

FORMAT = 1
Record = dict[str, Any]
_TEXTS: dict[str, Callable[[Table], str]] = {".md": tables.markdown, ".tex": tables.latex, ".csv": tables.full}


def write_table(stem: Path, table: Table) -> None:
    """Writes a table in every form, and its record."""
    for ending, text in _TEXTS.items():
        _write(stem, ending, text(table))
    _write(stem, ".json", _text(record(table)))


def write_report(stem: Path, page: str, table: Table, argv: Sequence[str]) -> None:
    """Writes a report, and its record."""
    _write(stem, ".html", page)
    made = {**record(table), "argv": list(argv), "sha256": hashlib.sha256(page.encode()).hexdigest()}
    _write(stem, ".json", _text(made))


def _write(stem: Path, ending: str, text: str) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(_with(stem, ending), text, durable=False)


def _with(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}{ending}")  # a stem may have dots


def _text(record: Record) -> str:
    """JSON with a line for each run and cell."""
    lines = {key: ",\n".join(map(json.dumps, record[key])) for key in ("runs", "cells")}
    parts = [
        f'"{key}": [\n{lines[key]}\n]' if key in lines else f'"{key}": {json.dumps(value)}'
        for key, value in record.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def record(table: Table) -> Record:
    spec, cells = table.spec, table.cells
    numbers = {
        rule: [number if isinstance(number, str) else asdict(number) for number in beside.values()]
        for rule, beside in table.compared.items()
    }
    return {
        "format": FORMAT,
        "argv": list(spec.argv),
        "options": dict(spec.options),
        "table": {key: getattr(spec, key) for key in ("title", "name", "rows", "columns", "rules")},
        "runs": list(map(_run, table.runs)),
        "compared": numbers,
        "cells": [
            {
                "rule": rule,
                "row": row,
                "column": column,
                "runs": len(cell.runs),
                **({"n": s.n, "mean": s.mean, "std": s.std} if (s := cell.sample(rule)) else {"n": 0}),
            }
            for rule in spec.rules
            for (row, column), cell in cells.cell.items()
        ],
    }


def _run(run: Result) -> Record:
    found: Record = {"id": run.id, "state": run.state}
    if run.state == "done":
        found["sha256"] = _digest(run.manifest)
    if run.state != "done" or flat(run.manifest["config"]) != run.config:  # a path of a file is no part of an id
        found["config"] = dict(run.config)
    return found


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verified(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of the written tables and reports below ``folder``, each with what is wrong with it or nothing. LaTeX
    is no file of its own here: it shows what Markdown and CSV show."""
    for kind, endings in (("table", (".md", ".csv", ".json")), ("report", (".html", ".json"))):
        paths = sorted({path for ending in endings for path in places.written(folder, kind, ending)})
        for stem, files in itertools.groupby(paths, lambda path: path.with_suffix("")):
            yield from _verified(kind, _with(stem, ".json"), list(files))


def _verified(kind: str, beside: Path, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The files of one table or report (the kind). beside: its record."""
    wrong: dict[str, str] = {}
    try:
        made: Record = json_values(beside.read_text())
        found = _runs(made, places.results_of(beside))
        every = _changed(made, found) or ""
        if not every:
            wrong = _differing(kind, made, found, {path.suffix: path.read_bytes() for path in files})
    except FileNotFoundError:
        every = f"has no {beside.name} beside it, by which it is verified: write it again"
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        every = f"cannot be verified, {beside.name} is damaged ({type(error).__name__}: {error}): write it again"
    except NoisygceError as error:
        every = f"cannot be made again: {error}"
    yield from ((path, every or wrong.get(path.suffix, "")) for path in files)


def _runs(made: Record, folder: Path) -> list[Result]:
    """What is below ``folder`` now of the runs of a record."""
    asked = [(run["id"], run.get("config", {}), ()) for run in made["runs"]]
    return [
        replace(run, config=flat(run.manifest["config"])) if run.manifest and "config" not in was else run
        for was, run in zip(made["runs"], results.look(folder, asked), strict=True)
    ]


def _changed(made: Record, found: Sequence[Result]) -> str:
    """How the runs are others than those of a record; empty where they are the same."""
    for was, run in zip(made["runs"], found, strict=True):
        if was["state"] == "done" and run.state != "done":
            return f"was made from {run.id}, which is {run.state} now"
        if was["state"] == "done" and was["sha256"] != _digest(run.manifest):
            return f"was made from another {run.id}: its manifest has changed since"
    then = sum(was["state"] == "done" for was in made["runs"])
    now = sum(run.state == "done" for run in found)
    if then < now:
        command = shlex.join(made["argv"])
        return f"was made when {then} of {len(found)} runs were done, and now {now} are: {command}"
    return ""


def _differing(kind: str, made: Record, found: Sequence[Result], files: Mapping[str, bytes]) -> dict[str, str]:
    """By ending, how files differ from what a record and its runs give."""
    if kind == "report":  # whose figures depend on the version of matplotlib
        same = hashlib.sha256(files.get(".html", b"")).hexdigest() == made["sha256"] or ".html" not in files
        return {} if same else {".html": f"is not the page that was written by {shlex.join(made['argv'])}"}
    table, command = _table(made, found), shlex.join(made["argv"])
    wrong = {
        ending: f"is not what the runs give to {command}"
        for ending, text in _TEXTS.items()
        if ending in files and files[ending] != text(table).encode()
    }
    given = json.loads(json.dumps(record(table)["cells"]))
    for was, now in itertools.zip_longest(made["cells"], given):
        if was != now:
            return {**wrong, ".json": f"has the cell {was}, the runs give {now} to {command}"}
    return wrong


def _table(made: Record, found: Sequence[Result]) -> Table:
    """The table of a record, from its runs."""
    said, keys = made["table"], (tuple(made["table"][name]) for name in ("rows", "columns", "rules"))
    spec = Spec(said["title"], said["name"], tuple(made["argv"]), made["options"], *keys)
    cells = tables.cells_of(spec, found)
    compared = {
        rule: dict(zip(cells.cell, (n if isinstance(n, str) else Number(**n) for n in numbers), strict=True))
        for rule, numbers in made["compared"].items()
    }
    return tables.table_of(spec, found, cells, compared)
