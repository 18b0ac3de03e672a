"""Stored plans: ``results/plans/<name>.jsonl``, so that a plan is composed once and read by whoever looks at its runs.

The first line says what the plan was made from; each other line is a run: id, overrides, config. A stored plan counts
only while its key holds: a digest of all that ids depend on. It saves time and is trusted by nobody: training makes
each id anew. No Hydra here.
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
from noisygce.runs import archive, atomic
from noisygce.runs.ids import REVISIONS
from noisygce.runs.reading import json_values
from noisygce.settings.compose import parsed

FORMAT = 1
_LONGEST = 80  # characters of a readable name


def path_of(arguments: Sequence[str]) -> Path:
    """Where the plan of a command line is stored: below its results folder, or, where that is an archive, below the
    results folder of the current directory."""
    results = results_folder(arguments, "results")
    if (results / archive.RUNS).is_file():
        results = Path("results")
    return results / "plans" / f"{_name(arguments)}.jsonl"


def results_folder(arguments: Sequence[str], otherwise: str) -> Path:
    """``paths.results`` of a command line, read by Hydra's grammar only where it is quoted."""
    word = next((word for word in reversed(arguments) if word.startswith("paths.results=")), "")
    value = word.partition("=")[2] or otherwise
    if re.search("['\"\\\\]", value):
        value = str(parsed([word])[0].value())
    return Path(value).expanduser()


def _name(arguments: Sequence[str]) -> str:
    """The experiment's name if the arguments hold nothing else; otherwise a readable slug and a short hash."""
    words = [word for word in arguments if not word.startswith("paths.")]
    if len(words) == 1 and (only := re.fullmatch(r"experiment=(\w+)", words[0])):
        return only[1]
    readable = re.sub(r"[^A-Za-z0-9_.=,+-]", "", "+".join(words))[:_LONGEST]
    return f"{readable}-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]}".lstrip("-.")


def key(arguments: Sequence[str]) -> str:
    """Digest of what ids depend on beside a person's own code and data: arguments, config files, the variables
    NOISYGCE_... that a config may read, version, NUMERICS and the revisions of classes.

    Empty where it cannot be known, for a search path that is no folder: such a plan is neither stored nor read.
    """
    folders = [settings.config_dir()]
    for word in arguments:
        if word.startswith("paths.results=") and "${" in word:
            return ""
        if word.lstrip("+").startswith("hydra.searchpath="):
            asked_for = parsed([word])[0].value()
            places = [str(each) for each in (asked_for if isinstance(asked_for, list) else [asked_for])]
            if not all(place.startswith("file://") and Path(place[7:]).is_dir() for place in places):
                return ""
            folders += [Path(place[7:]) for place in places]
    files = [
        Path(here) / name
        for folder in folders
        for here, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.endswith((".yaml", ".yml"))
    ]
    files.sort()
    asked = [word for word in arguments if not word.startswith("paths.results=")]
    read_by_configs = sorted(each for each in os.environ.items() if each[0].startswith("NOISYGCE_"))
    content = [asked, read_by_configs, noisygce.__version__, FORMAT, runs.NUMERICS, sorted(REVISIONS.items())]
    content += [[str(path), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
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
