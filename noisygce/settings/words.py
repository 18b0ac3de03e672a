"""The words of a command line, before Hydra reads them: options first, and what it would misread refused."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from noisygce.errors import ConfigError
from noisygce.settings.compose import ASIDE, GROUPS, KEYS, compose, parsed
from noisygce.settings.hints import closest, first, known


def mistake(words: Sequence[str]) -> str:
    """What Hydra would misread, or answer with a page of its own options; empty where there is nothing."""
    for i, word in enumerate(words):
        key, equals, value = word.partition("=")
        if equals and not (key and value) and (apart := _put_together(words, i)):
            return f"{word}: no spaces around the =, such as {apart}"
        if word.startswith("-") and first(word) in (*KEYS, "logger"):  # Hydra reads -precision as -p recision
            return _dashed(word, words[i + 1 :])
        if key.lstrip("+") == "experiment" and {*value} & {*",[("} and (several := _choices(word)):
            each = ", then ".join(f"experiment={name}" for name in several)
            return f"{word}: each experiment has a grid of its own, so one command for each: {each}"
        if key in GROUPS and value.startswith("["):  # Hydra would lay one choice over the other
            return f"{word}: a run has one {key}; to train with each of them: -m {key}={value.strip('[]')}"
        if key in (*GROUPS, "logger") and value == "null":
            return f"{word}: there is no such {key}; leave it out for the default"
        if key == "logger" and re.fullmatch(r"[^[]+,.+", value):
            return f"{word}: for all of them in each run: '{key}=[{value}]'"
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
    options_first = sorted(words, key=lambda word: "=" in word and not word.startswith("-"))
    if message := mistake(words) or _wrong_options(options_first):
        raise ConfigError(message)
    return options_first


class Options(argparse.ArgumentParser):
    """The options of a program of Hydra's (hydra.cc/docs/advanced/hydra-command-line-flags)."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        for flag in ("--help -h", "--hydra-help", "--version", "--resolve", "--run -r", "--multirun -m"):
            self.add_argument(*flag.split(), action="store_true")
        self.add_argument("--shell-completion", "-sc", action="store_true")
        for option in ("--package -p", "--config-path -cp", "--config-name -cn", "--config-dir -cd"):
            self.add_argument(*option.split())
        self.add_argument("--experimental-rerun")
        self.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
        parts = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
        self.add_argument("--info", "-i", nargs="?", const="all", choices=parts)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; settings are KEY=VALUE without dashes, and --help lists them")


def _wrong_options(words: Sequence[str]) -> str:
    given, others = Options().parse_known_args([*words])
    for word in others:
        if word.startswith("-"):
            return _dashed(word, words[words.index(word) + 1 :])
    if given.experimental_rerun is not None:
        return (
            "--experimental-rerun: a saved config is a pickle, which can run code; python -m noisygce.reproduce RUN "
            "trains a finished run again"
        )
    if given.help or given.hydra_help:
        return ""
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    several = [f"--{mode.replace('_', '-')}" for mode in modes if getattr(given, mode)]
    if len(several) > 1:
        one = "; --cfg shows the config of one run, without --multirun (-m)" if given.cfg and given.multirun else ""
        return f"{' and '.join(several)}: one of them at a time{one}"
    return "--resolve: it goes with --cfg job" if given.resolve and not given.cfg else ""


def _put_together(words: Sequence[str], place: int) -> str:
    """The setting of which ``=``, ``=VALUE`` or ``KEY=`` is a part, the words around it being the rest; or empty."""
    key, _, value = words[place].partition("=")
    before, after = words[:place][-1:], words[place + 1 :][:1]
    parts = [*([] if key else before), words[place], *([] if value else after)]
    others = [word for word in parts if word != words[place] and not word.startswith("-")]
    whole = bool(others) and len(parts) == 3 - bool(key) - bool(value) and not any("=" in word for word in others)
    return "".join(parts) if whole and first("".join(parts)) in (*KEYS, *ASIDE) else ""


def _dashed(word: str, after: Sequence[str]) -> str:
    """That there is no option ``word``; and which setting was probably meant, with the value that comes after it."""
    bare, equals, value = word.lstrip("-").partition("=")
    if equals and first(word) in KEYS:
        return f"{word}: settings have no dashes; did you mean {bare}={value}?"
    if not value and after and not after[0].startswith("-") and "=" not in after[0]:
        value = after[0]
    bare = bare.replace("-", "_")
    key = bare if bare in KEYS else closest(bare, known(compose([])))
    such = f", such as {key}={value or '...'}" if key else ""
    return f"{word}: there is no such option; settings are KEY=VALUE without dashes{such}; --help lists them"
