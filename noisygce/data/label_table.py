"""Tables of labels that people bring, CSV files with a line a sample: read as meant, or refused with what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from noisygce.errors import DataError, counted
from noisygce.inputs import tables

LABELS = ("label", "labels", "class", "target", "y")  # what a header calls its last column
JOINED = (
    "file",
    "id",
    "ids",
    "index",
)  # columns that say which sample a line is about, the first of them that is there
INTEGER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True)
class Table:
    """The n lines of a table below its header, each of as many fields.

    header: names of the columns in lower case; empty where there is none. lines: their numbers in the file.
    """

    path: Path
    header: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str] | None:
        """The fields (n,) below a name of the header; None where no column has it."""
        return [row[self.header.index(name)] for row in self.rows] if name in self.header else None

    def labels(self) -> list[str]:
        """The last column (n,). Raises DataError, with the line, for a label that is empty or not UTF-8."""
        others, last = {*self.header[:-1]}, "".join(self.header[-1:])
        if len(others) > 1 and last not in LABELS:
            raise DataError(
                f"{self.path}: its header is {', '.join(self.header)}; labels are the last column, called {LABELS[0]}"
            )
        if last in JOINED or (others & {*LABELS} and last not in LABELS):
            raise DataError(f"{self.path}: labels are the last column, and its header is {', '.join(self.header)}")
        return [label(row[-1], self.where(i)) for i, row in enumerate(self.rows)]

    def names(self) -> list[str]:
        """What the lines (n,) call their samples: the column file, or else the first. Raises DataError for an empty
        name."""
        found = self.column("file") or [row[0] for row in self.rows]
        if empty := [i for i, name in enumerate(found) if not name.strip()]:
            raise DataError(f"{self.where(empty[0])}: the name of its sample is empty")
        return found

    def order(self, samples: int, names: Sequence[str] = (), lacking: str = "", *, of_labels: bool = True) -> list[int]:
        """The line of each sample (samples,), as its place in ``rows``: by the column file, id or ids where samples
        have ``names``, by the column index, or else one after another.

        Raises DataError, with the line, unless each sample has one.

        lacking: what to do where a table that is joined has no line for some. of_labels: the table has labels, and not
        the names themselves, which may be numbers in any order.
        """
        key = next((name for name in JOINED if name in self.header and (name == "index" or names)), None)
        if key in ("id", "ids") and tables.counts(self.column(key) or [], names):
            key = None
        if key is None:
            if of_labels:
                self._refuse_another_order(samples, names)
            if len(self.rows) != samples:
                header = f"below its header {','.join(self.header)}" if self.header else f"and no header {_HEADER}"
                raise DataError(
                    f"{self.path} has {counted(len(self.rows), 'line')} {header}; there are {samples:,} samples"
                )
            return list(range(samples))
        column, known, unknown = self.column(key) or [], [*names], ""
        if key == "index":
            column, known = [value.strip() for value in column], [*map(str, range(samples))]
            unknown = f"must be in 0..{samples - 1}"
        return tables.order(self.path, key, column, self.lines, known, unknown, lacking)

    def _refuse_another_order(self, samples: int, names: Sequence[str]) -> None:
        """Raises DataError where the first of several columns names or counts the samples, in another order."""
        first = [row[0].strip() for row in self.rows if len(row) > 1]
        if first == list(names):  # which may be numbers in any order
            return
        joined = f"call the columns {{}} and {LABELS[0]} in a first line, and they are joined"
        for remedy, known in (
            (joined.format("file"), list(names)),
            (joined.format("index"), [str(i) for i in range(samples)]),
            ("sort the lines by it", [str(i) for i in range(1, samples + 1)]),
        ):
            if known and first != known and sorted(first) == sorted(known):
                raise DataError(f"{self.path}: its first column has the samples in another order; {remedy}")

    def where(self, row: int) -> str:
        """A line of the file, for a message."""
        return f"{self.path}, line {self.lines[row]}"


_HEADER = f"(a first line that ends in {', '.join(LABELS[:-1])} or {LABELS[-1]})"


def read(path: Path, is_sample: Callable[[list[str]], bool] = lambda _: False) -> Table:
    """The table in a CSV file in UTF-8; labels have no space around them. Raises DataError, with the line.

    is_sample: whether a first line must be a sample, whatever it looks like.
    """
    rows, lines = tables.rows(path)
    for row in rows:
        row[-1] = row[-1].strip()
    header: tuple[str, ...] = ()
    if rows and not is_sample(rows[0]) and _is_header(rows):
        header = tuple(field.strip().lower() for field in rows.pop(0))
        lines.pop(0)
    return Table(path, header, rows, lines)


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    first, *others = rows
    if {field.strip().lower() for field in first} & {*LABELS, *JOINED}:
        return True
    numbers = bool(others) and all(INTEGER.fullmatch(row[-1]) for row in others)
    return numbers and not INTEGER.fullmatch(first[-1])


def label(text: str | bytes, where: str) -> str:
    """A label without space around it. Raises DataError for one that is empty, or not UTF-8."""
    try:
        found = (text.decode() if isinstance(text, bytes) else text).strip()
        found.encode()
    except UnicodeError:
        raw = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
        raise DataError(f"{where}: its label {raw!r} is not UTF-8; save it in UTF-8") from None
    if not found:
        raise DataError(f"{where}: its label is empty")
    return found
