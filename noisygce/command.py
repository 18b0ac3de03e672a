"""Command lines: arguments taken apart, and the exit code and the one line that each outcome gives.

Every command takes ``key=value`` arguments: a few of its own, and those of ``noisygce.train``, which pick the runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from noisygce import check, config
from noisygce.errors import ConfigError, NoisygceError, Stopped


@contextmanager
def exits(on_interrupt: str = "stopped", on_os_error: str = "") -> Iterator[None]:
    """Turns what goes wrong inside into one line on standard error and an exit code (noisygce/errors.py)."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (NoisygceError, Stopped) as error:
        _exit(error.exit_code, str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _exit(2, config.explain(error))
    except KeyboardInterrupt:
        _exit(Stopped.exit_code, on_interrupt)
    except BrokenPipeError:
        raise
    except OSError as error:
        _exit(4, f"{error}{on_os_error}")


def _exit(code: int, message: str) -> None:
    print(f"noisygce: {message}", file=sys.stderr)
    sys.exit(code)


def main(answer: Callable[[list[str]], None], usage: str | None) -> None:
    """Runs a command that answers from files: ``answer(arguments)``, or its ``usage`` where --help is asked for."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print((usage or "").strip())
        return
    try:
        with exits():
            answer(arguments)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def split(arguments: Sequence[str], own: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """A command's own ``key=value`` arguments, and the rest, which picks the runs as for ``noisygce.train``.

    own: the values that each own key may have; none listed is any value. Raises ConfigError, also for a key that
    neither the command nor the config has.
    """
    mine: dict[str, str] = {}
    rest: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ConfigError(f"{argument}: arguments are key=value, such as experiment=demo")
        if key not in own:
            rest.append(argument)
            continue
        try:
            mine[key] = check.choice(key, value, own[key]) if own[key] else value
        except check.Invalid as error:
            raise ConfigError(str(error)) from None
    config.refuse_unknown(rest, list(own))
    return mine, rest
