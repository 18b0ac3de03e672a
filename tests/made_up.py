"""Made-up results: run folders with manifests and metrics as training would leave them, without training."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisygce import runs
from noisygce.sweep.plan import Planned
from noisygce.training import detection

EPOCHS = 12
PRUNED_AFTER = (4, 8)


def accuracy(run: Planned) -> float:
    """A test accuracy that depends on loss, rate and seed alone: ce 0.5, gce 0.7, ... less the rate / 10."""
    loss = {"ce": 0.5, "mae": 0.6, "gce": 0.7, "tgce": 0.8}[run.identity["loss"]["name"]]
    return round(loss - run.identity["rate"] / 10 + run.identity["seed"] / 100, 6)


def metrics(last: float, noisy: bool = True) -> list[dict[str, Any]]:
    """Test accuracy climbs by 0.01 an epoch to ``last``; noisy validation is best two epochs before the end."""
    rows = []
    for epoch in range(1, EPOCHS + 1):
        shares = (0.75, 0.125, 0.125) if noisy else (None, None, None)
        named = dict(zip(("as_true", "as_noisy", "as_other"), shares, strict=True))
        rows.append(
            {
                "epoch": epoch,
                "lr": 0.1,
                "kept": 1350,
                "train_loss": 1.0 / epoch,
                "train_accuracy": 0.5,
                "val_accuracy": 0.6 if epoch == EPOCHS - 2 else 0.5,
                "val_clean_accuracy": 0.8 if epoch == EPOCHS - 1 else 0.7,
                "test_accuracy": round(last - 0.01 * (EPOCHS - epoch), 6),
                **{f"mislabelled_{name}": share for name, share in named.items()},
            }
        )
    return rows


def manifest(run: Planned, rows: Sequence[Mapping[str, Any]], **changed: Any) -> dict[str, Any]:
    rate = run.identity["rate"]
    prunes = run.identity["loss"]["name"] == "tgce"
    a_round = {"by_epoch": 3, "warning": "", "kept": 810, "kept_share": 0.6, "precision": 0.9, "recall": 0.75}
    return {
        "run_id": run.id,
        "config": run.identity,
        "results": runs.select(rows),
        "noise": {
            "nominal_rate": rate,
            "realised_rate": rate,
            "transition": [[1 - rate, rate], [rate, 1 - rate]],
            "labels_sha256": "ab" * 32,
        },
        "pruning": [{"after_epoch": epoch, **a_round} for epoch in PRUNED_AFTER] if prunes else [],
        "state_sha256": "cd" * 32,
        "images_per_s": 1000.0,
        "seconds": 60.0,
        "device": "made up",
        "threads": 1,
        "versions": {"torch": "9.9", "cuda": None},
        "commit": "0123456789abcdef",
        "dirty": False,
        "finished": "2026-01-01T00:00:00Z",
    } | changed


def finish(results: Path, run: Planned, last: float | None = None, /, **changed: Any) -> Path:
    """Makes the folder of a finished run, whose last epoch has the test accuracy ``last``; returns the folder."""
    rows = metrics(accuracy(run) if last is None else last)
    folder = begin(results, run, rows)
    (folder / "manifest.json").write_text(json.dumps(manifest(run, rows, **changed)))
    return folder


def begin(results: Path, run: Planned, rows: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Makes the folder of a run that has been begun."""
    folder = results / "runs" / run.id
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(json.dumps(run.identity))
    (folder / "lock").touch()
    made = runs.Run(results, run.identity)
    assert made.folder == folder
    made.write_metrics(rows)
    return folder


def keep(folder: Path, p: Sequence[Sequence[float]], given: Sequence[int]) -> None:
    """Adds predictions of test samples of the classes cat and dog to the folder of a finished run."""
    n = len(given)
    buffer = io.BytesIO()
    whole = {
        "name": np.array([""] * n),
        "index": np.arange(n),
        "split": np.array(["test"] * n),
        "kept": np.ones(n, dtype=bool),
        "predicted": np.array(p).argmax(1),
        **{column: detection.score(name, np.log(p), np.array(given)) for name, column in detection.SCORES.items()},
    }
    np.savez(buffer, p=np.array(p, dtype=np.float16), given=np.array(given), classes=np.array(["cat", "dog"]), **whole)
    content = buffer.getvalue()
    (folder / "predictions.npz").write_bytes(content)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": {"predictions.npz": vouched(content)}}))


def vouched(content: bytes) -> dict[str, Any]:
    """What a manifest has of a file."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
