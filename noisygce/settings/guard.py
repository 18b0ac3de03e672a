"""What a config may say of Hydra itself: no code but installed plugins, no log file, no environment variable.

Hydra builds logging, callbacks, launcher and sweeper from the config before any run starts. Its own policy refuses what
is known to do harm; here all is refused that is not known to do none, in one line. The config is composed for a look
before Hydra composes it for use; the runs of a sweep are looked at before they are launched, and each once more.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce.errors import ConfigError
from noisygce.settings.compose import GROUPS, compose, parsed, sweeps
from noisygce.settings.experiment import named
from noisygce.settings.hints import PACKAGES

# Hydra's own choices that write no file: the log of a run is its train.log, and messages go to standard error.
_LOGGING = {"job_logging": ("none", "disabled", "stdout"), "hydra_logging": ("none", "disabled", "default")}


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
            raise ConfigError(f"{key}: a sweep cannot vary what Hydra is told")
        if key in GROUPS and override.is_choice_sweep():
            yield from (f"{key}={value}" for value in override.sweep_string_iterator())


def refuse(hydra: Any) -> None:
    """Raises ConfigError for a ``hydra`` node that would run what no one has installed as a plugin of Hydra, write a
    log elsewhere, or set environment variables."""
    if hydra.job.env_set:  # PATH or LD_PRELOAD would reach the programs that a run starts
        raise ConfigError("hydra.job.env_set: a config may set no environment variables")
    for part, names in _LOGGING.items():
        found = _plain(hydra.get(part), resolve=False)
        if found is not None and not any(found == _own_logging(part, name) for name in names):
            raise ConfigError(
                f"hydra.{part}: a config may choose hydra/{part}={', '.join(names[:-1])} or {names[-1]} and change "
                "nothing in it; a run writes its own train.log"
            )
    for part in ("launcher", "sweeper"):
        _refuse_plugin(part, hydra.get(part))
    for name, node in (hydra.get("callbacks") or {}).items():
        _refuse_callback(f"hydra.callbacks.{name}", node)


def _refuse_plugin(part: str, node: Any) -> None:
    """What a launcher or a sweeper names must be among what installed ones have registered with Hydra."""
    from hydra.core.config_store import ConfigStore

    key, registered = f"hydra.{part}", ConfigStore.instance().repo["hydra"][part]
    installed = {target for _, target in _targets("", {name: _stored(entry) for name, entry in registered.items()})}
    if not isinstance(node, DictConfig):
        given = [(key, "null" if node is None else node)]
    else:
        given = [(f"{key}._target_", node.get("_target_")), *_targets(key, _plain(node))]
    for place, target in given:
        if target not in installed:
            raise ConfigError(
                f"{place}={target}: must be of an installed {part} of Hydra, one of {', '.join(sorted(installed))}; "
                f"others come with packages, such as {PACKAGES[part]}"
            )
    if part == "sweeper" and str(given[0][1]).endswith(".NoisygceSweeper") and (others := [*node][1:]):
        raise ConfigError(
            f"{key}.{others[0]}: a sweep over a grid has no such value, its values are in grid or on the command line; "
            "a search has it, with hydra/sweeper=optuna on the command line"
        )
    if part == "sweeper" and isinstance(node, DictConfig) and node.get("custom_search_space"):  # of Optuna's
        raise ConfigError("hydra.sweeper.custom_search_space: a config may name no code")


def _stored(entry: Any) -> Any:
    """What is registered, by name: of a group again, or the values of a choice."""
    return {k: _stored(v) for k, v in entry.items()} if isinstance(entry, dict) else _plain(entry.node, resolve=False)


def _refuse_callback(key: str, node: Any) -> None:
    from hydra.experimental.callback import Callback

    named(node.get("_target_") if isinstance(node, DictConfig) else node, Callback, key)  # type: ignore[type-abstract]
    for place, target in _targets(key, _plain(node)):
        if place != f"{key}._target_":
            raise ConfigError(f"{place}={target}: nothing in {key} may name code")


def _targets(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Where plain values name code, and which."""
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from [(f"{key}.{name}", part)] if name == "_target_" else _targets(f"{key}.{name}", part)


def _plain(node: Any, resolve: bool = True) -> Any:
    if not isinstance(node, DictConfig | ListConfig):
        return node
    try:
        return OmegaConf.to_container(node, resolve=resolve)
    except OmegaConfBaseException as error:  # what cannot be looked at now might be anything later
        raise ConfigError(f"{node._get_full_key(None)} cannot be read: {error}".partition("\n")[0]) from None


@functools.cache
def _own_logging(part: str, name: str) -> Any:
    import hydra
    import yaml

    return yaml.safe_load((Path(hydra.__file__).parent / "conf" / "hydra" / part / f"{name}.yaml").read_text())
