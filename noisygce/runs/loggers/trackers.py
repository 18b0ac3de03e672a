"""TensorBoard, Weights & Biases, MLflow and Trackio: each holds every epoch once, however often a run was resumed."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import check
from noisygce.runs.drawing import picture
from noisygce.runs.ids import flat
from noisygce.runs.loggers.base import Logger, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Numbers(Logger):
    """A logger of numbers by epoch; numbers of a pruning belong to the epoch before it."""

    separator = "/"  # between a prefix and a name

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, of an epoch."""

    def epoch(self, row: Row) -> None:
        self.log(self.numbers(row), row["epoch"])

    def pruning(self, row: Row) -> None:
        self.log(self.numbers(row, "pruning"), row["after_epoch"])

    def numbers(self, row: Row, prefix: str = "") -> dict[str, float]:
        """The numbers of a row, the epoch left out."""
        start = f"{prefix}{self.separator}" if prefix else ""
        names = [k for k, v in row.items() if isinstance(v, int | float) and k not in ("epoch", "after_epoch")]
        return {f"{start}{name}": float(row[name]) for name in names}


class TensorBoard(Numbers):
    """``tensorboard --logdir FOLDER``. A resumed run is written anew."""

    package = "tensorboard"

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        from torch.utils.tensorboard import SummaryWriter

        events = self.folder / run_id
        for old in events.glob("events.out.tfevents.*"):
            old.unlink()
        self.config = flat(config)
        self.writer = SummaryWriter(str(events))
        self.writer.add_text("config", "\n".join(f"    {key}: {value}" for key, value in self.config.items()))
        return 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def figure(self, name: str, figure: Figure) -> None:
        self.writer.add_figure(name, figure, close=False)

    def done(self, manifest: Row) -> None:
        shown = {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in self.config.items()}
        self.writer.add_hparams(shown, self.numbers(manifest["results"], "results"), run_name=".")

    def close(self) -> None:
        self.writer.close()


class Wandb(Numbers):
    """A run of Weights & Biases, with the run's own id. mode: online, offline (``wandb sync`` uploads it later).

    An offline run that is resumed is written anew.
    """

    package = "wandb"

    def __init__(self, project: str, mode: str, folder: str) -> None:
        self.project, self.folder = project, Path(folder)
        self.offline = check.choice("mode", mode, ("online", "offline")) == "offline"

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        short_id = run_id[-64:]
        if self.offline:
            for old in self.folder.glob(f"wandb/offline-run-*-{short_id}"):
                shutil.rmtree(old)
        options: dict[str, Any] = {"project": self.project, "dir": str(self.folder), "id": short_id, "name": run_id}
        options |= {"mode": "offline"} if self.offline else {"mode": "online", "resume": "allow"}
        quiet = wandb.Settings(silent=True, console="off")
        self.run = wandb.init(**options, config=dict(config), reinit="create_new", settings=quiet)
        known = self.run.summary.keys()  # it is no dict
        self.finished = self.run.resumed and any(name.startswith("results/") for name in known)
        return int(self.run.summary.get("epoch", 0)) if self.run.resumed else 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({"epoch": step, **values}, step=step)

    def figure(self, name: str, figure: Figure) -> None:
        import wandb

        if not self.finished:  # the server holds it
            self.run.log({name: wandb.Image(picture(figure))})

    def done(self, manifest: Row) -> None:
        self.run.summary.update(self.numbers(manifest["results"], "results"))

    def close(self) -> None:
        self.run.finish()


class MLflow(Numbers):
    """A run of an MLflow experiment, found again by its tag ``noisygce.run_id``.

    uri: of a tracking server or store; null: MLFLOW_TRACKING_URI, or else a file in ``folder``.
    """

    package = "mlflow"
    quiet = "mlflow"  # which logs each table that it makes
    separator = "."
    # else a server that is gone keeps the run waiting for four minutes, and twice
    environment = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

    def __init__(self, uri: str | None, folder: str, experiment: str) -> None:
        self.uri, self.folder, self.experiment = uri, Path(folder).resolve(), experiment

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        import mlflow
        from filelock import FileLock

        uri, artifacts = self.uri or os.environ.get("MLFLOW_TRACKING_URI"), None
        if uri is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            uri, artifacts = f"sqlite:///{self.folder}/mlflow.db", f"{self.folder}/artifacts"
        with FileLock(self.folder / ".lock") if artifacts else contextlib.nullcontext():  # MLflow makes a database once
            self.client = mlflow.MlflowClient(tracking_uri=uri)
            experiment = self._experiment(artifacts)
        found = self.client.search_runs([experiment], f"tags.`noisygce.run_id` = '{run_id}'")
        self.finished = bool(found) and found[0].info.status == "FINISHED"
        if found:
            self.run = found[0].info.run_id
            if not self.finished:
                self.client.update_run(self.run, status="RUNNING")
            return len(self.client.get_metric_history(self.run, "train_loss"))
        self.run = self.client.create_run(experiment, run_name=run_id, tags={"noisygce.run_id": run_id}).info.run_id
        params = [mlflow.entities.Param(key, str(value)[:500]) for key, value in flat(config).items()]
        self.client.log_batch(self.run, params=params)
        return 0

    def _experiment(self, artifacts: str | None) -> str:
        """The ID of the experiment, made where it is not there; another worker may make it meanwhile."""
        from mlflow.exceptions import MlflowException

        there = self.client.get_experiment_by_name(self.experiment)
        if there is None:
            try:
                return str(self.client.create_experiment(self.experiment, artifacts))
            except MlflowException:
                if (there := self.client.get_experiment_by_name(self.experiment)) is None:
                    raise
        return str(there.experiment_id)

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def figure(self, name: str, figure: Figure) -> None:
        if not self.finished:
            self.client.log_figure(self.run, figure, f"{name}.png")

    def done(self, manifest: Row) -> None:
        if not self.finished:
            self.log(self.numbers(manifest["results"], "results"), 0)
            self.client.log_dict(self.run, dict(manifest), "manifest.json")
            self.client.set_terminated(self.run)
            self.finished = True

    def close(self) -> None:
        if not self.finished:
            self.client.set_terminated(self.run, "KILLED")


class Trackio(Numbers):
    """A run of a Trackio project in a folder. A resumed run is written anew."""

    package = "trackio"

    def __init__(self, project: str, folder: str) -> None:
        self.project = project
        self.environment = {"TRACKIO_DIR": str(Path(folder).resolve())}  # which trackio reads when it is imported

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import trackio

            database = Path(trackio.SQLiteStorage.get_project_db_path(self.project))
            asked = self.environment["TRACKIO_DIR"]
            if not database.resolve().is_relative_to(asked):
                raise RuntimeError(f"trackio, imported before, writes to {database.parent}, not to {asked}")
            if database.exists():
                for old in trackio.Api().runs(self.project):
                    if old.name == run_id:
                        old.delete()
                        media = database.parent / "media" / self.project / run_id  # which trackio leaves
                        shutil.rmtree(media, ignore_errors=True)
            options: dict[str, Any] = {"auto_log_gpu": False, "auto_log_cpu": False, "embed": False}
            self.run = trackio.init(self.project, name=run_id, config=flat(config), **options)
        return 0

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.step = step
        self.run.log({"epoch": step, **values}, step=step)

    def figure(self, name: str, figure: Figure) -> None:
        import trackio

        self.run.log({name: trackio.Image(picture(figure))}, step=self.step)

    def done(self, manifest: Row) -> None:
        self.log(self.numbers(manifest["results"], "results"), self.step)

    def close(self) -> None:
        import trackio

        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            trackio.finish()  # of this thread's run
