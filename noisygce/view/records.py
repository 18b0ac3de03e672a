"""Records: beside each written table and report a JSON of what it was made from, by which it is verified.

A record has the command (argv), the options and the table (title, rows, columns, rules); of each run, in the order of
the plan, its id and state, of a finished one the digest of its manifest, of any other its config; the numbers beside
the cells of a table, where it is against others, and its cells; the archive of the runs, where that is elsewhere. A
table is made again from its record and the runs, without composing any config. Of a report, the runs and the digest of
the page are held.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from noisygce import results
from noisygce.errors import NoisygceError
from noisygce.results import Result
from noisygce.runs import archive, atomic
from noisygce.runs.ids import flat
from noisygce.runs.reading import json_values
from noisygce.view import tables
from noisygce.view.paths import with_ending
from noisygce.view.published import Number
from noisygce.view.tables import Spec, Table

FORMAT = 1
Record = dict[str, Any]
_TEXTS: dict[str, Callable[[Table], str]] = {".md": tables.markdown, ".tex": tables.latex, ".csv": tables.csv_text}
# By kind: the folder, and the files that are verified. LaTeX shows what Markdown and CSV show.
_FILES = {"table": ("tables", (".md", ".csv", ".json")), "report": ("report", (".html", ".json"))}


def write_table(stem: Path, table: Table, source: str = "") -> None:
    """Writes a table in every form, and its record; source: the archive of its runs, where it is written elsewhere."""
    _write(stem, {**{ending: text(table) for ending, text in _TEXTS.items()}, ".json": _json(record(table, source))})


def write_report(stem: Path, page: str, table: Table, source: str = "") -> None:
    """Writes a report, and its record; source: the archive of its runs, where it is written elsewhere."""
    made = record(table, source) | {"sha256": hashlib.sha256(page.encode()).hexdigest()}
    _write(stem, {".html": page, ".json": _json(made)})


def _write(stem: Path, texts: Mapping[str, str]) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    for ending, text in texts.items():
        atomic.write_text(with_ending(stem, ending), text, durable=False)


def _json(record: Record) -> str:
    """JSON with a line for each run and cell."""
    parts = []
    for key, value in record.items():
        text = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]" if key in ("runs", "cells") else json.dumps(value)
        parts.append(f'"{key}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def record(table: Table, source: str = "") -> Record:
    spec = asdict(table.spec)
    shown = {key: spec[key] for key in ("title", "name", "rows", "columns", "rules")}
    shown |= {key: spec[key] for key in ("names", "decimals") if spec[key] not in ({}, 2)}  # younger than the format
    cells = []
    for rule in table.spec.rules:
        for (row, column), cell in table.cells.cell.items():
            sample = cell.sample(rule)
            number = {"n": sample.n, "mean": sample.mean, "std": sample.std} if sample else {"n": 0}
            cells.append({"rule": rule, "row": row, "column": column, "runs": len(cell.runs), **number})
    compared = {
        rule: [number if isinstance(number, str) else asdict(number) for number in numbers.values()]
        for rule, numbers in table.compared.items()
    }
    made = {"format": FORMAT, "argv": spec["argv"], "options": spec["options"], "table": shown}
    made |= {"archive": source} if source else {}
    return {**made, "runs": [*map(_run, table.runs)], "compared": compared, "cells": cells}


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
    """The files of the written tables and reports below ``folder``, each with what is wrong with it or nothing."""
    for kind, (below, endings) in _FILES.items():
        beside = (path for runs in folder.rglob(archive.RUNS) for path in runs.parent.glob(f"{kind}*"))
        found = sorted(path for path in {*folder.rglob(f"{below}/*"), *beside} if path.suffix in endings)
        for stem, files in itertools.groupby(found, lambda path: path.with_suffix("")):
            yield from _verified(with_ending(stem, ".json"), list(files))


def _verified(path: Path, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The files of one table or report, by its record at ``path``."""
    every, wrong = "", dict[str, str]()
    try:
        made: Record = json_values(path.read_text())
        found = _runs(made, _folder(path, made))
        every = _changed(made, found)
        if not every:
            wrong = _differing(made, found, {file.suffix: file.read_bytes() for file in files})
    except FileNotFoundError:
        every = f"has no {path.name} beside it, by which it is verified: write it again"
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        every = f"cannot be verified, {path.name} is damaged ({type(error).__name__}: {error}): write it again"
    except NoisygceError as error:
        every = f"cannot be made again: {error}"
    yield from ((file, every or wrong.get(file.suffix, "")) for file in files)


def _folder(path: Path, made: Record) -> Path:
    """The results folder or archive that has the runs of a table or report. Raises NoisygceError for an archive that is
    not there."""
    if "archive" in made:
        if not (Path(made["archive"]) / archive.RUNS).is_file():
            raise NoisygceError(f"its runs were in the archive {made['archive']}, which is not there")
        return Path(made["archive"])
    return path.parent.parent if path.parent.name in ("tables", "report") else path.parent


def _runs(made: Record, folder: Path) -> list[Result]:
    """What is below ``folder`` now of the runs of a record."""
    asked = [(run["id"], run.get("config", {}), ()) for run in made["runs"]]
    return [
        replace(run, config=flat(run.manifest["config"])) if run.manifest and "config" not in was else run
        for was, run in zip(made["runs"], results.look(folder, asked), strict=True)
    ]


def _changed(made: Record, found: Sequence[Result]) -> str:
    """How the runs differ from those of a record; empty where they are the same."""
    for was, run in zip(made["runs"], found, strict=True):
        if was["state"] == "done" and run.state != "done":
            return f"was made from {run.id}, which is {run.state} now"
        if was["state"] == "done" and was["sha256"] != _digest(run.manifest):
            return f"was made from another {run.id}: its manifest has changed since"
    then, now = (Counter(states) for states in ([was["state"] for was in made["runs"]], [run.state for run in found]))
    for state in results.STATES:
        if then[state] != now[state]:
            counts = f"{then[state]} of {len(found)} runs were {state}, and now {now[state]} are"
            return f"was made when {counts}: {shlex.join(made['argv'])}"
    return ""


def _differing(made: Record, found: Sequence[Result], contents: Mapping[str, bytes]) -> dict[str, str]:
    """By ending, how the files of a table differ from what its record and the runs give, or a report from the page that
    was written: its figures depend on the version of matplotlib."""
    command = shlex.join(made["argv"])
    if ".html" in contents:
        same = hashlib.sha256(contents[".html"]).hexdigest() == made["sha256"]
        return {} if same else {".html": f"is not the page that was written by {command}"}
    table = _table(made, found)
    texts = {ending: _TEXTS[ending](table).encode() for ending in (".md", ".csv") if ending in contents}
    wrong = {e: f"is not what the runs give to {command}" for e, text in texts.items() if contents[e] != text}
    for was, now in itertools.zip_longest(made["cells"], json.loads(json.dumps(record(table)["cells"]))):
        if was != now:
            return {**wrong, ".json": f"has the cell {was}, the runs give {now} to {command}"}
    return wrong


def _table(made: Record, found: Sequence[Result]) -> Table:
    """The table of a record, from its runs."""
    shown: Record = {key: tuple(value) if isinstance(value, list) else value for key, value in made["table"].items()}
    table = Table(Spec(argv=tuple(made["argv"]), options=made["options"], **shown), found)
    compared = {
        rule: dict(zip(table.cells.cell, (n if isinstance(n, str) else Number(**n) for n in numbers), strict=True))
        for rule, numbers in made["compared"].items()
    }
    return replace(table, compared=compared)
