"""What a call changes in the process that it is a part of, for its time alone."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from noisygce import check
from noisygce.errors import ConfigError, NoisygceError, user_code_error
from noisygce.runs import messages
from noisygce.runs.stops import process
from noisygce.settings import command, hints

log = logging.getLogger("noisygce")


class _Before:
    """The process as it was before the first of the calls that are under way, each in a thread."""

    lock = threading.Lock()
    calls = 0  # under way
    resolvers: ClassVar[dict[str, Any]] = {}
    logging: tuple[list[logging.Handler], int, bool, bool]


@contextlib.contextmanager
def as_before(quiet: bool = False) -> Iterator[None]:
    """Around a call. Within it messages go to standard error, or to the logging of the program where it asks for them
    (INFO), and signals save and stop; after it logging, signal handlers and OmegaConf's resolvers are as before.

    quiet: standard error gets warnings alone. Errors that are not noisygce's own are raised as the line that the
    command would print.
    """
    with _restored(quiet), process.listening(), _in_one_line():
        yield


@contextlib.contextmanager
def _restored(quiet: bool) -> Iterator[None]:
    from omegaconf.basecontainer import BaseContainer

    with _Before.lock:
        if not _Before.calls:
            _Before.resolvers = dict(BaseContainer._resolvers)
            _Before.logging = log.handlers[:], log.level, log.propagate, logging.raiseExceptions
            _listen(quiet)
        _Before.calls += 1
    try:
        yield
    finally:
        with _Before.lock:
            _Before.calls -= 1
            if not _Before.calls:
                BaseContainer._resolvers = _Before.resolvers
                log.handlers[:], log.level, log.propagate, logging.raiseExceptions = _Before.logging
                log.setLevel(log.level)  # which forgets what levels loggers have found to be enabled


def _listen(quiet: bool) -> None:
    handlers, level = log.handlers[:], log.getEffectiveLevel()
    program_logs = log.hasHandlers() and level <= logging.INFO
    log.handlers[:] = [_ProgramLogging(level, handlers, log.propagate)] if program_logs else []
    log.propagate = False
    if program_logs:
        log.setLevel(logging.DEBUG)  # for train.log
    else:
        messages.to_console(logging.WARNING if quiet else logging.INFO)


class _ProgramLogging(logging.Handler):
    """Hands messages on as the logging of the program would have had them."""

    def __init__(self, level: int, handlers: list[logging.Handler], propagate: bool) -> None:
        super().__init__(level)
        self.handlers, self.propagate = handlers, propagate

    def emit(self, record: logging.LogRecord) -> None:
        for handler in self.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
        if self.propagate and log.parent:
            log.parent.handle(record)


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except NoisygceError:
        raise
    except Exception as error:
        if hints.of_config(error) or isinstance(error, check.Invalid):
            raise ConfigError((command.told(error) or ("",))[0]) from None
        if own := user_code_error(error):
            raise own from error
        raise
