"""The words of a command line before Hydra reads them: options first, and what it would misread refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from noisygce.errors import ConfigError
from noisygce.settings.compose import GROUPS, compose, parsed
from noisygce.settings.hints import closest, known


def mistake(words: Sequence[str]) -> str:
    """What Hydra would read otherwise than a person means it; empty where there is nothing."""
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith("="):
            return f"{word}: a setting is KEY=VALUE without spaces, such as rate=0.4"
        if key.lstrip("+") == "experiment" and {*value} & {*",[("} and (several := _choices(word)):
            each = ", then ".join(f"experiment={name}" for name in several)
            return f"{word}: each experiment has a grid of its own, so one command for each: {each}"
        if key in GROUPS and value.startswith("["):  # Hydra would lay one choice over the other
            return f"{word}: a run has one {key}; to train with each of them: -m {key}={value.strip('[]')}"
        if key == "logger" and re.fullmatch(r"[^[]+,.+", value):
            return f"{word}: for all of them in each run: '{key}=[{value}]'"
        is_choice = equals and key in (*GROUPS, "logger")
        if is_choice and isinstance(parsed([word])[0].value(), int | float | dict | None):
            return f"{word}: there is no such {key}; leave it out for the default"
    return ""


def _choices(word: str) -> list[str]:
    """The values of a setting that has several, as a list too; else none."""
    override = parsed([word])[0]
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [str(each) for each in value] if isinstance(value, list) else []


def ordered(words: Sequence[str]) -> list[str]:
    """The words of noisygce.train as Hydra wants them, options before settings. Raises ConfigError for what it would
    misread, or answer with its usage or a stack trace."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    options = {option for action in parser._actions for option in action.option_strings}
    options.remove("--experimental-rerun")  # it reads a pickle, which can run code
    for word in words:  # argparse would read -precision as -p recision
        if word.startswith("-") and word.partition("=")[0] not in options:
            raise ConfigError(no_option(word))
    if message := mistake(words):
        raise ConfigError(message)
    options_first = sorted(words, key=lambda word: "=" in word and not word.startswith("-"))
    given = parser.parse_args(options_first)
    if given.help or given.hydra_help:
        return options_first
    if given.run + given.multirun + given.shell_completion + bool(given.cfg) + bool(given.info) > 1:
        raise ConfigError("--run, --multirun (-m), --cfg and --info: one at a time; --cfg shows the config of one run")
    if given.resolve and not given.cfg:
        raise ConfigError("--resolve: it goes with --cfg job")
    return options_first


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; settings are KEY=VALUE without dashes, and --help lists them")


def no_option(word: str) -> str:
    """That there is no option ``word``, with the setting of a similar name, if there is one."""
    name, _, value = word.partition("=")
    key = closest(name.strip("-").replace("-", "_"), known(compose([])))
    such = f", such as {key}={value or '...'}" if key else ""
    return f"{word}: there is no such option; settings are KEY=VALUE without dashes{such}; --help lists them"
