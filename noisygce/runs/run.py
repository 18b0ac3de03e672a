"""A run: its id, its folder, who works on it, what it leaves.

results/runs/<run id>/
  config.yaml     what the id was made from
  metrics.csv     a row an epoch, each exactly once; nothing in it depends on time or machine load
  manifest.json   written last, by rename: where it is, the run is finished
  model.safetensors  predictions.npz   a model and its predictions (artifacts.py)
  transition_hat.json   estimates of T by a loss whose p allows them (ce), for loss=forward_hat and others; digest in
                  the manifest
  train.log  last.ckpt  previous.ckpt
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noisygce.errors import ConfigError, Locked, ManifestError, NonFinite
from noisygce.runs import archive, atomic, checkpoint, manifest, unfinished
from noisygce.runs.ids import run_id
from noisygce.runs.reading import json_values


class Run:
    """The folder of one run below ``results``; made when the run is claimed."""

    def __init__(self, results: Path, identity: Mapping[str, Any]) -> None:
        self.identity = dict(identity)
        self.id = run_id(identity)
        self.folder = results / "runs" / self.id

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of the finished run; None where it is not finished. Raises ManifestError."""
        path = self.folder / "manifest.json"
        if not path.exists():
            return None
        try:
            return manifest.read(path.read_bytes(), self.id)
        except ValueError as error:
            raise ManifestError(f"{path} {error}; delete it to train this run again") from None

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Holds the run against every other process, on this machine or on any that shares the folder.

        By a lock of the operating system, which a kill frees. Raises Locked, naming who holds it, and ConfigError for a
        folder with links in it, and below an archive.
        """
        import yaml

        if (self.folder.parent.parent / archive.RUNS).is_file():
            raise ConfigError(
                f"paths.results={self.folder.parent.parent}: this is an archive of finished runs, which is only read; "
                "name another folder to train in"
            )

        atomic.refuse_links(self.folder, self.folder.parent)
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            atomic.refuse_links(path, self.folder)
        owner = self.folder / "owner.json"
        with self.locked():
            try:
                who = {"pid": os.getpid(), "host": socket.gethostname()}
                atomic.write_text(owner, json.dumps(who), durable=False)
                self.refuse_if_failed()  # once more, since another process may have come to that meanwhile
                atomic.sweep(self.folder)
                (self.folder / "failed.json").unlink(missing_ok=True)  # of a crash
                atomic.write_text(self.folder / "config.yaml", yaml.safe_dump(self.identity, sort_keys=True))
                yield
            finally:
                owner.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of a run whose folder is there. Raises Locked, naming who holds it."""
        from filelock import FileLock, Timeout

        # 0.2 s are long enough for a process that only tests the lock to release it
        lock = FileLock(self.folder / "lock", timeout=0.2)
        try:
            lock.acquire()
        except Timeout:
            who = unfinished.owner_of(self.folder)
            by = f"process {who.get('pid')} on {who.get('host')}" if who else "another process"
            raise Locked(f"{self.id} is being trained by {by}") from None
        try:
            yield
        finally:
            lock.release()

    def drop_left_over(self) -> None:
        """Drops the checkpoints of a finished run that was killed before it could: hundreds of megabytes."""
        if checkpoint.there(self.folder):
            with contextlib.suppress(Locked, OSError), self.locked():
                checkpoint.remove(self.folder)
                (self.folder / "owner.json").unlink(missing_ok=True)

    def refuse_if_failed(self) -> None:
        """Raises NonFinite where the run has failed before: the same config fails the same way again."""
        failure = unfinished.failure_of(self.folder)
        if failure and not failure["crashed"]:
            path = self.folder / "failed.json"
            raise NonFinite(f"{self.id} has failed: {failure['cause']}; delete {path} to try again")

    def fail(self, cause: str) -> None:
        """Marks the run as failed, so that a sweep does not loop on it."""
        atomic.write_text(self.folder / "failed.json", json.dumps({"cause": cause}) + "\n")
        checkpoint.remove(self.folder)

    def crash(self, cause: str) -> None:
        """Leaves word of what ended the run, which may be tried again from its checkpoint."""
        with contextlib.suppress(OSError):  # a full disk, which may be what ended it
            atomic.write_text(self.folder / "failed.json", json.dumps({"cause": cause, "crashed": True}) + "\n")

    def forget(self) -> bool:
        """Deletes the folder of a run of which nothing was trained, and says whether it has; only for who holds its
        lock."""
        begun = {path.name for path in self.folder.iterdir() if path.stat().st_size or path.suffix != ".csv"}
        if begun <= {"config.yaml", "lock", "owner.json", "train.log"}:
            shutil.rmtree(self.folder, ignore_errors=True)
            return True
        return False

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes metrics.csv anew; an absent value is an empty field, a float has all its digits."""
        text = io.StringIO()
        if rows:
            columns = dict.fromkeys(key for row in rows for key in row)  # the first rows may be of older code
            writer = csv.DictWriter(text, list(columns), lineterminator="\n")
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
            found: dict[str, list[list[float]]] = json_values(content)
            for estimate in found.values():
                if any(len(row) != len(estimate) or min(row) < 0 or not 0 < sum(row) < 2 for row in estimate):
                    raise ValueError
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            raise ManifestError(f"{path} is missing or damaged; delete its folder to train that run again") from None
        return found

    def estimates(self) -> dict[str, Any]:
        """What the finished run has estimated of the noise: T by name, and ``rate``, the share of wrong labels by
        confident learning, which runs of older code lack. Raises ManifestError."""
        estimated = (self.manifest() or {}).get("estimated", {})
        rate = {"rate": estimated["confident_joint"]["rate"]} if "confident_joint" in estimated else {}
        return {**self.transition_hat(), **rate}

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Writes the manifest, which makes the run a finished one, and drops its checkpoints."""
        atomic.sync(self.folder / "metrics.csv")  # before the manifest, which vouches for it
        atomic.write_text(self.folder / "manifest.json", json.dumps(manifest, indent=1, allow_nan=False) + "\n")
        checkpoint.remove(self.folder)
