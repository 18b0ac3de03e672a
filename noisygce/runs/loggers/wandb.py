"""Weights & Biases."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from noisygce import check
from noisygce.runs.loggers.base import Numbers, Row, numbers, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Wandb(Numbers):
    """A run of Weights & Biases, with the run's own id. mode: online, offline (``wandb sync`` uploads it later).

    Offline a run that goes on is written anew, so that no step is there twice.
    """

    package = "wandb"

    def __init__(self, project: str, mode: str, folder: str) -> None:
        self.project, self.folder = project, Path(folder)
        self.mode = check.choice("mode", mode, ("online", "offline"))

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        short_id = run_id[-64:]
        if self.mode == "offline":
            for old in self.folder.glob(f"wandb/offline-run-*-{short_id}"):
                shutil.rmtree(old)
        self.run = wandb.init(
            **{"project": self.project, "mode": self.mode, "dir": str(self.folder), "id": short_id, "name": run_id},
            **{"config": dict(config), "resume": None if self.mode == "offline" else "allow", "reinit": "create_new"},
            settings=wandb.Settings(silent=True, console="off"),
        )
        known = self.run.summary.keys()  # it is no dict
        self.finished = self.run.resumed and any(name.startswith("results/") for name in known)
        return int(self.run.summary.get("epoch", 0)) if self.run.resumed else 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({"epoch": step, **values}, step=step)

    def figure(self, name: str, figure: Figure) -> None:
        import wandb

        if not self.finished:  # a run on the server that is told again has it
            self.run.log({name: wandb.Image(picture(figure))})

    def done(self, manifest: Row) -> None:
        self.run.summary.update(numbers(manifest["results"], "results/"))

    def close(self) -> None:
        self.run.finish()
