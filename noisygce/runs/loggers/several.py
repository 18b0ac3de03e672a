"""The loggers of a run, each on its own: one that fails is left out, and the run goes on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import settings
from noisygce.runs.loggers.base import Logger, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("noisygce")


class Loggers:
    """The loggers of one run by name, each on its own: one that fails says so once and is left out."""

    def __init__(self, loggers: Mapping[str, Logger]) -> None:
        self.active = dict(loggers)
        self.last_epoch: dict[int, int] = {}  # by id(logger); what follows a checkpoint comes again

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

    def _catch_up(self, logger: Logger, last_epoch: int) -> None:
        self.last_epoch[id(logger)] = last_epoch
        for row in self.rows:
            self._tell(logger, row)

    def _tell(self, logger: Logger, row: Row) -> None:
        if int(row["epoch"]) <= self.last_epoch[id(logger)]:
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
            ours = type(self.active[name]).__module__.startswith(f"{__package__}.")
            if ours and isinstance(error, ModuleNotFoundError):
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
