"""Errors of Hydra, OmegaConf and YAML in one line, with the key or choice that was probably meant."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce.errors import installing
from noisygce.settings.compose import compose, config_dir, setting

_PLUGINS = {  # of Hydra, by the choice without what follows its first _: what installs it, its module
    "hydra/sweeper=optuna": ("noisygce[tuning]", "hydra_optuna_sweeper"),
    "hydra/launcher=joblib": ("hydra-joblib-launcher", "hydra_joblib_launcher"),
    "hydra/launcher=submitit": ("hydra-submitit-launcher", "hydra_submitit_launcher"),
}


def of_config(error: BaseException) -> bool:
    """Whether an error is of Hydra, OmegaConf or YAML; some of these are OSErrors too."""
    import yaml
    from hydra.errors import HydraException

    return isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError)


def explain(error: BaseException) -> str:
    """An error of Hydra, OmegaConf or YAML in one line."""
    from hydra.errors import MissingConfigException, OverrideParseException

    cause = error.__cause__
    text = f"{error}\n{cause or ''}"
    if isinstance(error, OverrideParseException):
        key, _, value = (error.override or "").partition("=")
        if (
            key and re.search(r"[^\x00-\x7f]|[/\\]", value) and not re.search(r"[\[\]{},'\"\n]", value)
        ):  # one text, no list
            word = setting(key, value)
            typed = shlex.quote(word) if re.search(r'["\\$`!]', word) else f'"{word}"'
            return f"{error.override}: such a value is quoted: {typed}"
        reason = str(error).splitlines()[-2].partition(" expecting ")[0]  # the last line is an address
        return f"{error.override or repr('')}: a setting is KEY=VALUE, such as rate=0.4 ({reason})"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = error.options or sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
        package, module = _PLUGINS.get(f"{group}={choice.partition('_')[0]}", ("", ""))
        if package and find_spec(f"hydra_plugins.{module}") is None:
            return f"{group}={choice} is not installed: {installing(package)}"
        own = "" if group.startswith("hydra") else "; --config-dir FOLDER adds your own"
        hint = meant(choice, options) or f"; there are {', '.join(options)}{own}"
        return f"{group}={choice}: there is no such {group}{hint}"
    if match := re.search(r"Could not override '([^']+)'", text):
        return unknown(match[1], getattr(cause, "parent_node", None))
    if match := re.search(r"Ambiguous value for argument '([^=]+)=([^']*)'", text):
        key, values = match.groups()
        return f"{key}={values}: for a run with each of these values: -m {key}={values}; for a list: '{key}=[{values}]'"
    message, _, key = " ".join(str(cause or error).split()).partition(" full_key: ")
    message = message.removeprefix("ConfigError raised while resolving interpolation: ")
    return f"{key.partition(' ')[0]}: {message}" if key else message


def unknown(key: str, node: Any = None, options: Sequence[str] = ()) -> str:
    """That there is no such key, and which key was probably meant.

    node: of the config in which the key was looked for; None for the default config. options: keys of a command beside
    those of the config.
    """
    root = node if isinstance(node, DictConfig) else compose([])
    while isinstance(parent := root._get_parent(), DictConfig):
        root = parent
    keys = [*options, *(each for each in known(root) if each != key)]  # +key has put it there
    group = key.rpartition(".")[0]
    beside = [each for each in keys if group and each.startswith(f"{group}.")]
    if group and not beside:  # the group is mistyped
        keys = difflib.get_close_matches(key, keys)
    listed = ", ".join(beside or options)
    dotted = key.replace("_", ".", 1)  # as Python's keywords are written
    hint = f"; did you mean {dotted}?" if dotted in keys else meant(key, beside or keys)
    hint = hint or (f"; there are {listed}" if listed else "")
    return f"{key}: there is no such key{hint or '; python -m noisygce.train --cfg job shows all keys'}"


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
    """``; did you mean ...?`` where the last name of an option is close to the last name of the word, and begins with
    the same letter."""
    name = word.rpartition(".")[2].lower()
    nested_first = sorted(options, key=lambda option: -option.count("."))  # seed takes the place of noise.seed
    by_name = {option.rpartition(".")[2].lower(): option for option in nested_first}
    close = difflib.get_close_matches(name, [each for each in by_name if each[:1] == name[:1]], n=1)
    return f"; did you mean {by_name[close[0]]}?" if close else ""
