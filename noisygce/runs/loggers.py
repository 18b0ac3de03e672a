"""Loggers: what a run tells other programs while it trains. None can change or harm it, and none is part of its id.

``logger=tensorboard``, ``logger=[mlflow,wandb]``, or a class of a person's own, named in a YAML (docs/loggers.md).
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import settings
from noisygce.runs.ids import flat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("noisygce")
Row = Mapping[str, Any]


class Logger:
    """What a logger may do; every method may be left out. Shares are fractions, names those of metrics.csv.

    An exception leaves the logger out of the run, which goes on.
    """

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        """Before the first row. Returns how many epochs of the run it holds already: they are not told again."""
        return 0

    def epoch(self, row: Row) -> None:
        """A finished epoch: its row of metrics.csv, whose absent values are None."""

    def pruning(self, row: Row) -> None:
        """A round of pruning, as in the manifest."""

    def figure(self, name: str, figure: Figure) -> None:
        """A drawing of the whole run, in the end."""

    def done(self, manifest: Row) -> None:
        """The run is finished: its manifest, with test accuracy under every selection rule."""

    def close(self) -> None:
        """The run is finished, stopped or has failed."""


class Loggers:
    """The loggers of one run by name, each on its own: one that fails says so once and is left out."""

    def __init__(self, loggers: Mapping[str, Logger]) -> None:
        self.active = dict(loggers)
        self.told: dict[int, int] = {}  # by id(logger), the last epoch it holds: what follows a checkpoint comes again

    @contextlib.contextmanager
    def following(
        self, run_id: str, config: Row, folder: Path, rows: Sequence[Row], prunings: Sequence[Row]
    ) -> Iterator[None]:
        """Within it the run is followed, from where each logger has left it."""
        self.rows, self.prunings = rows, prunings  # both grow as the run goes on
        for name in [*self.active]:
            self._call(name, lambda logger: self._catch_up(logger, logger.begin(run_id, config, folder)))
        try:
            yield
        finally:
            self._all(lambda logger: logger.close())

    def epoch(self, row: Row) -> None:
        """After each epoch, and the pruning that follows it."""
        self._all(lambda logger: self._tell(logger, row))

    def done(self, manifest: Row) -> None:
        if self.active:
            figure = curves(self.rows)
            self._all(lambda logger: logger.figure("curves", figure))
            self._all(lambda logger: logger.done(manifest))

    def _catch_up(self, logger: Logger, told: int) -> None:
        self.told[id(logger)] = told
        for row in self.rows:
            self._tell(logger, row)

    def _tell(self, logger: Logger, row: Row) -> None:
        if int(row["epoch"]) <= self.told[id(logger)]:
            return
        logger.epoch(row)
        for pruning in self.prunings:
            if pruning["after_epoch"] == row["epoch"]:
                logger.pruning(pruning)

    def _all(self, call: Callable[[Logger], object]) -> None:
        for name in [*self.active]:
            self._call(name, call)

    def _call(self, name: str, call: Callable[[Logger], object]) -> None:
        try:
            call(self.active[name])
        except Exception as error:
            reason = f"{error}".strip().partition("\n")[0]
            if isinstance(error, ModuleNotFoundError) and type(self.active[name]).__module__ == __name__:
                reason += f" (pip install {name})"
            log.warning(f"logger {name}: {type(error).__name__}: {reason}; the run goes on without it")
            failed = self.active.pop(name)
            with contextlib.suppress(Exception):
                failed.close()


def read(cfg: Any) -> Loggers:
    """The loggers that a composed config names. Raises ConfigError."""
    nodes = cfg.get("logger") or {}
    return Loggers({str(name): settings.build(node, Logger, f"logger.{name}") for name, node in nodes.items()})


def curves(rows: Sequence[Row]) -> Figure:
    """Accuracy over epochs, beside what becomes of the mislabelled training samples."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = {
        "accuracy": ("train_accuracy", "val_accuracy", "test_accuracy"),
        "of the mislabelled, predicted as": ("mislabelled_as_true", "mislabelled_as_noisy", "mislabelled_as_other"),
    }
    for axis, (title, names) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for name in names:
            there = [row for row in rows if row[name] is not None]
            axis.plot([row["epoch"] for row in there], [row[name] for row in there], label=name)
        axis.set(title=title, xlabel="epoch", ylim=(0, 1))
        axis.legend(fontsize=8)
    return figure


def numbers(row: Row) -> dict[str, float]:
    """The numbers of a row that are there, but for the epoch."""
    return {k: float(v) for k, v in row.items() if isinstance(v, int | float) and k not in ("epoch", "after_epoch")}


