"""The tree of config files: where it is, what it may hold, and composing a config from it."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
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
KEYS = tuple(dict.fromkeys((*GROUPS, *VALUES, *SECTIONS)))  # what a command line may begin a setting with
ASIDE = ("logger", "hydra", "grid", "table")  # what a config may hold beside what a run needs


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
            cfg = hydra_compose("train", list(overrides), return_hydra_config=with_hydra)
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
    """Overrides in Hydra's grammar. Raises what Hydra raises for one that it cannot read, and ConfigError for a pattern
    of choices: which ones it means would depend on the folders of the machine, and so would the sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Glob

    found = OverridesParser.create().parse_overrides([*overrides])
    for override in found:
        if isinstance(pattern := override.value(), Glob):
            key = override.get_key_element()
            here = pattern.filter(sorted(path.stem for path in (config_dir() / key).glob("*.yaml")))
            names = ",".join(here or ["A", "B"])
            raise ConfigError(f"{override.input_line}: name the choices, not a pattern of them: {key}={names}")
    return found


def setting(key: str, text: str) -> str:
    """``KEY=VALUE`` of a text, such as a path, quoted where Hydra's grammar would read anything else in it."""
    if re.fullmatch(r"[A-Za-z/][A-Za-z0-9_./-]*", text) and text.lower() not in ("null", "true", "false", "nan", "inf"):
        return f"{key}={text}"
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no interpolation
    quoted = re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + (found[2] and r"\'"), literal)
    return f"{key}='{quoted}'"


def sweeps(override: str) -> bool:
    """Whether an override has several values: ``seed=0,1``."""
    return parsed([override])[0].is_sweep_override()


def of_each_run(words: Sequence[str]) -> list[str]:
    """The words, with ``loss.k=0.3`` as ``loss.k=choice(0.3)`` where they choose several losses.

    Hydra composes a config without what is varied before it composes those of the runs, and the loss that it holds then
    may have no k.
    """
    varied = {word.partition("=")[0] for word in words if word.partition("=")[0] in CHOSEN and sweeps(word)}
    return [_choice(word) if word.partition(".")[0] in varied else word for word in words]


def _choice(word: str) -> str:
    """A value as a choice of one; what has several values stays as it is."""
    key, equals, value = word.partition("=")
    return f"{key}=choice({value})" if equals and "." in key and value and not sweeps(word) else word


def as_typed(word: str) -> str:
    """A word of ``of_each_run`` as it was before."""
    return re.sub(r"^([^=]+)=choice\(([^,]*)\)$", r"\1=\2", word)
