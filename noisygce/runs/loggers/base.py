"""What a logger may do; and the loggers of a run, each on its own."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from noisygce import settings
from noisygce.errors import ConfigError, user_code_error
from noisygce.runs import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

log = logging.getLogger("noisygce")
Row = Mapping[str, Any]


class Logger:
    """What a logger may do; every method may be left out. Shares are fractions, names those of metrics.csv.

    An exception leaves the logger out of the run, which goes on.
    """

    package: ClassVar[str] = ""  # that it needs and that may not be installed

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        """Before the first row. Returns how many epochs of the run it holds already: they are not told again."""
        return 0

    def epoch(self, row: Row) -> None:
        """A finished epoch: its row of metrics.csv, whose absent values are None."""

    def pruning(self, row: Row) -> None:
        """A round of pruning, as in the manifest."""

    def figure(self, name: str, figure: Figure) -> None:
        """A drawing of the whole run, at its end."""

    def done(self, manifest: Row) -> None:
        """The run is finished: its manifest, with test accuracy under every selection rule."""

    def close(self) -> None:
        """The run is finished, stopped or has failed."""


class Numbers(Logger):
    """A logger of numbers by step; pruning, too, by the epoch that it follows."""

    separator = "/"

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name, of an epoch."""

    def epoch(self, row: Row) -> None:
        self.log(numbers(row), row["epoch"])

    def pruning(self, row: Row) -> None:
        self.log(numbers(row, f"pruning{self.separator}"), row["after_epoch"])


def numbers(row: Row, prefix: str = "") -> dict[str, float]:
    """The numbers of a row that are there, but for the epoch, under their names with a prefix."""
    names = [k for k, v in row.items() if isinstance(v, int | float) and k not in ("epoch", "after_epoch")]
    return {f"{prefix}{name}": float(row[name]) for name in names}


def picture(figure: Figure) -> Image:
    """A drawing as W&B and Trackio take it."""
    from PIL import Image

    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content)


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
        self._all(lambda logger: self._catch_up(logger, logger.begin(run_id, config, folder)))
        try:
            yield
        finally:
            self._all(lambda logger: logger.close())

    def epoch(self, row: Row) -> None:
        """After each epoch, and the pruning that follows it."""
        self._all(lambda logger: self._tell(logger, row))

    def done(self, manifest: Row) -> None:
        """After the manifest is written: whatever goes wrong here, the run stays finished."""
        if self.active:
            self._figure()
            self._all(lambda logger: logger.done(manifest))

    def _figure(self) -> None:
        try:
            with drawing.by_default():  # loggers render the figure themselves, so the defaults hold for them too
                figure = curves(self.rows)
                self._all(lambda logger: logger.figure("curves", figure))
        except Exception as error:
            log.warning(f"logger {', '.join(self.active)}: no curves ({_reason(error)})")

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
        for name, logger in [*self.active.items()]:
            try:
                call(logger)
            except (Exception, SystemExit) as error:
                log.warning(f"logger {name}: {user_code_error(error) or _reason(error)}; the run goes on without it")
                del self.active[name]
                with contextlib.suppress(Exception, SystemExit):
                    logger.close()


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0]


_missed: set[str] = set()  # packages that this process has said it has not


def read(cfg: Any) -> Loggers:
    """The loggers that a composed config names, without those whose package is not installed, which is said once a
    process. Raises ConfigError."""
    nodes = cfg.get("logger") or {}
    if "_target_" in nodes:
        raise ConfigError(
            f"logger._target_={nodes['_target_']}: begin the YAML of a logger with '# @package logger.NAME'"
        )
    found = {str(name): settings.build(node, Logger, f"logger.{name}") for name, node in nodes.items()}
    return Loggers({name: logger for name, logger in found.items() if _installed(name, logger.package)})


def _installed(name: str, package: str) -> bool:
    """Whether a logger has what it needs; says so where it has not."""
    spec = importlib.util.find_spec(package) if package else None
    there = not package or (spec is not None and spec.origin is not None)  # no mere folder of that name
    if not there and package not in _missed:
        _missed.add(package)
        log.warning(
            f"logger {name}: {package} is not installed, and runs go on without it; install it ({_install(package)}), "
            "start the same command again, and it is told these runs too"
        )
    return there


def _install(package: str) -> str:
    """The command that installs a package for this Python; an environment that uv has made has no pip."""
    if importlib.util.find_spec("pip"):
        return shlex.join([sys.executable, "-m", "pip", "install", package])
    return shlex.join(["uv", "pip", "install", "--python", sys.executable, package])


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
