"""CSV files that people bring: their lines, and which line is about which sample."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from noisygce.errors import DataError


def rows(
    path: Path, content: bytes | None = None, blank: str = "it needs a label, or must go with its sample"
) -> tuple[list[list[str]], list[int]]:
    """The fields of each line of a CSV file in UTF-8, of as many fields each, and the numbers of the lines in the file.

    content: of the file, where it has been read. blank: what to do with a blank line. Raises DataError, with the line,
    for a blank line, for lines of different lengths, and for columns that no commas part. Names of files may be in any
    encoding.
    """
    try:
        content = path.read_bytes() if content is None else content
        text = content.decode("utf-8-sig", errors="surrogateescape")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        found = [(reader.line_num, fields) for fields in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: this is not CSV: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    while found and not "".join(found[-1][1]).strip():  # editors leave blank lines at the end
        found.pop()
    each, numbers = [fields for _, fields in found], [number for number, _ in found]
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if each and all(separator in "".join(row[:1]) for row in each if "".join(row).strip()):
            raise DataError(f"{path}: its columns are parted by {name}; save it with commas")
    for row, number in zip(each, numbers, strict=True):
        if not "".join(row).strip():
            raise DataError(f"{path}, line {number} is blank: {blank}")
        if any("\0" in field for field in row):
            raise DataError(f"{path}, line {number}: this is no text in UTF-8; save it as CSV in UTF-8")
        if len(row) != len(each[0]):
            raise DataError(f"{path}, line {number}: it has {len(row)} fields, and the first line {len(each[0])}")
    return each, numbers


def counts(column: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a column (n,) counts the lines, from 0 or 1 on, and names none of the samples."""
    found = [text.strip() for text in column]
    counted = any(found == [str(i) for i in range(first, first + len(found))] for first in (0, 1))
    return counted and not {*found} & {*names}


def order(
    path: Path,
    key: str,
    column: Sequence[str],
    lines: Sequence[int],
    names: Sequence[str],
    unknown: str = "",
    lacking: str = "",
) -> list[int]:
    """For each sample of ``names``, the place in ``column`` (n,) that holds its name; ``key`` is the column's header.

    lines: the number of each line (n,) in the file. unknown: message for a name that no sample has. lacking: advice for
    samples that have no line. Raises DataError, with the line, unless each sample has one line.
    """
    known, found = {*names}, dict[str, int]()
    for row, name in enumerate(column):
        if name not in known:
            said = unknown or f"is the name of no sample; the first is {next(iter(names), None)}"
            raise DataError(f"{path}, line {lines[row]}: {key} {name!r} {said}")
        if name in found:
            raise DataError(f"{path}, line {lines[row]}: {key} {name} is in line {lines[found[name]]} too")
        found[name] = row
    if left := [name for name in names if name not in found]:
        raise DataError(
            f"{path} has no line for {len(left):,} of {len(names):,} samples, {key} {left[0]} first{lacking}"
        )
    return [found[name] for name in names]
