"""Manifests: what a finished run leaves on record of itself."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce.noise import describe
from noisygce.runs.run import Run, select

if TYPE_CHECKING:
    from noisygce.runs.watch import Watch
    from noisygce.settings import Experiment
    from noisygce.training.fit import Training


def manifest_of(e: Experiment, run: Run, training: Training, watcher: Watch) -> dict[str, Any]:
    """The manifest of a training that has ended."""
    from noisygce.training.fit import digest

    task = training.task
    return {
        "run_id": run.id,
        "config": run.identity,
        "results": select(training.progress.rows),
        "noise": describe(e.noise.rate, task.clean, task.noisy, len(task.arrays.classes)),
        "pruning": training.progress.prunings,
        **e.loss.report(),
        "state_sha256": digest(training.step.weights()),
        "images_per_s": round(watcher.images_per_s(), 1),
        "seconds": round(watcher.seconds, 2),
        **watcher.made[-1],
        "also_made": [other for other in watcher.made[:-1] if other != watcher.made[-1]],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def commit() -> dict[str, Any]:
    """Commit of the checkout that this package runs from and whether it has changes; null for an installed package."""

    def git(*words: str) -> str | None:
        command = ["git", "-c", "core.fsmonitor=false", *words]  # which may name a program of the checkout's
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    root = Path(__file__).resolve().parents[2]
    commit = git("rev-parse", "HEAD") if (root / ".git").exists() else None
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no")) if commit else None}
