"""Results: the manifests and metrics below a results folder, one record a run, and as one tidy table of pandas.

    from noisygce import results
    results.frame(results.found("results"))    # a row a run: loss.name, loss.q, noise.name, rate, seed, val, ...

A run is in one of six states: done, running, stopped (it can go on), failed, unreadable, missing. No torch here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import runs

if TYPE_CHECKING:
    from pandas import DataFrame

STATES = ("done", "running", "stopped", "failed", "unreadable", "missing")
Metrics = dict[str, list[float | None]]  # a column of metrics.csv: its values, an epoch each


@dataclass(frozen=True)
class Result:
    """One run and how far it is.

    config: what its id is made from, with dotted keys. manifest: of a finished run, else empty. note: why it failed or
    cannot be read. owner: pid, host and since (seconds since 1970) of a running one.
    """

    id: str
    folder: Path
    state: str
    config: Mapping[str, Any]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    owner: Mapping[str, Any] = field(default_factory=dict)
    job: tuple[str, ...] = ()  # the overrides that make it, where it was planned

    def accuracy(self, rule: str) -> float | None:
        """Test accuracy, a fraction, under a selection rule, or ``gap``: last - val; None unless it is done."""
        found: Mapping[str, float] = self.manifest.get("results", {})
        return None if not found else found["last"] - found["val"] if rule == "gap" else found[rule]

    def metrics(self) -> Metrics:
        """The columns of metrics.csv so far; empty where there is none."""
        return metrics(self.folder / "metrics.csv")


def found(folder: Path | str) -> list[Result]:
    """All runs below ``folder``/runs, by name."""
    there = Path(folder) / "runs"
    return [look(there, path.name) for path in sorted(there.glob("*")) if path.is_dir()]


def look(folder: Path, name: str, identity: Mapping[str, Any] | None = None, job: tuple[str, ...] = ()) -> Result:
    """What is below ``folder`` of the run with the id ``name``; identity, job: of one that was planned."""
    here = folder / name
    asked = flat(identity) if identity else {}
    try:
        manifest = _manifest(here)
    except ValueError as error:
        return Result(name, here, "unreadable", asked or _config(here), note=str(error), job=job)
    if manifest is not None:
        return Result(name, here, "done", asked or flat(manifest["config"]), manifest, job=job)
    state, note, owner = _unfinished(here)
    return Result(name, here, state, asked or _config(here), note=note, owner=owner, job=job)


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a run folder; None where there is none. Raises ValueError where it is not this run's, whole."""
    path = folder / "manifest.json"
    try:
        read = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path.name} is not whole") from None
    try:
        missing = [rule for rule in runs.RULES if not 0 <= read["results"][rule] <= 1]
        own = runs.run_id(read["config"])
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path.name} lacks {error}") from None
    if missing:
        raise ValueError(f"{path.name}: results.{missing[0]} is no share")
    if not own == read.get("run_id") == folder.name:
        raise ValueError(f"{path.name} is of another run: its config gives the id {own}")
    return dict(read)


def _unfinished(folder: Path) -> tuple[str, str, dict[str, Any]]:
    """State, note and owner of a run without a manifest."""
    if not folder.is_dir():
        return "missing", "", {}
    try:
        return "failed", str(json.loads((folder / "failed.json").read_text())["cause"]), {}
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError):
        return "failed", "failed.json cannot be read", {}
    path = folder / "owner.json"
    try:
        owner = {**json.loads(path.read_text()), "since": path.stat().st_mtime}
    except (OSError, ValueError, TypeError):  # none, or one that is being written
        owner = {}
    if owner and held(folder / "lock"):
        return "running", "", owner
    return ("stopped" if (folder / "metrics.csv").exists() else "missing"), "", {}


def held(lock: Path) -> bool:
    """Whether a process on any machine holds the lock of a run.

    By asking for a shared lock without waiting, and letting go at once; only asked where a run has an owner.
    """
    try:
        import fcntl
    except ImportError:  # Windows: the owner's word must do
        return lock.exists()
    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or a file system without locks
        return False
    return False


def _config(folder: Path) -> dict[str, Any]:
    """What the id of an unfinished run was made from, as its config.yaml says; empty where it cannot."""
    import yaml

    try:
        read = yaml.load((folder / "config.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return flat(read) if isinstance(read, dict) else {}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested config with dotted keys: ``{"loss": {"q": 0.7}}`` is ``{"loss.q": 0.7}``."""
    columns: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            columns |= flat(value, f"{prefix}{key}.")
        else:
            columns[f"{prefix}{key}"] = value
    return columns


def metrics(path: Path) -> Metrics:
    """The columns of a metrics.csv, an absent value as None; empty where there is no file."""
    try:
        with open(path, newline="") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError:
        return {}
    head, body = (rows[0], rows[1:]) if rows else ([], [])
    return {name: [float(row[i]) if row[i] else None for row in body] for i, name in enumerate(head)}


def frame(results: Iterable[Result]) -> DataFrame:
    """One row a run: id, state, the config under dotted keys, each rule's test accuracy (a fraction) and their gap,
    realised noise rate, seconds, images/s, device, commit and digests; NaN where a run is not done."""
    import pandas as pd

    return pd.DataFrame([_row(result) for result in results])


def _row(r: Result) -> dict[str, Any]:
    m = r.manifest
    noise = m.get("noise", {})
    return {
        "run_id": r.id,
        "state": r.state,
        **{k: json.dumps(v) if isinstance(v, list) else v for k, v in r.config.items()},
        **{rule: r.accuracy(rule) for rule in (*runs.RULES, "gap")},
        "realised_rate": noise.get("realised_rate"),
        **{key: m.get(key) for key in ("seconds", "images_per_s", "device", "threads", "commit", "dirty")},
        "labels_sha256": noise.get("labels_sha256"),
        "state_sha256": m.get("state_sha256"),
        "note": r.note,
    }
