"""What people should know of their labels before a run trains on them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import numpy as np

from noisygce.data.base import Arrays

_SHOWN = 3  # classes, or groups of names
_UNKNOWN = {"-1", "nan", "NaN", "None", "<NA>", "NaT"}  # what NumPy and pandas write for a label that is not there


def counted(arrays: Arrays) -> str:
    """How many classes there are, and the smallest ones with their training samples."""
    counts = np.bincount(arrays.train_labels, minlength=len(arrays.classes))
    smallest = np.argsort(counts, kind="stable")[:_SHOWN]
    named = ", ".join(f"{arrays.classes[y]} ({counts[y]:,})" for y in smallest)
    return f"{len(arrays.classes):,} classes, the smallest: {named}"


def odd(arrays: Arrays) -> Iterator[str]:
    """What looks unlike labels that were meant, a line each."""
    classes, samples = arrays.classes, len(arrays.train_labels)
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_letters(name), []).append(name)
    if twins := [names for names in alike.values() if len(names) > 1]:
        shown = "; ".join(" and ".join(map(repr, names)) for names in twins[:_SHOWN])
        way = "only by case, space, leading zeros or a final .0"
        yield f"classes whose names differ {way}: {shown}; if two are one, give them one name"
    if len(classes) > samples / 2:
        yield f"{len(classes):,} classes for {samples:,} samples: are these their labels, and not their names?"
    numbers = [int(name) for name in classes if name.isdecimal()]
    if len(numbers) == len(classes) and [*classes] == sorted(classes) and numbers != sorted(numbers):
        shown = ", ".join(classes[: _SHOWN + 1])
        yield (
            f"classes are in alphabetical order ({shown}, ...), which noise=pair, matrices and noise.file follow; "
            "names of as many digits, such as 02, have the order of numbers"
        )
    for name in sorted(_UNKNOWN.intersection(classes)):
        yield f"there is a class {name}: if it marks samples without a label, leave them out"


def _letters(name: str) -> str:
    """A name without case and space; of a number, without what a spreadsheet changes: leading zeros, a final .0."""
    plain = re.sub(r"\s|\.0+\s*$", "", unicodedata.normalize("NFKC", name)).casefold()
    return plain.lstrip("0") or "0" if plain.isdecimal() else plain
