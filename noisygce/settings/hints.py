"""What is wrong with a config or a command line, said so that a newcomer knows what to type instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce.settings.compose import ASIDE, GROUPS, KEYS, compose, config_dir

PACKAGES = {"launcher": "hydra-submitit-launcher", "sweeper": "hydra-optuna-sweeper"}  # that bring others
_ALSO_CALLED = {  # kinds of noise, in papers and in other code
    **dict.fromkeys(("symmetric", "sym"), "uniform"),
    **dict.fromkeys(("asymmetric", "asym"), "class_map"),
    **dict.fromkeys(("flip", "pairflip"), "pair"),
}


def first(word: str) -> str:
    """The first part of a key: ``loss`` of ``--loss.q=0.5``, ``+loss.q=0.5`` and ``loss@x=gce``."""
    return re.split(r"[.=@/]", word.lstrip("-+~"))[0]


def of_config(error: BaseException) -> bool:
    """Whether an error is Hydra's, OmegaConf's or YAML's; some of them are OSErrors too."""
    import yaml
    from hydra.errors import HydraException

    return isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError)


def explain(error: BaseException) -> str:
    """What a person should know of an error of Hydra or OmegaConf, in a line or two."""
    from hydra.errors import MissingConfigException, OverrideParseException

    cause = error.__cause__
    text = f"{error}\n{cause or ''}"
    if isinstance(error, OverrideParseException):
        return _syntax(error.override, str(error))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, leaf = str(error.missing_cfg_file).rpartition("/")
        options = sorted(error.options or (path.stem for path in (config_dir() / group).glob("*.yaml")))
        if group in (*GROUPS, "logger") or (group and error.options is not None):
            hint = meant(leaf, options)
            if group == "noise" and leaf.lower() in _ALSO_CALLED:
                hint = f"; {leaf} noise is noise={_ALSO_CALLED[leaf.lower()]} here."
            there = f"{' There' if hint else '; there'} are {', '.join(options)}" if options else ""
            if group in GROUPS and leaf and not hint:
                there += f"; your own, FOLDER/{group}/{leaf}.yaml, is found with --config-dir FOLDER (docs/adding.md)"
            if package := PACKAGES.get(group.removeprefix("hydra/")):
                there += f"; others come with packages, such as {package}"
            return f"{group}={leaf}: there is no such {group}{hint}{there}"
    if match := re.search(r"Could not override '([^']+)'", text):
        return unknown(match[1], getattr(cause, "parent_node", None))
    if match := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return _several(*match[1].split("=", 1))
    if match := re.search(r"To override a value use 'override (\S+): ([^']+)'", text):
        return f"+{match[1]}={match[2]}: {match[1]} has a value already; did you mean {match[1]}={match[2]}?"
    message, _, key = " ".join(str(cause or error).split()).partition(" full_key: ")
    message = message.removeprefix("ConfigError raised while resolving interpolation: ")
    return f"{key.partition(' ')[0]}: {message}" if key else message


def _several(key: str, values: str) -> str:
    """What may be meant by values with commas between them, for one run."""
    group, _, name = key.partition(".")
    held = [OmegaConf.select(compose([]), key), *_leaves_with(group, name).values()]
    if any(isinstance(value, list | ListConfig) for value in held):
        return f"{key}={values}: a list is in square brackets: '{key}=[{values}]'"
    several = f"{key}={values}: for a run with each of these values: -m {key}={values}"
    decimal = re.fullmatch(r"(\d+),(\d+)", values)
    return f"{several}; for one number: {key}={decimal[1]}.{decimal[2]}" if decimal else several


def _syntax(override: str, why: str) -> str:
    """What is wrong with an argument that is no KEY=VALUE."""
    key, equals, value = override.partition("=")
    if not equals:
        key, colon, value = override.partition(":")
        example = f"did you mean {key}={value.strip()}?" if colon else "such as rate=0.4"
        given = override or "''"
        return f"{given}: a setting is KEY=VALUE, {example}"
    if value.startswith("="):
        return f"{override}: a setting is KEY=VALUE, did you mean {key}={value.lstrip('=')}?"
    if re.search(r"\s\S+=", value):
        return f"{override}: these are several settings in one pair of quotes; each is an argument of its own"
    if any(value.count(a) != value.count(b) for a, b in ("[]", "{}", "()")) or value.count('"') % 2:
        return f"{override}: a bracket or a quote is not closed; where there are some, write '{key}=...' for the shell"
    return (
        f"{override}: the value cannot be read ({why.splitlines()[0]}); a text with signs in it needs '{key}=\"...\"'"
    )


