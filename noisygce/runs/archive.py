"""Archives: finished runs as one data set, such as those in results/reference. A folder with two files:

runs.jsonl    a manifest a line, in the order of the run ids
metrics.csv   the metrics of all of them, a row an epoch: run_id, epoch, ...; an absent value is an empty field
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from noisygce.errors import DataError
from noisygce.runs import atomic, manifest
from noisygce.runs.reading import Rows

RUNS, METRICS = "runs.jsonl", "metrics.csv"


class Archive:
    """The archive in ``folder``, read as far as it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def manifests(self) -> Iterator[tuple[str, dict[str, Any] | None, str]]:
        """Of each line the run id, and the manifest; or a name for the line, None, and what is wrong with it."""
        try:
            lines = (self.folder / RUNS).read_bytes().splitlines()
        except OSError as error:
            yield RUNS, None, f"{RUNS} {error.strerror}"
            return
        seen = set()
        for number, line in enumerate(lines, start=1):
            try:
                found = manifest.read(line)
                if found["run_id"] in seen:
                    raise ValueError(f"repeats the run of an earlier line: {found['run_id']}")
            except ValueError as error:
                yield f"{RUNS}:{number}", None, f"line {number} {error}"
            else:
                seen.add(found["run_id"])
                yield found["run_id"], found, ""

    @cached_property
    def metrics(self) -> dict[str, Rows]:
        """The rows of each run, by its id."""
        rows: dict[str, Rows] = {}
        for row in read_rows(self.folder / METRICS):
            if "run_id" not in row:
                raise DataError(f"{self.folder / METRICS} has no column run_id")
            rows.setdefault(row.pop("run_id"), []).append(row)
        return rows


def read_rows(path: Path) -> Rows:
    """The rows of a CSV file with a header; none where there is no file. Raises DataError."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no table: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def digest(rows: Rows) -> str:
    """SHA-256 of the rows of one run: of each row the columns that are not empty, by name. The same of a run's own
    metrics.csv and of the rows in an archive, which may have more columns."""
    filled = [{name: text for name, text in row.items() if text} for row in rows]
    return hashlib.sha256(json.dumps(filled, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write(folder: Path, runs: Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, str]]]]) -> None:
    """Writes the archive of these runs, manifest and rows by id: equal bytes for equal runs."""
    ordered = [runs[name] for name in sorted(runs)]
    columns = dict.fromkeys(["run_id", *(key for _, rows in ordered for row in rows[:1] for key in row)])
    text = io.StringIO()
    out = csv.DictWriter(text, list(columns), lineterminator="\n")
    out.writeheader()
    for found, rows in ordered:
        out.writerows({"run_id": found["run_id"], **row} for row in rows)
    lines = (json.dumps(found, separators=(",", ":"), allow_nan=False) + "\n" for found, _ in ordered)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_text(folder / METRICS, text.getvalue())
    atomic.write_text(folder / RUNS, "".join(lines))
