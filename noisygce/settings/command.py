"""Command lines: the exit code and the one line of each error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from noisygce.errors import DISK, ConfigError, NoisygceError, Stopped, exit_quietly_on_broken_pipe, user_code_error
from noisygce.settings import hints


def told(error: BaseException) -> tuple[str, int] | None:
    """The line and the exit code (noisygce/errors.py) of an expected error; None for a fault of this program, or one
    of memory or a GPU, whose stack trace is needed."""
    if isinstance(error, NoisygceError | Stopped):
        return str(error), error.exit_code
    if hints.of_config(error):
        return hints.explain(error), ConfigError.exit_code
    if user_error := user_code_error(error):
        return str(user_error), user_error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "stopped", Stopped.exit_code
    return (str(error), DISK) if isinstance(error, OSError) else None


def exit_code(error: BaseException) -> int:
    """The exit code of a command that an error ends."""
    return (told(error) or ("", 1))[1]


def expected(error: BaseException) -> bool:
    """Whether an error is expected: its line is enough, without a stack trace."""
    return told(error) is not None


def printable(text: str) -> str:
    """A text on one line with its control characters escaped, such as \\x1b: a name from elsewhere must not move the
    cursor of a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def exits(on_interrupt: str = "stopped", on_os_error: str = "") -> Iterator[None]:
    """Turns an expected error into one line on standard error and an exit code; any other keeps its stack trace."""
    try:
        with exit_quietly_on_broken_pipe():
            yield
    except (Exception, KeyboardInterrupt, Stopped) as error:
        if (found := told(error)) is None:
            raise
        message, code = found
        if isinstance(error, KeyboardInterrupt):
            message = on_interrupt
        elif isinstance(error, OSError) and code == DISK:  # an OSError of YAML has another code
            message += on_os_error
        print(f"noisygce: {printable(message)}", file=sys.stderr)
        sys.exit(code)