class TensorBoard(Logger):
    """``tensorboard --logdir FOLDER``. A run that goes on is written anew, so that no step is there twice."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        from torch.utils.tensorboard import SummaryWriter

        own = self.folder / run_id
        for old in own.glob("events.out.tfevents.*"):
            old.unlink()
        self.config = flat(config)
        self.writer = SummaryWriter(str(own))
        self.writer.add_text("config", "\n".join(f"    {key}: {value}" for key, value in self.config.items()))
        return 0

    def epoch(self, row: Row) -> None:
        for name, value in numbers(row).items():
            self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()

    def pruning(self, row: Row) -> None:
        for name, value in numbers(row).items():
            self.writer.add_scalar(f"pruning/{name}", value, row["after_epoch"])

    def figure(self, name: str, figure: Figure) -> None:
        self.writer.add_figure(name, figure, close=False)

    def done(self, manifest: Row) -> None:
        shown = {k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in self.config.items()}
        self.writer.add_hparams(
            shown, {f"results/{k}": v for k, v in numbers(manifest["results"]).items()}, run_name="."
        )

    def close(self) -> None:
        self.writer.close()


class MLflow(Logger):
    """A run of an MLflow experiment, found again by its tag ``noisygce.run_id``.

    uri: of a tracking server or store; null: MLFLOW_TRACKING_URI, or else a file in ``folder``.
    """

    def __init__(self, uri: str | None, folder: str, experiment: str) -> None:
        self.uri, self.folder, self.experiment = uri, Path(folder).resolve(), experiment

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # else it tells of each table that it makes
        uri, artifacts = self.uri or os.environ.get("MLFLOW_TRACKING_URI"), None
        if uri is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            uri, artifacts = f"sqlite:///{self.folder}/mlflow.db", f"{self.folder}/artifacts"
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        there = self.client.get_experiment_by_name(self.experiment)
        own = there.experiment_id if there else self.client.create_experiment(self.experiment, artifacts)
        found = self.client.search_runs([own], f"tags.`noisygce.run_id` = '{run_id}'")
        self.finished = bool(found) and found[0].info.status == "FINISHED"
        if found:
            self.run = found[0].info.run_id
            return len(self.client.get_metric_history(self.run, "train_loss"))
        self.run = self.client.create_run(own, run_name=run_id, tags={"noisygce.run_id": run_id}).info.run_id
        params = [mlflow.entities.Param(key, str(value)[:500]) for key, value in flat(config).items()]
        self.client.log_batch(self.run, params=params)
        return 0

    def epoch(self, row: Row) -> None:
        self._log(numbers(row), row["epoch"])

    def pruning(self, row: Row) -> None:
        self._log({f"pruning.{name}": value for name, value in numbers(row).items()}, row["after_epoch"])

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def figure(self, name: str, figure: Figure) -> None:
        if not self.finished:
            self.client.log_figure(self.run, figure, f"{name}.png")

    def done(self, manifest: Row) -> None:
        if not self.finished:
            self._log({f"results.{rule}": share for rule, share in numbers(manifest["results"]).items()}, 0)
            self.client.log_dict(self.run, dict(manifest), "manifest.json")
            self.client.set_terminated(self.run)
            self.finished = True

    def close(self) -> None:
        if not self.finished:
            self.client.set_terminated(self.run, "KILLED")


class Wandb(Logger):
    """A run of Weights & Biases, with the run's own id. mode: online, offline (``wandb sync`` uploads it later).

    Offline a run that goes on is written anew, so that no step is there twice.
    """

    def __init__(self, project: str, mode: str, folder: str) -> None:
        self.project, self.mode, self.folder = project, mode, Path(folder)

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        own = run_id[-64:]
        if self.mode == "offline":
            for old in self.folder.glob(f"wandb/offline-run-*-{own}"):
                shutil.rmtree(old)
        self.run = wandb.init(
            **{"project": self.project, "mode": self.mode, "dir": str(self.folder), "id": own, "name": run_id},
            **{"config": dict(config), "resume": None if self.mode == "offline" else "allow", "reinit": "create_new"},
            settings=wandb.Settings(silent=True, console="off"),
        )
        return int(self.run.summary.get("epoch", 0)) if self.run.resumed else 0

    def epoch(self, row: Row) -> None:
        self.run.log({"epoch": row["epoch"], **numbers(row)}, step=row["epoch"])

    def pruning(self, row: Row) -> None:
        self.run.log({f"pruning/{name}": v for name, v in numbers(row).items()}, step=row["after_epoch"])

    def figure(self, name: str, figure: Figure) -> None:
        import wandb
        from PIL import Image

        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        self.run.log({name: wandb.Image(Image.open(picture))})

    def done(self, manifest: Row) -> None:
        self.run.summary.update({f"results/{rule}": v for rule, v in numbers(manifest["results"]).items()})

    def close(self) -> None:
        self.run.finish()


class Trackio(Logger):
    """A run of a Trackio project in a folder. A run that goes on is written anew, so that no step is there twice."""

    def __init__(self, project: str, folder: str) -> None:
        self.project, self.folder = project, Path(folder).resolve()

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        os.environ.setdefault("TRACKIO_DIR", str(self.folder))  # which trackio reads when it is imported
        with _quiet():
            import trackio

            if trackio.SQLiteStorage.get_project_db_path(self.project).exists():
                for old in trackio.Api().runs(self.project):
                    if old.name == run_id:
                        old.delete()
            options: dict[str, Any] = {"auto_log_gpu": False, "auto_log_cpu": False, "embed": False}
            self.run = trackio.init(self.project, name=run_id, config=flat(config), **options)
        return 0

    def epoch(self, row: Row) -> None:
        self.run.log({"epoch": row["epoch"], **numbers(row)}, step=row["epoch"])

    def pruning(self, row: Row) -> None:
        self.run.log({f"pruning/{name}": v for name, v in numbers(row).items()}, step=row["after_epoch"])

    def done(self, manifest: Row) -> None:
        last = manifest["config"]["schedule"]["epochs"]
        self.run.log({f"results/{rule}": v for rule, v in numbers(manifest["results"]).items()}, step=last)

    def close(self) -> None:
        import trackio

        with _quiet():
            trackio.finish()  # of this thread's run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what a package prints of itself."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
