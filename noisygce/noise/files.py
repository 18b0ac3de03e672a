"""Files of noisy labels, as other code bases write them: arrays of integers, one for each training image.

.npy        an array (NumPy)
.json       a list (DivideMix, ELR+), or lists by name
.txt        an integer a line
.csv        columns below a header; a line for each name, where samples have names and a column is called file or id
.pt         a dictionary of arrays as torch.save writes it (CIFAR-N), of which nothing is run
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisygce import inputs
from noisygce.errors import DataError
from noisygce.inputs import tables


def labels(path: Path, key: str | None, names: Sequence[str] = ()) -> Any:
    """The labels in a file, as they are there; key: their name, where it holds several by name; names: of the samples,
    in order, or none. Raises DataError."""
    read, kind = _READERS.get(path.suffix.lower(), _READERS[".npy"])
    try:
        content = _columns(path, key, names) if read is _columns else read(path)
        if not isinstance(content, Mapping):
            found = np.asarray(content)
    except DataError:
        raise
    except Exception as error:  # a pickle can go wrong in any way
        raise DataError(f"{path} is not {kind}: {inputs.no_array(error)}") from None
    if isinstance(content, Mapping):
        return np.asarray(_chosen(path, content, key))
    if key is not None:
        raise DataError(f"noise.key={key}: {path} holds one list of labels; leave noise.key out")
    return found


def _chosen(path: Path, content: Mapping[str, Sequence[Any]], key: str | None) -> Sequence[Any]:
    if key is None or key not in content:
        said = f"noise.key={'null' if key is None else key}"
        raise DataError(f"{said}: {path} holds labels by name, and noise.key must be one of {', '.join(content)}")
    return content[key]


def by_torch(path: Path) -> dict[str, Any]:
    """A dictionary of arrays as ``torch.save`` writes it, read without running what a pickle may hold."""
    with zipfile.ZipFile(path) as archive:
        inner = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(inner) != 1:
            raise ValueError("no data.pkl in it")
        content = inputs.unpickled(archive.read(inner[0]))
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    return content


def _json(path: Path) -> Any:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, list | dict):
        raise ValueError(f"it holds a {type(found).__name__}")
    return found


def _lines(path: Path) -> list[int]:
    return [int(line) for line in path.read_text(encoding="utf-8").split()]


def _columns(path: Path, key: str | None, names: Sequence[str]) -> dict[str, list[int]]:
    """The columns of integers, in the order of ``names`` where a column holds these."""
    (head, *lines), (_, *numbers) = tables.rows(path)
    head = [name.strip() for name in head]
    if _whole(head):
        raise ValueError("its first line must name the columns")
    joined = _joined(head, lines, names)
    if joined is not None:
        called = [line[joined] for line in lines]
        lines = [lines[i] for i in tables.order(path, head[joined], called, numbers, names)]
    texts = {name: [line[i].strip() for line in lines] for i, name in enumerate(head) if i != joined}
    columns = {name: [*map(int, column)] for name, column in texts.items() if _whole(column)}
    if key in texts and key not in columns:
        i, other = next((i, text) for i, text in enumerate(texts[key]) if not _whole([text]))
        where = "" if joined is not None else f", line {numbers[i]}"
        raise DataError(
            f"{path}{where}: its column {key} holds {other!r}; labels are the numbers of the classes, 0..K-1"
        )
    for name, column in columns.items() if joined is None else ():
        if column != sorted(column) in ([*range(len(column))], [*range(1, len(column) + 1)]):
            raise ValueError(f"its column {name} has the images in another order; sort the lines by it")
    return columns


def _joined(head: Sequence[str], lines: Sequence[Sequence[str]], names: Sequence[str]) -> int | None:
    """The place of the column that names the samples; None where none does, or where an ``id`` counts the lines."""
    called = [name.lower() for name in head]
    place = next((called.index(name) for name in _NAMED if names and name in called), None)
    if place is None or called[place] == "file":
        return place
    return None if tables.counts([line[place] for line in lines], names) else place


def _whole(column: Sequence[str]) -> bool:
    return all(text.removeprefix("-").isdecimal() for text in column)


_NAMED = ("file", "id", "ids")  # columns of the names of samples
_READERS: dict[str, tuple[Any, str]] = {
    ".npy": (lambda path: np.load(path, allow_pickle=False), "an npy file of numbers"),
    ".json": (_json, "a JSON list of integers, or several by name"),
    ".txt": (_lines, "text with an integer a line"),
    ".csv": (_columns, "a CSV with a header and integers below it"),
    ".pt": (by_torch, "a dictionary of arrays of torch.save"),
}
