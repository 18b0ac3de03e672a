"""Command lines: the exit code and the one line that each outcome gives."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from noisygce import check
from noisygce.errors import NoisygceError, Stopped, exit_quietly_on_broken_pipe, foreign
from noisygce.settings import hints


def exit_code(error: BaseException) -> int:
    """The exit code that an error gives a command (noisygce/errors.py)."""
    if isinstance(error, NoisygceError | Stopped):
        return error.exit_code
    if told := foreign(error):
        return told.exit_code
    if hints.of_config(error) or isinstance(error, check.Invalid):
        return 2
    if isinstance(error, KeyboardInterrupt):
        return Stopped.exit_code
    return 4 if isinstance(error, OSError) else 1


def expected(error: BaseException) -> bool:
    """Whether an error says all there is to say; any other is a fault of this program, or of memory or a GPU."""
    kinds = NoisygceError | Stopped | check.Invalid | KeyboardInterrupt | OSError
    return isinstance(error, kinds) or hints.of_config(error) or foreign(error) is not None


def printable(text: str) -> str:
    """A text in which control characters, such as those of a terminal in a file's or a class's name, are escaped."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


@contextmanager
def exits(on_interrupt: str = "stopped", on_os_error: str = "") -> Iterator[None]:
    """Turns what goes wrong inside into one line on standard error and an exit code.

    A fault of this program, or one that memory or a GPU causes, keeps its stack trace; output that no one reads any
    more is no fault.
    """
    try:
        with exit_quietly_on_broken_pipe():
            yield
    except (Exception, KeyboardInterrupt, Stopped) as error:
        if hints.of_config(error):
            message = hints.explain(error)
        elif isinstance(error, NoisygceError | Stopped | check.Invalid):
            message = str(error)
        elif told := foreign(error):
            message = str(told)
        elif isinstance(error, KeyboardInterrupt):
            message = on_interrupt
        elif isinstance(error, OSError):
            message = f"{error}{on_os_error}"
        else:
            raise
        print(f"noisygce: {printable(message)}", file=sys.stderr)
        sys.exit(exit_code(error))