def unknown(key: str, near: Any = None, options: Sequence[str] = ()) -> str:
    """That there is no such key, and which one was probably meant.

    near: a node of the config that the key was looked for in; None for the config without any choice. options: keys of
    a command beside those of a config.
    """
    root = near if isinstance(near, DictConfig) else compose([])
    while isinstance(parent := root._get_parent(), DictConfig):
        root = parent
    group, _, name = key.partition(".")
    own = f"there are {', '.join(options)}; " if options else ""
    hint = meant(key, [*options, *known(root)]) or f"; {own}python -m noisygce.train --cfg job shows them all"
    chosen, among = name.partition(".")[0], ""
    if (
        group == "logger"
        and chosen not in (root.get("logger") or {})
        and (config_dir() / group / f"{chosen}.yaml").is_file()
    ):
        hint = f"; choose logger={chosen} first"
    elif owners := _leaves_with(group, name) if name else []:
        hint = f"; {' and '.join(f'{group}={leaf}' for leaf in owners)} {'has' if len(owners) == 1 else 'have'} it"
        leaf = OmegaConf.select(root, f"{group}.name")
        among = f" with {group}={leaf}" if leaf and group != "data" else ""  # of data it is a name that people give
    return f"{key}: there is no such key{among}{hint}"


def no_such_key(override: str, options: Sequence[str]) -> str:
    """``unknown``, for an override that begins with no key that there is; empty for any other.

    By the first word alone: what a group holds depends on the choice made, and Hydra knows it.
    """
    if first(override) in (*KEYS, *ASIDE):
        return ""
    return unknown(re.split("[=@]", override.lstrip("+~"))[0], None, options)


def _leaves_with(group: str, name: str) -> dict[str, Any]:
    """The choices of a group that hold the value ``name``, each with it."""
    import yaml

    owners = {}
    for path in sorted((config_dir() / group).glob("*.yaml")) if group in GROUPS else []:
        leaf = yaml.safe_load(path.read_text())
        if isinstance(leaf, dict) and name in (values := leaf.get(group) or leaf):
            owners[path.stem] = values[name]
    return owners


def known(cfg: Mapping[Any, Any], prefix: str = "") -> list[str]:
    """All keys that a command line may set, dotted."""
    keys: list[str] = []
    for key in cfg:
        if key == "hydra":
            continue
        keys.append(f"{prefix}{key}")
        if (
            isinstance(cfg, DictConfig)
            and OmegaConf.is_dict(cfg._get_node(key))
            and not OmegaConf.is_interpolation(cfg, key)
        ):
            keys += known(cfg[key], f"{prefix}{key}.")
    return [key for key in keys if not key.endswith(("_target_", ".name")) and key != "noise.rate"]  # rate sets it


def meant(word: str, options: Sequence[str]) -> str:
    """``; did you mean ...?`` where one of the options is close to the word."""
    found = closest(word, options)
    return f"; did you mean {found}?" if found else ""


def closest(word: str, options: Sequence[str]) -> str:
    """The option that is closest to the word; empty where none is close."""
    others = [o for o in options if o != word]
    same_end = [o for o in others if o.rpartition(".")[2].lower() == word.rpartition(".")[2].lower()]
    start = [o for o in others if "." not in word and len(o) > 2 and word.lower().startswith(o.lower())]
    alike = [
        o for o in others if word[:1].lower() in (o[:1].lower(), o.rpartition(".")[2][:1].lower())
    ]  # no rule: prune
    close = difflib.get_close_matches(word, alike, n=1)
    closer = difflib.get_close_matches(word, others, n=1, cutoff=0.85)
    return next(iter(same_end[:1] or closer or start[-1:] or close), "")
