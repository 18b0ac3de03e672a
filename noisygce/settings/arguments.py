"""Command lines before Hydra reads them: the options of a command, and the settings that choose its runs, all
``key=value``."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from noisygce import check
from noisygce.errors import ConfigError
from noisygce.settings import command, hints
from noisygce.settings.compose import ASIDE, KEYS, compose, config_dir, parsed, setting, with_plus


def main(run: Callable[[list[str]], None], usage: str | None) -> None:
    """Runs a command: ``run(argv)``, or its ``usage`` where --help is asked for."""
    gc.set_threshold(100_000)  # composing makes many objects that stay; the collector would take a third of its time
    with command.exits():
        if not help_was_asked(usage):
            run(words(sys.argv[1:]))


def help_was_asked(usage: str | None) -> bool:
    """Prints ``usage`` where the command line has -h or --help, and says whether it has."""
    if found := bool({"-h", "--help"} & set(sys.argv[1:])):
        print((usage or "").replace("``", "").strip())
    return found


def _expanded(word: str) -> str:
    """``paths.results=~/r`` with the home folder: whatever reads ``paths`` in a config finds it there."""
    found = re.fullmatch(r"""(\+{0,2}paths\.\w+)=(['"]?)(~(?:/[^'"\\]*)?)\2""", word)
    return setting(found[1], str(Path(found[3]).expanduser())) if found else word


def words(given: Sequence[str]) -> list[str]:
    """The words of a command line, with ``--config-dir DIR`` as Hydra's setting for it. Raises ConfigError."""

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}, such as --config-dir conf")

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = refuse  # type: ignore[method-assign]
    parser.add_argument("--config-dir")
    # argparse would take -c, which is --cfg, for the beginning of -cd
    options, rest = parser.parse_known_args([re.sub("^-cd(?==|$)", "--config-dir", word) for word in given])
    rest = [*map(_expanded, rest)]
    if options.config_dir is None:
        return rest
    folder = Path(options.config_dir).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {options.config_dir}: there is no such folder")
    for ours in sorted(config_dir().rglob("*.yaml")):
        hidden = folder / ours.relative_to(config_dir())
        if hidden.is_file() and hidden.read_bytes() != ours.read_bytes():  # Hydra takes the first that it finds
            raise ConfigError(
                f"--config-dir {options.config_dir}: {hidden.relative_to(folder)} is hidden by noisygce's own; give "
                "yours another name"
            )
    quoted = str(folder).replace("'", "\\'")
    return [f"hydra.searchpath=['file://{quoted}']", *rest]


def take(words: Sequence[str], *keys: str) -> tuple[dict[str, str], list[str]]:
    """The values of these keys among the words, the last one where a key is repeated, and the other words."""
    taken = [word for word in words if "=" in word and word.partition("=")[0] in keys]
    return dict(word.split("=", 1) for word in taken), [word for word in words if word not in taken]


def named(words: Sequence[str], keys: Sequence[str]) -> Sequence[str]:
    """Words that name files, folders or runs. Raises ConfigError for one that looks like an option or a setting and
    names no file.

    keys: of the command's own settings, which have been taken out.
    """
    for word in words:
        key, equals, _ = word.partition("=")
        if word.startswith("-"):
            raise ConfigError(f"{word}: there is no such option; --help says more")
        if equals and not Path(word).exists():
            hint = hints.meant(key, keys) or f"; there are {', '.join(keys)}"
            raise ConfigError(f"{key}: there is no such key{hint}")
    return words


def whole(key: str, text: str, interval: str) -> int:
    """An integer within ``interval``, from its text. Raises check.Invalid."""
    return check.whole(key, int(text) if text.isdecimal() else text, interval)


def typed(words: Sequence[str]) -> list[str]:
    """Words of ``words`` as a person types them: ``--config-dir DIR``, relative to the current folder."""
    found: list[str] = []
    for word in words:
        folder = re.fullmatch(r"hydra\.searchpath=\['file://(.+)'\]", word)
        found += ["--config-dir", os.path.relpath(folder[1].replace("\\'", "'"))] if folder else [word]
    return found


def split(arguments: Sequence[str], options: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """The options of a command that are given, and the other arguments. Raises ConfigError, also for a key that
    neither the command nor a config has, and what Hydra raises for what is no setting.

    options: the values that each may have; no values: any text.
    """
    chosen, rest = take(arguments, *options)
    for argument in rest:
        if argument.startswith("-"):
            raise ConfigError(_no_option(argument))
        if "=" not in argument and not argument.startswith("~"):
            raise ConfigError(f"{argument}: arguments are key=value, such as experiment=demo")
    for override in parsed(rest):
        key = str(override.key_or_group)
        if re.split("[./]", key)[0] not in (*KEYS, *ASIDE, "name"):  # Hydra does not know the options of the command
            raise ConfigError(hints.unknown(key, options=[*options, "name"]))
    for key, value in chosen.items():
        check.choice(key, value, options[key] or [value])
    return chosen, rest


@contextlib.contextmanager
def any_help() -> Iterator[None]:
    """Within it argparse takes Hydra 1.3's help of --shell-completion, which is made when it is printed and is no text:
    from Python 3.14 on it looks at each at once, and raises ValueError."""
    kind: Any = argparse.ArgumentParser
    checks = vars(kind).get("_check_help")
    kind._check_help = lambda *_: None
    try:
        yield
    finally:
        if checks:
            kind._check_help = checks
        else:
            del kind._check_help


def ordered(argv: Sequence[str]) -> list[str]:
    """Arguments of ``noisygce.train`` as Hydra takes them, options before settings. Raises ConfigError for what Hydra
    would answer with its usage or a stack trace."""
    from hydra._internal.utils import get_args_parser

    with any_help():
        parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    options = {option for action in parser._actions for option in action.option_strings}
    options.remove("--experimental-rerun")  # it reads a pickle, which can run code
    options -= {"--config-name", "-cn", "--config-path", "-cp"}  # another config than that of noisygce
    for word in argv:  # argparse would read -precision as -p recision
        if word.startswith("-") and word.partition("=")[0] not in options:
            raise ConfigError(_no_option(word))
    options_first = sorted(map(with_plus, argv), key=lambda word: "=" in word and not word.startswith("-"))
    options_first = [re.sub("^name=", "hydra.job.name=", word) for word in options_first]  # of a plan: sweep/stored.py
    given = parser.parse_args(options_first)
    if given.run + given.multirun + given.shell_completion + bool(given.cfg) + bool(given.info) > 1:
        raise ConfigError("--run, --multirun (-m), --cfg and --info: one at a time; --cfg shows the config of one run")
    if given.resolve and not given.cfg:
        raise ConfigError("--resolve needs --cfg job")
    return options_first


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; settings are KEY=VALUE without dashes, and --help lists them")


def _no_option(word: str) -> str:
    key = word.partition("=")[0].strip("-").replace("-", "_")
    hint = hints.meant(key, hints.known(compose([])))
    return f"{word}: there is no such option; settings are KEY=VALUE without dashes{hint or '; --help lists them'}"
