"""Arguments of the commands that answer from files: a few of their own, and those of ``noisygce.train``, which pick
the runs. All are ``key=value``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from noisygce import check
from noisygce.errors import ConfigError
from noisygce.settings import command, hints
from noisygce.settings.compose import compose, config_dir

_TOP = (*hints.VALUES, "prune", "runtime", "paths", "hydra", "grid", "table")  # beside the groups


def main(answer: Callable[[list[str]], None], usage: str | None) -> None:
    """Runs a command: ``answer(arguments)``, or its ``usage`` where --help is asked for."""
    if help_was_asked(usage):
        return
    with command.exits():
        try:
            answer(sys.argv[1:])
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def help_was_asked(usage: str | None) -> bool:
    """Prints ``usage`` where the command line has -h or --help, and says whether it has."""
    asked = bool({"-h", "--help"} & set(sys.argv[1:]))
    if asked:
        print((usage or "").strip())
    return asked


def split(arguments: Sequence[str], own: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """A command's own arguments, and the rest. Raises ConfigError, also for a key that nothing has.

    own: the values that each own key may have.
    """
    if mistake := hints.mistake(arguments):
        raise ConfigError(mistake)
    mine: dict[str, str] = {}
    rest: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals and not argument.startswith("~"):
            raise ConfigError(f"{argument}: arguments are key=value, such as experiment=demo")
        if key not in own:
            rest.append(argument)
            continue
        try:
            mine[key] = check.choice(key, value, own[key])
        except check.Invalid as error:
            raise ConfigError(str(error)) from None
    _refuse_unknown(rest, own)
    return mine, rest


def _refuse_unknown(overrides: Sequence[str], own: Mapping[str, Sequence[str]]) -> None:
    """By the first word of a dotted key alone: what a group holds depends on the choice made, and Hydra knows it."""
    groups = [path.name for path in config_dir().iterdir() if path.is_dir()]
    for override in overrides:
        word = override.lstrip("+~").partition("=")[0].partition("@")[0]
        if word.partition(".")[0].partition("/")[0] not in (*_TOP, *groups):
            known = [*own, *groups, *hints.known(compose([]))]
            raise ConfigError(f"{word}: there is no such key{hints.meant(word, known)}")
