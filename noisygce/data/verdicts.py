"""What people have decided about suspicious labels: keep, relabel, drop."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisygce import check
from noisygce.data.base import Ints, located
from noisygce.errors import DataError, MissingData

COLUMNS = ("index", "file", "given", "suggested", "verdict")
VERDICTS = ("keep", "relabel", "drop")


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
    ) -> tuple[Ints, NDArray[np.bool_]]:
        """Labels (N,) as they are from then on, and which samples (N,) stay.

        labels (N,): those that were judged; names: of the samples, or none. Raises DataError for another file than the
        config's, and for verdicts on other samples or labels.
        """
        labels, stay = labels.copy(), np.ones(len(labels), dtype=bool)
        if self.file is None:
            return labels, stay
        path = located(root, self.file)
        try:
            content = path.read_bytes()
            rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
        except FileNotFoundError:
            raise MissingData(f"data.verdicts={self.file}: {path} is missing") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"data.verdicts={self.file}: {path} cannot be read: {error}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise DataError(
                f"data.verdicts_sha256={'null' if self.sha256 is None else self.sha256}: {path} has "
                f"data.verdicts_sha256={found}; give this one if these are the verdicts you mean"
            )
        if missing := [column for column in COLUMNS if not rows or rows[0].get(column) is None]:
            raise DataError(f"{path} has no column {missing[0]}; noisygce.suspects writes such files")
        class_of = {name: y for y, name in enumerate(classes)}
        for line, row in enumerate(rows, start=2):
            where = f"{path}, line {line}"
            if row["verdict"] not in ("", *VERDICTS):
                raise DataError(f"{where}: verdict {row['verdict']!r} must be keep, relabel, drop or empty")
            if not row["index"].isdecimal() or (i := int(row["index"])) >= len(labels):
                raise DataError(f"{where}: index {row['index']!r} must be in 0..{len(labels) - 1}")
            if names and row["file"] and Path(row["file"]).name != Path(names[i]).name:
                raise DataError(f"{where}: sample {i} is {names[i]} here; the verdicts are on another data set")
            if row["given"] != classes[given := int(labels[i])] and stay[i]:
                raise DataError(f"{where}: sample {i} is labelled {classes[given]} here, not {row['given']}")
            if row["verdict"] == "drop":
                stay[i] = False
            elif row["verdict"] == "relabel":
                if row["suggested"] not in class_of:
                    raise DataError(f"{where}: {row['suggested']!r} is none of the classes {', '.join(classes)}")
                labels[i] = class_of[row["suggested"]]
        return labels, stay
