"""Command lines: the exit code and the one line that each outcome gives."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from noisygce import check
from noisygce.errors import DISK, ConfigError, NoisygceError, Stopped, exit_quietly_on_broken_pipe, user_code_error
from noisygce.settings import hints


def told(error: BaseException) -> tuple[str, int] | None:
    """The line and the exit code (noisygce/errors.py) of an error that says all there is to say; None for a fault of
    this program, or one that memory or a GPU causes."""
    if isinstance(error, NoisygceError | Stopped):
        return str(error), error.exit_code
    if hints.of_config(error):
        return hints.explain(error), ConfigError.exit_code
    if own := user_code_error(error):
        return str(own), own.exit_code
    if isinstance(error, check.Invalid):
        return str(error), ConfigError.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "stopped", Stopped.exit_code
    return (str(error), DISK) if isinstance(error, OSError) else None


def exit_code(error: BaseException) -> int:
    """The exit code that an error gives a command."""
    return (told(error) or ("", 1))[1]


def expected(error: BaseException) -> bool:
    """Whether an error says all there is to say."""
    return told(error) is not None


def printable(text: str) -> str:
    """A text on one line without control characters, such as those of a terminal in the name of a file or a class:
    each as its escape, such as \\x1b."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def exits(on_interrupt: str = "stopped", on_os_error: str = "") -> Iterator[None]:
    """Turns what goes wrong inside into one line on standard error and an exit code.

    A fault of this program keeps its stack trace; output that no one reads any more is no fault.
    """
    try:
        with exit_quietly_on_broken_pipe():
            yield
    except (Exception, KeyboardInterrupt, Stopped) as error:
        if (found := told(error)) is None:
            raise
        message, code = found
        if isinstance(error, KeyboardInterrupt):
            message = on_interrupt
        elif isinstance(error, OSError) and code == DISK:  # and not one of YAML's, nor of a sweep
            message += on_os_error
        print(f"noisygce: {printable(message)}", file=sys.stderr)
        sys.exit(code)
