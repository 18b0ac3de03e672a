"""Stored plans: ``results/plans/<name>.jsonl``, so that a plan is composed once and read by whoever looks at its runs.

The first line holds what the plan was made from; each other line is a run: ID, overrides, config. A stored plan counts
only while its key holds: a digest of all that IDs depend on. It saves time and nothing relies on it: training makes
each ID anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import noisygce
from noisygce import runs, settings
from noisygce.errors import ConfigError
from noisygce.runs import archive, atomic
from noisygce.runs.ids import REVISIONS
from noisygce.runs.reading import json_values
from noisygce.settings.compose import parsed

FORMAT = 2
_LONGEST = 60  # characters of a readable name


def take_name(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The NAME of ``name=NAME``, empty where it is not given, and the other arguments. Raises ConfigError."""
    names = [argument.partition("=")[2] for argument in arguments if argument.startswith("name=")]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name):
            raise ConfigError(f"name={name}: must be 1 to 100 letters, digits, dots, _ or -, and begin with no dot")
    return (names or [""])[-1], [argument for argument in arguments if not argument.startswith("name=")]


def path_of(arguments: Sequence[str]) -> Path:
    """Where the plan of a command line is stored: below its results folder, or, where that is an archive, below the
    results folder of the current directory."""
    results = results_folder(arguments, "results")
    if (results / archive.RUNS).is_file():
        results = Path("results")
    return results / "plans" / f"{_file_name(arguments)}.jsonl"


def results_folder(arguments: Sequence[str], otherwise: str) -> Path:
    """``paths.results`` of a command line, read by Hydra's grammar only where it is quoted."""
    typed = next((argument for argument in reversed(arguments) if argument.startswith("paths.results=")), "")
    value = typed.partition("=")[2] or otherwise
    if re.search("['\"\\\\]", value):
        value = str(parsed([typed])[0].value())
    return Path(value).expanduser()


def _file_name(arguments: Sequence[str]) -> str:
    """The NAME of ``name=NAME``; the experiment's name where nothing else is given; else a text and a short hash."""
    name, others = take_name(arguments)
    others = [argument for argument in others if not argument.startswith("paths.")]
    if name:
        return name
    if len(others) == 1 and (experiment := re.fullmatch(r"experiment=(\w+)", others[0])):
        return experiment[1]
    readable = re.sub(r"[^A-Za-z0-9_.=,+-]", "", "+".join(others))[:_LONGEST]
    return f"{readable}-{hashlib.sha256(json.dumps(others).encode()).hexdigest()[:8]}".lstrip("-.")


def key(arguments: Sequence[str]) -> str:
    """Digest of what a plan depends on beside a person's own code and data: arguments, with the results folder that
    its jobs train into, config files, the variables NOISYGCE_... that a config may read, version, NUMERICS and the
    revisions of classes.

    Empty where it cannot be known, for a search path that is no folder: such a plan is neither stored nor read.
    """
    _, arguments = take_name(arguments)
    folders = [settings.config_dir()]
    for argument in arguments:
        if argument.startswith("paths.results=") and "${" in argument:
            return ""
        if argument.lstrip("+").startswith("hydra.searchpath="):
            value = parsed([argument])[0].value()
            places = [str(each) for each in (value if isinstance(value, list) else [value])]
            if not all(place.startswith("file://") and Path(place[7:]).is_dir() for place in places):
                return ""
            folders += [Path(place[7:]) for place in places]
    files = sorted(
        Path(here) / name
        for folder in folders
        for here, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.endswith((".yaml", ".yml"))
    )
    content = [
        arguments,
        sorted(variable for variable in os.environ.items() if variable[0].startswith("NOISYGCE_")),
        *(noisygce.__version__, FORMAT, runs.NUMERICS, sorted(REVISIONS.items())),
        *([str(path), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read(path: Path, expected: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Head and runs of a stored plan; None where there is none, or it was made from something else."""
    try:
        head, *lines = map(json_values, path.read_text().splitlines())
        if head["key"] != expected or head["runs"] != len(lines):
            return None
        for line in lines:
            line["id"], line["overrides"], line["config"]  # a KeyError: not a plan
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return head, lines


def write(path: Path, head: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], make: bool) -> None:
    """Stores a plan, by rename; nowhere where the folder cannot be written to. make: make a results folder, too.
    Raises ConfigError for a folder of plans that is a link."""
    if not make and not path.parents[1].is_dir():
        return
    atomic.refuse_links(path.parent, path.parents[1])
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in ({**head, "runs": len(lines)}, *lines))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, text, durable=False)
