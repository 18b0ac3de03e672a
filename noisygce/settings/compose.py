"""The config files: their folder, the keys that a config may hold, and composing a config."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from noisygce.errors import ConfigError
from noisygce.settings import resolvers

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

CHOSEN = ("data", "noise", "loss", "model")  # groups: a choice names a class
GROUPS = (*CHOSEN, "schedule", "experiment")
VALUES = ("seed", "rate", "precision", "compile")  # keys of one value
SECTIONS = ("schedule", "prune", "runtime", "paths")  # keys of several values, all of one class
KEYS = tuple(dict.fromkeys((*GROUPS, *VALUES, *SECTIONS)))  # all first names of keys
ASIDE = ("logger", "hydra", "grid", "table")  # keys of a config that no run needs
_OF_TABLE = r"table\.(title|rows|columns|rules|decimals|names)[.=]"


def config_dir() -> Path:
    """The folder of config files: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def compose(overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
    """The config that a command line with these overrides would give; with_hydra: with Hydra's own values.

    Nothing in it has been resolved. Raises ConfigError for a resolver that no config may call, and for an experiment
    that is not laid over the whole config.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException

    try:
        with _own_hydra(), initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = hydra_compose("train", [*map(with_plus, overrides)], return_hydra_config=with_hydra)
    except HydraException as error:
        if "@experiment." in str(error):  # it chooses groups below itself
            raise _not_global(overrides) from None
        raise
    except KeyError as error:  # Hydra has looked it up
        raise ConfigError(f"hydra.job.env_copy: a config may copy no environment variable ({error})") from None
    if "experiment" in cfg:
        raise _not_global(overrides)
    resolvers.refuse_others(cfg)
    return cfg


def with_plus(word: str) -> str:
    """A word as Hydra needs it to set what few experiments have: ``++table.decimals=1`` for ``table.decimals=1``."""
    return re.sub(rf"^(?={_OF_TABLE})", "++", word)


_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def _own_hydra() -> Iterator[None]:
    """Within it this thread has a Hydra of its own; after it, the one of a Hydra program that this is a part of is as
    it was: Hydra has one state for the whole process, and replaces resolvers of its names."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton
    from hydra.core.utils import JobRuntime
    from hydra.version import VersionBase
    from omegaconf.basecontainer import BaseContainer

    with _one_at_a_time:
        resolvers.register()
        theirs = {kind: Singleton._instances.pop(kind, None) for kind in (GlobalHydra, JobRuntime, VersionBase)}
        registered = dict(BaseContainer._resolvers)
        try:
            yield
        finally:
            for kind, instance in theirs.items():
                Singleton._instances.pop(kind, None)
                if instance is not None:
                    Singleton._instances[kind] = instance
            BaseContainer._resolvers.update(registered)


def _not_global(overrides: Sequence[str]) -> ConfigError:
    name = next((word for word in overrides if word.lstrip("+").startswith("experiment=")), "experiment")
    return ConfigError(
        f"{name}: the first line of its file must be '# @package _global_', with nothing before it, no byte order mark "
        "either"
    )


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Overrides in Hydra's grammar. Raises what Hydra raises for one that it cannot read, and ConfigError for one that
    Hydra would read otherwise than a person means it."""
    return [_parsed(override) for override in overrides]


@functools.cache
def _parsed(text: str) -> Override:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob

    (override,) = OverridesParser.create().parse_overrides([text])
    key, value = override.key_or_group, override.value()
    if not key:
        raise ConfigError(f"{text}: a setting is KEY=VALUE without spaces, such as rate=0.4")
    if isinstance(value, Glob):  # its choices would depend on the folders of the machine
        names = value.filter(sorted(path.stem for path in (config_dir() / key).glob("*.yaml"))) or ["A", "B"]
        raise ConfigError(f"{text}: name the choices, not a pattern of them: {key}={','.join(names)}")
    if key in (*GROUPS, "logger") and not override.is_delete():
        if isinstance(value, int | float | dict | None):
            raise ConfigError(f"{text}: there is no such {key}; leave it out for the default")
        choices = [str(each) for each in value] if isinstance(value, list) else []
        if key == "experiment" and (choices or override.is_sweep_override()):
            raise ConfigError(f"{text}: each experiment has its own grid; name one experiment in a command")
        if key == "logger" and override.is_sweep_override():
            raise ConfigError(f"{text}: to use all of them in each run: 'logger=[{text.partition('=')[2]}]'")
        if key in CHOSEN and choices:  # Hydra would merge the choices
            raise ConfigError(f"{text}: a run has one {key}; to train with each of them: -m {key}={','.join(choices)}")
    return override


def setting(key: str, text: str) -> str:
    """``KEY=VALUE`` of a text, such as a path, quoted where Hydra's grammar would read anything else in it."""
    if re.fullmatch(r"[A-Za-z/][A-Za-z0-9_./-]*", text) and text.lower() not in ("null", "true", "false", "nan", "inf"):
        return f"{key}={text}"
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no interpolation
    quoted = re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + (found[2] and r"\'"), literal)
    return f"{key}='{quoted}'"


def sweeps(override: str) -> bool:
    """Whether an override has several values: ``seed=0,1``."""
    return _parsed(override).is_sweep_override()


def of_each_run(words: Sequence[str]) -> list[str]:
    """The words, with ``loss.k=0.3`` as ``loss.k=choice(0.3)`` where they, or the experiment's grid, choose losses.

    Hydra first composes a config without what a sweep varies, and the loss of that config may have no k.
    """
    varied = {key for key in CHOSEN for word in words if word.startswith(f"{key}=") and sweeps(word)}
    if any(word.lstrip("+").startswith(tuple(f"{key}." for key in CHOSEN)) for word in words):
        typed = {word.partition("=")[0].lstrip("+") for word in words}
        varied |= (
            _of_grid([word for word in words if word.startswith(("experiment=", "grid=", "hydra.searchpath="))]) - typed
        )

    def of_run(word: str) -> str:
        key, _, value = word.partition("=")
        fixed = key.partition(".")[0] in varied and "." in key and value and not sweeps(word)
        return f"{key}=choice({value})" if fixed else word

    return [of_run(word) for word in words]


def _of_grid(words: Sequence[str]) -> set[str]:
    """The groups that the grid of an experiment chooses from."""
    if not any(word.startswith("experiment=") for word in words):
        return set()
    blocks = compose(words).get("grid") or []
    return {key for block in blocks if isinstance(block, Mapping) for key in block if key in CHOSEN}


def as_typed(word: str) -> str:
    """A word of ``of_each_run`` and ``with_plus`` as it was before."""
    word = re.sub(rf"^\+\+(?={_OF_TABLE})", "", word)
    return re.sub(r"^([^=]+)=choice\(([^,]*)\)$", r"\1=\2", word)
