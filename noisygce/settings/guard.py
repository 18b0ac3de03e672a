"""What a config may say of Hydra itself: no code, no file, no program's environment.

Hydra builds logging, callbacks, launcher and sweeper from the config before any run starts. Its own policy refuses what
is known to do harm; here all is refused that is not known to do none, and in one line, before anything is built.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce.errors import ConfigError
from noisygce.settings.experiment import named

# Hydra's own choices that write no file: the log of a run is its train.log, and messages go to standard error.
_LOGGING = {"job_logging": ("none", "disabled", "stdout"), "hydra_logging": ("none", "disabled", "default")}


@contextmanager
def guarded() -> Iterator[None]:
    """While inside, Hydra composes no config, of a run or of a whole sweep, that ``refuse`` refuses.

    Around the one function that all of its configs come from: Hydra has no place of its own for a look at the config
    between composing it and building logging and callbacks from it. Raises ConfigError, where Hydra composes.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    compose = ConfigLoaderImpl.load_configuration

    def checked(*arguments: Any, **options: Any) -> DictConfig:
        cfg = compose(*arguments, **options)
        refuse(cfg.hydra)
        return cfg

    ConfigLoaderImpl.load_configuration = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = compose  # type: ignore[method-assign]


def refuse(hydra: DictConfig) -> None:
    """Raises ConfigError for a ``hydra`` node that would run what no one has installed as a plugin of Hydra, write a
    log elsewhere, or set environment variables."""
    if hydra.job.env_set:  # PATH or LD_PRELOAD would reach the programs that a run starts
        raise ConfigError("hydra.job.env_set: a config may set no environment variables")
    for part, names in _LOGGING.items():
        _refuse_logging(part, hydra.get(part), names)
    for part in ("launcher", "sweeper"):
        _refuse_plugin(part, hydra.get(part))
    callbacks = hydra.get("callbacks")
    for name in callbacks or ():
        _refuse_callback(f"hydra.callbacks.{name}", callbacks[name])


def _refuse_logging(part: str, node: Any, names: tuple[str, ...]) -> None:
    if node is None:  # Hydra then writes to standard output
        return
    try:
        found = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    except OmegaConfBaseException:  # of the folder of a run, which only a file's name needs
        found = None
    if not any(found == _own_logging(part, name) for name in names):
        raise ConfigError(
            f"hydra.{part}: a config may choose hydra/{part}={', '.join(names[:-1])} or {names[-1]} and change nothing "
            "in it; a run writes its own train.log"
        )


@functools.cache
def _own_logging(part: str, name: str) -> Any:
    import hydra
    import yaml

    return yaml.safe_load((Path(hydra.__file__).parent / "conf" / "hydra" / part / f"{name}.yaml").read_text())


def _refuse_plugin(part: str, node: Any) -> None:
    """Only what is installed as a launcher or a sweeper may be one."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher
    from hydra.plugins.sweeper import Sweeper

    target = node.get("_target_") if isinstance(node, DictConfig) else node
    kinds: list[Any] = Plugins.instance().discover(Launcher if part == "launcher" else Sweeper)
    installed = sorted(f"{kind.__module__}.{kind.__name__}" for kind in kinds)
    if target not in installed:
        shown = f"hydra.{part}={'null' if node is None else node}"
        if isinstance(node, DictConfig):
            shown = f"hydra.{part}._target_={target}"
        raise ConfigError(f"{shown}: must be an installed {part} of Hydra, one of {', '.join(installed)}")
    _refuse_nested(f"hydra.{part}", node)


def _refuse_callback(key: str, node: Any) -> None:
    from hydra.experimental.callback import Callback

    target = node.get("_target_") if isinstance(node, DictConfig) else node
    named(target, Callback, key)  # type: ignore[type-abstract]
    _refuse_nested(key, node)


def _refuse_nested(key: str, node: Any) -> None:
    """Hydra would build what the values of a plugin name, and the values of those."""
    names: list[Any] = [*node] if isinstance(node, DictConfig) else [*range(len(node))]
    for name in names:
        try:
            value = node[name]
        except OmegaConfBaseException as error:  # what cannot be looked at now might be anything later
            raise ConfigError(f"{key}.{name} cannot be read: {error}".partition("\n")[0]) from None
        if isinstance(value, DictConfig | ListConfig):
            if isinstance(value, DictConfig) and "_target_" in value:
                raise ConfigError(f"{key}.{name}._target_={value.get('_target_')}: nothing in {key} may name code")
            _refuse_nested(f"{key}.{name}", value)
