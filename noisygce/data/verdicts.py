"""What people have decided about suspicious labels: keep, relabel, drop."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from noisygce import check, inputs
from noisygce.data.base import Ints
from noisygce.errors import DataError, MissingData
from noisygce.inputs import tables

COLUMNS = ("index", "file", "given", "suggested", "verdict")
VERDICTS = ("keep", "relabel", "drop")
AFTER = "after_verdicts"  # a further column: the first digits of the SHA-256 of the verdicts that came before
_DIGITS = 16


class Verdicts:
    """verdicts: a CSV file as the page of noisygce.suspects saves it, below the data root, from the current folder or
    with its whole path, with columns index, file, given, suggested, verdict; null for none. A sample that is dropped is
    neither trained on nor validated with; one that is relabelled has the suggested label from then on, whatever noise
    came before.
    verdicts_sha256: of the file, so that the run's id stands for these very verdicts, wherever their file lies.
    """

    def __init__(self, verdicts: str | None, verdicts_sha256: str | None) -> None:
        if verdicts is not None and (not isinstance(verdicts, str) or not verdicts):
            raise check.Invalid("verdicts", verdicts, "a CSV file of noisygce.suspects with verdicts, or null")
        if verdicts is None and verdicts_sha256 is not None:
            raise check.Invalid("verdicts_sha256", verdicts_sha256, "null where data.verdicts=null")
        self.file, self.sha256 = verdicts, verdicts_sha256

    def __call__(
        self, root: Path, labels: Ints, classes: Sequence[str], names: Sequence[str]
    ) -> tuple[Ints, NDArray[np.bool_], dict[str, int]]:
        """Labels (N,) as they are from then on, which samples (N,) stay, and how many verdicts of each kind there are.

        labels (N,): those that were judged; names: of the samples, or none. Raises DataError for another file than the
        config's, and for verdicts on other samples or labels.
        """
        changed, stay = labels.copy(), np.ones(len(labels), dtype=bool)
        if self.file is None:
            return changed, stay, {}
        path = inputs.located(root, self.file)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise MissingData(inputs.not_located("data.verdicts", self.file, root)) from None
        except OSError as error:
            raise DataError(f"data.verdicts={self.file}: {path} cannot be read: {error.strerror}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise DataError(
                f"data.verdicts_sha256={'null' if self.sha256 is None else self.sha256}: {path} has "
                f"data.verdicts_sha256={found}; give this one if these are the verdicts you mean"
            )
        class_of = {name: y for y, name in enumerate(classes)}
        given = {i: classes[y] for i, y in enumerate(labels.tolist())}
        decided, counts = decisions(path, content, given, dict(enumerate(names)), classes)
        for i, label in decided.items():
            if label is None:
                stay[i] = False
            else:
                changed[i] = class_of[label]
        return changed, stay, counts


def mark(sha256: str | None) -> str:
    """What ``AFTER`` holds of labels that the verdicts of this digest have changed; empty of labels as they came."""
    return (sha256 or "")[:_DIGITS]


def decisions(
    path: Path,
    content: bytes,
    given: Mapping[int, str],
    names: Mapping[int, str],
    classes: Sequence[str],
    after: str = "",
) -> tuple[dict[int, str | None], dict[str, int]]:
    """What a file of verdicts decides: the label of each sample that was judged, by index, None where it is dropped;
    and how many verdicts of each kind there are.

    given, names: labels and files of the samples, by index; no names where they have no files. after: ``mark`` of the
    verdicts that have changed these labels before. Raises DataError for verdicts on other samples or labels, with the
    line.
    """
    decided: dict[int, str | None] = {}
    counts = dict.fromkeys(VERDICTS, 0)
    for row in read(path, content):
        where = f"{path}, line {row.line}"
        if row.after not in ("", after):
            raise DataError(
                f"{path}: verdicts on labels that the verdicts {row.after}... had changed before; python -m "
                f"noisygce.suspects RUN verdicts={path}, with the run that was judged, writes both as one file"
            )
        if not row.sample.isdecimal() or (i := int(row.sample)) not in given:
            raise DataError(
                f"{where}: there is no sample {row.sample!r}: an index is in 0..{max(given)}, and not of one that "
                "verdicts have dropped before"
            )
        if names.get(i) and row.file and row.file not in (names[i], _shown(names[i])):
            raise DataError(f"{where}: sample {i} is {names[i]} here; the verdicts are on another data set")
        if row.given != given[i]:
            raise DataError(f"{where}: sample {i} is labelled {given[i]} here, not {row.given}")
        if row.verdict == "relabel" and row.suggested not in classes:
            raise DataError(f"{where}: {row.suggested!r} is none of the classes {', '.join(classes)}")
        if row.verdict:
            decided[i] = {"keep": row.given, "relabel": row.suggested, "drop": None}[row.verdict]
            counts[row.verdict] += 1
    return decided, counts


def _shown(name: str) -> str:
    """A name of a file as a browser has it, and saves it: what is not UTF-8 replaced."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


class Row(NamedTuple):
    """A line of a file of verdicts, as text. sample: its index; verdict: empty where it was not judged; after:
    ``AFTER``."""

    line: int
    sample: str
    file: str
    given: str
    suggested: str
    verdict: str
    after: str = ""


def read(path: Path, content: bytes) -> list[Row]:
    """The lines of a file of verdicts, judged or not. Raises DataError, with the line, also where none is judged."""
    saved = "noisygce.suspects writes such files, and its page saves them"
    lines, numbers = tables.rows(path, content, blank="remove it")
    header = lines[0] if lines else []
    if missing := [column for column in COLUMNS if column not in header]:
        raise DataError(f"{path} has no column {missing[0]}; {saved}")
    rows, judged = [], dict[str, int]()
    for number, fields in zip(numbers[1:], lines[1:], strict=True):
        by_name = dict(zip(header, fields, strict=True))
        row = Row._make([number, *(by_name[column] for column in COLUMNS), by_name.get(AFTER, "")])
        if row.verdict not in ("", *VERDICTS):
            raise DataError(f"{path}, line {number}: verdict {row.verdict!r} must be keep, relabel, drop or empty")
        if row.verdict and judged.setdefault(row.sample, number) != number:
            raise DataError(f"{path}, line {number}: sample {row.sample} is judged in line {judged[row.sample]} too")
        rows.append(row)
    if not judged:
        raise DataError(f"{path} holds no verdict: judge samples on the page of noisygce.suspects, and save it there")
    return rows


def joined(before: Sequence[Row], after: Sequence[Row]) -> list[tuple[str, str, str, str, str]]:
    """Lines of ``COLUMNS``: verdicts that do at once what those of ``before`` do, and then those of ``after``."""
    known = {row.sample: row for row in before if row.verdict}
    for row in after:
        earlier = known.get(row.sample)
        if not row.verdict or (row.verdict == "keep" and earlier):
            continue
        given = earlier.given if earlier else row.given
        back = row.verdict == "relabel" and row.suggested == given
        known[row.sample] = row._replace(given=given, verdict="keep" if back else row.verdict)
    return [(row.sample, row.file, row.given, row.suggested, row.verdict) for row in known.values()]
