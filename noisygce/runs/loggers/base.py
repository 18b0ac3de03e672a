"""What a logger may do; and the loggers of a run, each on its own."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from noisygce import settings
from noisygce.errors import ConfigError, installing, user_code_error
from noisygce.runs import drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("noisygce")
Row = Mapping[str, Any]


class Logger:
    """What a logger may do; every method may be left out. Shares are fractions, names are columns of metrics.csv.

    A logger that raises an exception is left out of the run, and the run continues.
    """

    package: ClassVar[str] = ""  # that it needs and that may not be installed
    environment: Mapping[str, str] = {}  # variables that the package reads, where they are not set; for the run alone
    quiet: ClassVar[str] = ""  # a logger of the package that is to pass on warnings alone; for the run

    def begin(self, run_id: str, config: Row, folder: Path) -> int:
        """Before the first row. Returns how many epochs of the run the logger holds: those are not sent again."""
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


class Loggers:
    """The loggers of one run by name, each on its own: noisygce logs a failure once, and leaves that logger out."""

    def __init__(self, loggers: Mapping[str, Logger]) -> None:
        self.active = dict(loggers)
        self.last_epoch: dict[int, int] = {}  # by id(logger); a resumed run repeats epochs after its checkpoint

    @contextlib.contextmanager
    def following(
        self, run_id: str, config: Row, folder: Path, rows: Sequence[Row], prunings: Sequence[Row]
    ) -> Iterator[None]:
        """Within it each logger receives the run, from the epoch after those that it holds."""

        def begin(logger: Logger) -> None:
            self.last_epoch[id(logger)] = logger.begin(run_id, config, folder)
            for row in self.rows:
                self._send(logger, row)

        self.rows, self.prunings = rows, prunings  # both grow while the run trains
        loggers = [*self.active.values()]
        variables = {name: text for each in loggers for name, text in each.environment.items()}
        with _environment(variables), _quiet({each.quiet for each in loggers if each.quiet}):
            self._each(begin)
            try:
                yield
            finally:
                self._each(lambda logger: logger.close())

    def epoch(self, row: Row) -> None:
        """After each epoch, and the pruning that follows it."""
        self._each(lambda logger: self._send(logger, row))

    def done(self, manifest: Row) -> None:
        """After the manifest is written: whatever goes wrong here, the run stays finished."""
        if not self.active:
            return
        try:
            with drawing.by_default():  # loggers render the figure themselves, so the defaults hold for them too
                figure = drawing.curves(self.rows)
                self._each(lambda logger: logger.figure("curves", figure))
        except Exception as error:
            log.warning(f"logger {', '.join(self.active)}: no curves ({_reason(error)})")
        self._each(lambda logger: logger.done(manifest))

    def _send(self, logger: Logger, row: Row) -> None:
        """Sends an epoch that the logger does not hold, and the pruning that follows it."""
        if int(row["epoch"]) > self.last_epoch[id(logger)]:
            logger.epoch(row)
            for pruning in self.prunings:
                if pruning["after_epoch"] == row["epoch"]:
                    logger.pruning(pruning)

    def _each(self, call: Callable[[Logger], object]) -> None:
        for name, logger in [*self.active.items()]:
            try:
                call(logger)
            except (Exception, SystemExit) as error:
                log.warning(f"logger {name}: {user_code_error(error) or _reason(error)}; the run continues without it")
                del self.active[name]
                with contextlib.suppress(Exception, SystemExit):
                    logger.close()


_lock = threading.Lock()
_runs: Counter[str] = Counter()  # that need an environment variable which noisygce has set, or a quiet logger


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Within it, the environment variables that are not set have these values; they go with the last run that needs
    them."""
    with _lock:
        ours = [name for name in values if name in _runs or name not in os.environ]
        for name in ours:
            os.environ.setdefault(name, values[name])
        _runs.update(ours)
    try:
        yield
    finally:
        with _lock:
            _runs.subtract(ours)
            for name in [name for name in ours if not _runs[name]]:
                del _runs[name]
                os.environ.pop(name, None)


_levels: dict[str, int] = {}  # of loggers that are quiet, before


@contextlib.contextmanager
def _quiet(names: Collection[str]) -> Iterator[None]:
    """Within it, loggers of ``logging`` pass on warnings alone; their level comes back with the last run that asks."""
    with _lock:
        for name in names:
            _levels.setdefault(name, logging.getLogger(name).level)
            logging.getLogger(name).setLevel(logging.WARNING)
        _runs.update(names)
    try:
        yield
    finally:
        with _lock:
            _runs.subtract(names)
            for name in [name for name in names if not _runs[name]]:
                logging.getLogger(name).setLevel(_levels.pop(name))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0]


_missing: set[str] = set()  # packages that this process has named as not installed


def read(cfg: Any) -> Loggers:
    """The loggers that a composed config names; noisygce names each missing package once. Raises ConfigError."""
    nodes = cfg.get("logger") or {}
    if "_target_" in nodes:
        raise ConfigError(
            f"logger._target_={nodes['_target_']}: begin the YAML of a logger with '# @package logger.NAME'"
        )
    found = {str(name): settings.build(node, Logger, f"logger.{name}") for name, node in nodes.items()}
    return Loggers({name: logger for name, logger in found.items() if _installed(name, logger.package)})


def _installed(name: str, package: str) -> bool:
    """Whether the package of a logger is there; logs the command that installs it where it is not."""
    spec = importlib.util.find_spec(package) if package else None
    if not package or (spec is not None and spec.origin is not None):  # no mere folder of that name
        return True
    if package not in _missing:
        _missing.add(package)
        log.warning(
            f"logger {name}: {package} is not installed, and runs continue without it; install it "
            f"({installing(package)}), start the same command again, and it receives these runs too"
        )
    return False
