"""A run: its id, its folder, who works on it, what it leaves.

results/runs/<run id>/
  config.yaml     what the id was made from
  metrics.csv     a row an epoch, each exactly once; nothing in it depends on time or machine load
  manifest.json   written last, by rename: where it is, the run is finished
  transition_hat.json   T as estimated by a loss whose p allows it (ce), for loss=forward_hat; digest in the manifest
  train.log  last.ckpt  previous.ckpt
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noisygce.errors import Locked, ManifestError, NonFinite
from noisygce.runs import atomic, checkpoint

# Raised by hand whenever a change of code alters a number, so that an old result is never taken for a new one.
# tests/test_numerics.py fails when it should have been raised.
NUMERICS = 1

# What cannot change a number: how and where a run is made, and what is printed about it.
_NOT_SHAPING = ("runtime", "paths", "hydra", "grid", "table")


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What shapes the numbers of a run, from its resolved config: the rest left out, 1.0 and 1 made one."""
    shaping = {key: value for key, value in config.items() if key not in _NOT_SHAPING}
    return {"numerics": NUMERICS, **foreign_code(shaping), **_canonical(shaping)}


def foreign_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """``code``: the SHA-256 of each module outside this package that the config takes a class from; else nothing.

    NUMERICS stands for our own code; a person's loss that has been edited must not pass for the one before.
    """
    found = {}
    nodes: list[Any] = [config]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Mapping):
            nodes += node.values()
            module = str(node.get("_target_", "noisygce.")).rpartition(".")[0]
            if module.partition(".")[0] not in ("noisygce", ""):
                try:
                    spec = importlib.util.find_spec(module)
                except (ImportError, ValueError):  # settings.read says so
                    spec = None
                if spec and spec.origin and Path(spec.origin).is_file():
                    found[module] = hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:16]
    return {"code": dict(sorted(found.items()))} if found else {}


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _canonical(v) for k, v in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def run_id(identity: Mapping[str, Any]) -> str:
    """Readable label and 8 hex digits of the SHA-256 of the canonical JSON: at most 200 bytes, safe as a file name."""
    names = [identity[group]["name"] for group in ("data", "model", "noise", "loss")]
    label = "-".join([*names[:3], f"{identity['rate']:g}", names[3], f"s{identity['seed']}"])
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return (
        f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', label)[:180].lstrip('.-')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    )


class Run:
    """The folder of one run below ``results``; made when the run is claimed."""

    def __init__(self, results: Path, identity: Mapping[str, Any]) -> None:
        self.identity = dict(identity)
        self.id = run_id(identity)
        self.folder = results / "runs" / self.id

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of the finished run; None where it is not finished. Raises ManifestError."""
        return read_manifest(self.folder, self.id) if (self.folder / "manifest.json").exists() else None

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Holds the run against every other process, on this machine or on any that shares the folder.

        By a lock of the operating system, which a kill frees. Raises Locked, naming who holds it.
        """
        import yaml
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        owner = self.folder / "owner.json"
        lock = FileLock(self.folder / "lock", timeout=0.2)  # who only looks whether it is held lets go by then
        try:
            lock.acquire()
        except Timeout:
            raise Locked(f"{self.id} is being trained by {self._owner(owner)}") from None
        try:
            owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
            atomic.sweep(self.folder)
            atomic.write_text(self.folder / "config.yaml", yaml.safe_dump(self.identity, sort_keys=True))
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    @staticmethod
    def _owner(path: Path) -> str:
        try:
            who = json.loads(path.read_text())
            return f"process {who['pid']} on {who['host']}"
        except (OSError, ValueError, KeyError):
            return "another process"

    def refuse_if_failed(self) -> None:
        """Raises NonFinite where the run has failed before: the same config fails the same way again."""
        path = self.folder / "failed.json"
        if path.exists():
            try:
                cause = json.loads(path.read_text())["cause"]
            except (ValueError, KeyError, TypeError):
                cause = "for a reason that can no longer be read"
            raise NonFinite(f"{self.id} has failed: {cause}; delete {path} to try again")

    def fail(self, cause: str) -> None:
        """Marks the run as failed, so that a sweep does not loop on it."""
        atomic.write_text(self.folder / "failed.json", json.dumps({"cause": cause}) + "\n")
        checkpoint.remove(self.folder)

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes metrics.csv anew; an absent value is an empty field, a float has all its digits."""
        text = io.StringIO()
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        # A checkpoint holds the rows too, so a loss of power need not spare them.
        atomic.write_text(self.folder / "metrics.csv", text.getvalue(), durable=False)

    def write_transition_hat(self, estimates: Mapping[str, Any]) -> str:
        """Writes estimates of T, arrays (K, K) by name; returns the SHA-256 of the file, for the manifest."""
        text = json.dumps({name: matrix.tolist() for name, matrix in estimates.items()}) + "\n"
        atomic.write_text(self.folder / "transition_hat.json", text)
        return hashlib.sha256(text.encode()).hexdigest()

    def transition_hat(self) -> dict[str, list[list[float]]]:
        """The estimates of T of the finished run, by name. Raises ManifestError, for another file than the manifest
        vouches for too."""
        path = self.folder / "transition_hat.json"
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != (self.manifest() or {}).get("transition_hat_sha256"):
                raise ValueError
            found: dict[str, list[list[float]]] = json.loads(content)
            for estimate in found.values():
                if any(len(row) != len(estimate) or min(row) < 0 or not 0 < sum(row) < 2 for row in estimate):
                    raise ValueError
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            raise ManifestError(f"{path} is missing or damaged; delete its folder to train that run again") from None
        return found

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Writes the manifest, which makes the run a finished one, and drops its checkpoints."""
        atomic.sync(self.folder / "metrics.csv")  # before the manifest, which vouches for it
        atomic.write_text(self.folder / "manifest.json", json.dumps(manifest, indent=1, allow_nan=False) + "\n")
        checkpoint.remove(self.folder)


def read_manifest(folder: Path, expected: str) -> dict[str, Any]:
    """The manifest in a run folder, which must be of the run ``expected``. Raises ManifestError."""
    path = folder / "manifest.json"
    try:
        found = json.loads(path.read_text())
        accuracies = [found["results"][rule] for rule in RULES]
        whole = found["run_id"] == expected and all(isinstance(a, float) and 0 <= a <= 1 for a in accuracies)
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ManifestError(f"{path} is damaged or of another run; delete it to train this run again")
    return dict(found)


# The five selection rules: the epoch whose test accuracy counts. "val" is the paper's and the headline; the last two
# look at clean labels, which no one has in practice, and are printed as oracles.
RULES = ("val", "last", "last10", "val_clean", "test")
ORACLES = ("val_clean", "test")


def select(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Test accuracy under each selection rule, from the rows of metrics.csv; the earliest epoch on ties."""

    def at_best(key: str) -> float:
        return float(max(rows, key=lambda row: float(row[key]))["test_accuracy"])  # max() takes the first of equals

    last = [float(row["test_accuracy"]) for row in rows[-10:]]
    return {
        "val": at_best("val_accuracy"),
        "last": last[-1],
        "last10": sum(last) / len(last),
        "val_clean": at_best("val_clean_accuracy"),
        "test": at_best("test_accuracy"),
    }
