"""What a config may say of Hydra itself: no code but installed plugins, no file, no environment variable.

Hydra makes folders, logging, callbacks, launcher and sweeper from the config before a run starts, and its own policy
looks at ``_target_`` alone. The config is composed for a look before Hydra composes it for use; the runs of a sweep are
looked at before they are launched, and each once more.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce.construct import named
from noisygce.errors import ConfigError
from noisygce.settings.compose import GROUPS, compose, parsed, sweeps

_ENVIRONMENT = "a config may neither set nor copy environment variables"  # PATH would reach programs that a run starts
_FOLDER = "runs and tables are written below paths.results"
# Key below ``hydra``: the values that it may have, as they are written, and why no other.
VALUES: dict[str, tuple[tuple[Any, ...], str]] = {
    # Before env_set, into which Hydra has copied the values of these variables: a message shows what is there.
    "job.env_copy": (([],), _ENVIRONMENT),
    "job.env_set": (({},), _ENVIRONMENT),
    "job.chdir": ((None, False), f"must be false; {_FOLDER}"),
    "run.dir": ((".",), f"must be .; {_FOLDER}"),
    "sweep.dir": ((".", "${paths.results}/tuning"), f"must be .; {_FOLDER}"),  # the second: sweep/tuning.py
    "sweep.subdir": ((".",), f"must be .; {_FOLDER}"),
    "output_subdir": ((None,), f"must be null; {_FOLDER}"),
    "sweeper.custom_search_space": ((None,), "a config may name no code"),  # of Optuna's
}
# Hydra's own choices that write no file: the log of a run is its train.log, and messages go to standard error.
LOGGING = {"job_logging": ("none", "disabled", "stdout"), "hydra_logging": ("none", "disabled", "default")}


def checked(words: Sequence[str]) -> DictConfig:
    """What the config of a command line says of Hydra. Raises ConfigError where ``refuse`` refuses that, or that of any
    choice that it sweeps over."""
    overrides = [word for word in words if word[:1] == "~" or ("=" in word and word[0] != "-")]
    for override in overrides:
        if override.lstrip("+").startswith("hydra.sweeper.params"):  # which OmegaConf cannot merge from here
            raise ConfigError(
                f"{override}: on a command line the values of a sweep are settings, such as 'loss.q=interval(0.1,1.0)'"
            )
    fixed = [override for override in overrides if not sweeps(override)]
    hydra: DictConfig = compose(fixed, with_hydra=True).hydra
    choices = [*_swept_choices([o for o in overrides if sweeps(o)], hydra.sweeper)]
    refuse(hydra)
    for choice in choices:
        refuse(compose([*fixed, choice], with_hydra=True).hydra)
    return hydra


def _swept_choices(swept: Sequence[str], sweeper: Any) -> Iterator[str]:
    """Each choice of a group that a sweeper may make: a choice may bring values of Hydra with it."""
    params = (sweeper.get("params") if isinstance(sweeper, DictConfig) else None) or {}
    for override in parsed([*swept, *(f"{k}={v}" for k, v in params.items())]):
        key = override.get_key_element()
        if key.lstrip("+").startswith("hydra"):
            raise ConfigError(f"{key}: a sweep cannot vary Hydra's own values")
        if key in GROUPS and override.is_choice_sweep():
            yield from (f"{key}={value}" for value in override.sweep_string_iterator())


def refuse(hydra: Any) -> None:
    """Raises ConfigError for a ``hydra`` node that would run what no one has installed as a plugin of Hydra, write
    files, change the working directory, or set environment variables."""
    raw: Any = OmegaConf.to_container(hydra, resolve=False)
    for key, (allowed, why) in VALUES.items():
        if (value := _at(raw, key)) not in allowed:
            raise ConfigError(f"hydra.{key}={value}: {why}")
    for part, names in LOGGING.items():
        if raw.get(part) is not None and raw[part] not in [_of_hydra(part, name) for name in names]:
            raise ConfigError(
                f"hydra.{part}: a config may choose hydra/{part}={', '.join(names[:-1])} or {names[-1]} and change "
                "nothing in it; a run writes its own train.log"
            )
    for part in ("launcher", "sweeper"):
        _refuse_plugin(part, hydra.get(part))
    for name, node in (hydra.get("callbacks") or {}).items():
        _refuse_callback(f"hydra.callbacks.{name}", node)


def _at(value: Any, key: str) -> Any:
    """The value of a dotted key in plain values; None where there is none."""
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _refuse_plugin(part: str, node: Any) -> None:
    """What a launcher or a sweeper names must be among what installed ones have registered with Hydra."""
    from hydra.core.config_store import ConfigStore

    key, installed = f"hydra.{part}", {target for _, target in _stored(ConfigStore.instance().repo["hydra"][part])}
    found = _named(key, node)
    for place, target in found:
        if str(target) not in installed:
            raise ConfigError(
                f"{place}={target}: must be of an installed {part} of Hydra, one of {', '.join(sorted(installed))}"
            )
    if found[0][1].endswith(".NoisygceSweeper") and (others := [*node][1:]):
        raise ConfigError(
            f"{key}.{others[0]}: a sweep over a grid has no such value, its values are in grid or on the command line; "
            "a search has it, with hydra/sweeper=optuna on the command line"
        )


def _stored(entry: Any) -> Iterator[tuple[str, Any]]:
    """What registered choices, of groups in groups too, name."""
    if not isinstance(entry, dict):
        yield from _targets("", OmegaConf.to_container(entry.node, resolve=False))
    else:
        for part in entry.values():
            yield from _stored(part)


def _refuse_callback(key: str, node: Any) -> None:
    from hydra.experimental.callback import Callback

    (_, target), *nested = _named(key, node)
    named(target, Callback, key)  # type: ignore[type-abstract]
    for place, code in nested:
        raise ConfigError(f"{place}={code}: nothing in {key} may name code")


def _named(key: str, node: Any) -> list[tuple[str, Any]]:
    """Where a node names code, first of all its own ``_target_``, and which."""
    plain = _plain(node)
    if not isinstance(plain, dict):
        return [(key, "null" if plain is None else plain)]
    own = f"{key}._target_"
    return [(own, plain.pop("_target_", None)), *_targets(key, plain)]


def _targets(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Where plain values name code, and which."""
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from [(f"{key}.{name}", part)] if name == "_target_" else _targets(f"{key}.{name}", part)


def _plain(node: Any) -> Any:
    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=True)
    except OmegaConfBaseException as error:  # what cannot be looked at now might be anything later
        raise ConfigError(f"{node._get_full_key(None)} cannot be read: {error}".partition("\n")[0]) from None


@functools.cache
def _of_hydra(part: str, name: str) -> Any:
    """The values of Hydra's own choice of logging."""
    import hydra
    import yaml

    return yaml.safe_load((Path(hydra.__file__).parent / "conf" / "hydra" / part / f"{name}.yaml").read_text())
