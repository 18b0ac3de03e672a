"""MLflow."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from noisygce.runs.ids import flat
from noisygce.runs.loggers.base import Numbers, Row, numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class MLflow(Numbers):
    """A run of an MLflow experiment, found again by its tag ``noisygce.run_id``.

    uri: of a tracking server or store; null: MLFLOW_TRACKING_URI, or else a file in ``folder``.
    """

    package = "mlflow"
    separator = "."

    def __init__(self, uri: str | None, folder: str, experiment: str) -> None:
        self.uri, self.folder, self.experiment = uri, Path(folder).resolve(), experiment

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        # else a server that is gone keeps the run waiting for four minutes, and twice
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # else it tells of each table that it makes
        uri, artifacts = self.uri or os.environ.get("MLFLOW_TRACKING_URI"), None
        if uri is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            uri, artifacts = f"sqlite:///{self.folder}/mlflow.db", f"{self.folder}/artifacts"
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        there = self.client.get_experiment_by_name(self.experiment)
        experiment = there.experiment_id if there else self.client.create_experiment(self.experiment, artifacts)
        found = self.client.search_runs([experiment], f"tags.`noisygce.run_id` = '{run_id}'")
        self.finished = bool(found) and found[0].info.status == "FINISHED"
        if found:
            self.run = found[0].info.run_id
            if not self.finished:
                self.client.update_run(self.run, status="RUNNING")  # it was stopped, and goes on
            return len(self.client.get_metric_history(self.run, "train_loss"))
        self.run = self.client.create_run(experiment, run_name=run_id, tags={"noisygce.run_id": run_id}).info.run_id
        params = [mlflow.entities.Param(key, str(value)[:500]) for key, value in flat(config).items()]
        self.client.log_batch(self.run, params=params)
        return 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def figure(self, name: str, figure: Figure) -> None:
        if not self.finished:
            self.client.log_figure(self.run, figure, f"{name}.png")

    def done(self, manifest: Row) -> None:
        if not self.finished:
            self.log(numbers(manifest["results"], "results."), 0)
            self.client.log_dict(self.run, dict(manifest), "manifest.json")
            self.client.set_terminated(self.run)
            self.finished = True

    def close(self) -> None:
        if not self.finished:
            self.client.set_terminated(self.run, "KILLED")
