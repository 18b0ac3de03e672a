"""What a config may hold below ``hydra``: no code but installed plugins, no file, no environment variable.

Hydra makes folders, logging, callbacks, launcher and sweeper from the config before a run starts, and its own policy
looks at ``_target_`` alone. A command looks at its config once before Hydra does (``checked``), and at each kind of run
of a grid before the first run starts (noisygce/sweep/plan.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce.errors import ConfigError
from noisygce.settings.compose import GROUPS, compose, parsed, sweeps

_ENVIRONMENT = "a config may neither set nor copy environment variables"  # PATH would reach programs that a run starts
_FOLDER = "runs and tables are written below paths.results"
_TYPED = "a config file may not set it; put it on the command line"
_LOGGING = "must be as hydra/job_logging=none has it; a run writes its own train.log"
_NO_LOGGING = {"version": 1, "root": None, "disable_existing_loggers": False}
# Key below ``hydra``: the values that it may have, as they are written, and why no other.
VALUES: dict[str, tuple[tuple[Any, ...], str]] = {
    # Before env_set, into which Hydra has copied the values of these variables: a message shows the value.
    "job.env_copy": (([],), _ENVIRONMENT),
    "job.env_set": (({},), _ENVIRONMENT),
    "job.chdir": ((None, False), f"must be false; {_FOLDER}"),
    "run.dir": ((".",), f"must be .; {_FOLDER}"),
    "sweep.dir": ((".", "${paths.results}/tuning"), f"must be .; {_FOLDER}"),  # the second: sweep/tuning.py
    "sweep.subdir": ((".",), f"must be .; {_FOLDER}"),
    "output_subdir": ((None,), f"must be null; {_FOLDER}"),
    "sweeper.custom_search_space": ((None,), "a config may name no code"),  # of Optuna's
    # Commands, folders and servers, which the person at the keyboard may name and a file from elsewhere may not.
    "sweeper.storage": ((None,), _TYPED),
    "launcher.setup": ((None,), _TYPED),
    "launcher.srun_args": ((None,), _TYPED),
    "launcher.additional_parameters": ((None, {}), _TYPED),
    "launcher.submitit_folder": ((None, "${hydra.sweep.dir}/.submitit/%j"), _TYPED),
    "launcher.temp_folder": ((None,), _TYPED),
    "callbacks": ((None, {}), _TYPED),
    # A handler of logging may be any code, or write a file.
    "job_logging": ((None, _NO_LOGGING), _LOGGING),
    "hydra_logging": ((None, _NO_LOGGING), _LOGGING),
}


def checked(words: Sequence[str]) -> DictConfig:
    """The values below ``hydra`` of the config of a command line. Raises ConfigError where ``refuse`` refuses them, or
    those of a choice that another sweeper than noisygce's may make."""
    overrides = [word for word in words if word[:1] == "~" or ("=" in word and word[0] != "-")]
    swept = [override for override in overrides if sweeps(override)]
    fixed = [override for override in overrides if not sweeps(override)]
    hydra: DictConfig = compose(fixed, with_hydra=True).hydra
    refuse(hydra, fixed)
    of_sweep = {"-m", "--multirun"} & {*words} or "MULTIRUN" in str(hydra.mode)
    if names := [override for override in fixed if override.startswith("hydra.job.name=") and not of_sweep]:
        raise ConfigError(f"{names[0].removeprefix('hydra.job.')}: it names the plan of a sweep (-m)")
    choices = _choices([*swept, *(f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items())])
    if not hydra.sweeper._target_.endswith(".NoisygceSweeper"):  # whose plan looks at each kind of run
        for choice in choices:
            refuse(compose([*fixed, choice], with_hydra=True).hydra, fixed)
    return hydra


def _choices(swept: Sequence[str]) -> list[str]:
    """Each choice of a group that a sweeper may make: a choice may bring values of Hydra with it."""
    found = []
    for override in parsed(swept):
        key = str(override.key_or_group)
        if key.startswith("hydra"):
            raise ConfigError(f"{override.get_key_element()}: a sweep cannot vary Hydra's own values")
        if key in GROUPS and override.is_choice_sweep():
            found += [f"{key}={value}" for value in override.sweep_string_iterator()]
    return found


def refuse(hydra: Any, typed: Collection[str] = ()) -> None:
    """Raises ConfigError for a ``hydra`` node that would run what no one has installed as a plugin of Hydra, write
    files, change the working directory, or set environment variables.

    typed: the overrides of the command line, which may set what a config file may not.
    """
    raw: Any = OmegaConf.to_container(hydra, resolve=False)
    from_files = raw
    for override in typed:
        from_files = _without(from_files, override.lstrip("+").partition("=")[0].removeprefix("hydra."))
    for key, (allowed, why) in VALUES.items():
        if (value := _at(from_files if why == _TYPED else raw, key)) not in allowed:
            raise ConfigError(f"hydra.{key}={value}: {why}")
    for part in ("launcher", "sweeper"):
        _refuse_plugin(part, hydra.get(part))


def _at(value: Any, key: str) -> Any:
    """The value of a dotted key in plain values; None where there is none."""
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _without(value: Any, key: str) -> Any:
    """Plain values without a dotted key, and without what is empty then."""
    first, _, rest = key.partition(".")
    if not isinstance(value, dict) or first not in value:
        return value
    inner = _without(value[first], rest) if rest else None
    return {name: part for name, part in {**value, first: inner}.items() if name != first or inner}


def _refuse_plugin(part: str, node: Any) -> None:
    """A launcher or a sweeper may name what installed ones have registered with Hydra, and nothing else."""
    from hydra.core.config_store import ConfigStore

    installed = {target for _, target in _stored(ConfigStore.instance().repo["hydra"][part])}
    named_here = list(_targets(f"hydra.{part}", _plain(node))) or [(f"hydra.{part}", "null")]
    for place, target in named_here:
        if str(target) not in installed:
            raise ConfigError(
                f"{place}={target}: must be of an installed {part} of Hydra, one of {', '.join(sorted(installed))}"
            )


def _stored(entry: Any) -> Iterator[tuple[str, Any]]:
    """The code that registered choices name, also choices of groups in groups."""
    if not isinstance(entry, dict):
        yield from _targets("", OmegaConf.to_container(entry.node, resolve=False))
    else:
        for part in entry.values():
            yield from _stored(part)


def _targets(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Where plain values name code, and which."""
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from [(f"{key}.{name}", part)] if name == "_target_" else _targets(f"{key}.{name}", part)


def _plain(node: Any) -> Any:
    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=True)
    except OmegaConfBaseException as error:  # what cannot be read now might be anything later
        raise ConfigError(f"{node._get_full_key(None)} cannot be read: {error}".partition("\n")[0]) from None
