"""Isolation: a call restores the logging, the signal handlers and the resolvers of the program that it is part of."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from noisygce.errors import ConfigError, user_code_error
from noisygce.runs import messages
from noisygce.runs.stops import process
from noisygce.settings import hints

log = logging.getLogger("noisygce")


class _Saved:
    """The state of the program before the first of the calls that are running, each in a thread."""

    lock = threading.Lock()
    running = 0
    resolvers: ClassVar[dict[str, Any]] = {}
    logging: tuple[list[logging.Handler], int, bool, bool]


@contextlib.contextmanager
def isolated(quiet: bool = False) -> Iterator[None]:
    """Around a call: its messages go to standard error, or to the program's logging if that handles INFO, and signals
    save and stop. Afterwards logging, signal handlers and OmegaConf's resolvers are restored.

    quiet: standard error receives warnings alone. An expected error that is no NoisygceError is raised as one, with the
    line that the command would print.
    """
    with _restored(quiet), process.listening():
        try:
            yield
        except Exception as error:
            if hints.of_config(error):
                raise ConfigError(hints.explain(error)) from None
            if own := user_code_error(error):
                raise own from error
            raise


@contextlib.contextmanager
def _restored(quiet: bool) -> Iterator[None]:
    from omegaconf.basecontainer import BaseContainer

    with _Saved.lock:
        if not _Saved.running:
            _Saved.resolvers = dict(BaseContainer._resolvers)
            _Saved.logging = log.handlers[:], log.level, log.propagate, logging.raiseExceptions
            level = log.getEffectiveLevel()
            program_logs = log.hasHandlers() and level <= logging.INFO
            log.handlers[:] = [_ProgramLogging(level, log.handlers[:], log.propagate)] if program_logs else []
            log.propagate = False
            if program_logs:
                log.setLevel(logging.DEBUG)  # for train.log
            else:
                messages.to_console(logging.WARNING if quiet else logging.INFO)
        _Saved.running += 1
    try:
        yield
    finally:
        with _Saved.lock:
            _Saved.running -= 1
            if not _Saved.running:
                BaseContainer._resolvers = _Saved.resolvers
                log.handlers[:], log.level, log.propagate, logging.raiseExceptions = _Saved.logging
                log.setLevel(log.level)  # which forgets what levels loggers have found to be enabled


class _ProgramLogging(logging.Handler):
    """Passes messages to the handlers of the program, by its level."""

    def __init__(self, level: int, handlers: list[logging.Handler], propagate: bool) -> None:
        super().__init__(level)
        self.handlers, self.propagate = handlers, propagate

    def emit(self, record: logging.LogRecord) -> None:
        for handler in self.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)
        if self.propagate and log.parent:
            log.parent.handle(record)
