"""Errors of Hydra, OmegaConf and YAML in one line, with the key or choice that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce.settings.compose import GROUPS, compose, config_dir


def of_config(error: BaseException) -> bool:
    """Whether an error is Hydra's, OmegaConf's or YAML's; some of them are OSErrors too."""
    import yaml
    from hydra.errors import HydraException

    return isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError)


def explain(error: BaseException) -> str:
    """An error of Hydra, OmegaConf or YAML in one line."""
    from hydra.errors import MissingConfigException, OverrideParseException

    cause = error.__cause__
    text = f"{error}\n{cause or ''}"
    if isinstance(error, OverrideParseException):
        reason = str(error).splitlines()[-2].partition(" expecting ")[0]  # the last line is an address
        example = "such as rate=0.4, or 'KEY=\"VALUE\"' for a value with special characters"
        return f"{error.override or repr('')}: a setting is KEY=VALUE, {example} ({reason})"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing(*error.missing_cfg_file.rpartition("/")[::2], error.options or ())
    if match := re.search(r"Could not override '([^']+)'", text):
        return unknown(match[1], getattr(cause, "parent_node", None))
    if match := re.search(r"Ambiguous value for argument '([^=]+)=([^']*)'", text):
        key, values = match.groups()
        return f"{key}={values}: for a run with each of these values: -m {key}={values}; for a list: '{key}=[{values}]'"
    if match := re.search(r"To override a value use 'override (\S+): ([^']+)'", text):
        return f"+{match[1]}={match[2]}: {match[1]} has a value already; did you mean {match[1]}={match[2]}?"
    message, _, key = " ".join(str(cause or error).split()).partition(" full_key: ")
    message = message.removeprefix("ConfigError raised while resolving interpolation: ")
    return f"{key.partition(' ')[0]}: {message}" if key else message


def _missing(group: str, choice: str, options: Sequence[str]) -> str:
    options = options or sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
    hint = meant(choice, options)
    there = f"{' There' if hint else '; there'} are {', '.join(options)}"
    return f"{group}={choice}: there is no such {group}{hint}{there}"


def unknown(key: str, near: Any = None, options: Sequence[str] = ()) -> str:
    """That there is no such key, and which there is in its place.

    near: a node of the config that the key was looked for in; None for the config without any choice. options: keys of
    a command beside those of a config.
    """
    root = near if isinstance(near, DictConfig) else compose([])
    while isinstance(parent := root._get_parent(), DictConfig):
        root = parent
    group, _, name = key.partition(".")
    keys = [each for each in known(root) if each != key]  # +key has put it there
    beside = [each for each in keys if each.startswith(f"{group}.")]
    chosen = OmegaConf.select(root, f"{group}.name") if name and group in GROUPS else None
    among = f" with {group}={chosen}" if chosen else ""
    hint = meant(key, beside if name else [*options, *keys])
    if name and not beside and (close := difflib.get_close_matches(key, keys, n=1)):  # the group is mistyped
        hint = f"; did you mean {close[0]}?"
    if not hint and (listed := beside if name else options):
        hint = f"; there are {', '.join(listed)}"
    if "did you mean" not in hint and not beside:
        hint += "; python -m noisygce.train --cfg job shows them all"
    return f"{key}: there is no such key{among}{hint}"


def known(cfg: Any, prefix: str = "") -> list[str]:
    """All keys that a command line may set, dotted."""
    keys: list[str] = []
    for key in cfg:
        if key not in ("hydra", "_target_", "name"):
            keys.append(f"{prefix}{key}")
            if OmegaConf.is_dict(cfg._get_node(key)) and not OmegaConf.is_interpolation(cfg, key):
                keys += known(cfg[key], f"{prefix}{key}.")
    return [key for key in keys if key != "noise.rate"]  # rate sets it


def meant(word: str, options: Iterable[str]) -> str:
    """``; did you mean ...?`` where one of the options is close to the word."""
    found = closest(word, options)
    return f"; did you mean {found}?" if found else ""


def closest(word: str, options: Iterable[str]) -> str:
    """The option whose last name is closest to that of the word and begins with the same letter; or nothing."""
    name = word.rpartition(".")[2].lower()
    nested_first = sorted(options, key=lambda option: -option.count("."))  # seed takes the place of noise.seed
    by_name = {option.rpartition(".")[2].lower(): option for option in nested_first}
    close = difflib.get_close_matches(name, [each for each in by_name if each[:1] == name[:1]], n=1)
    return by_name[close[0]] if close else ""
