"""Experiments: checked objects, built from a composed config. They hold plain values and know nothing of configs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import check
from noisygce.data import Data, Preprocessing, Split, Verdicts
from noisygce.errors import ConfigError, foreign
from noisygce.losses import Loss
from noisygce.models import Model
from noisygce.noise import Noise
from noisygce.schedule import Pruning, Schedule
from noisygce.settings.compose import ASIDE, KEYS
from noisygce.settings.hints import explain, unknown
from noisygce.settings.resolvers import refuse_others
from noisygce.settings.runtime import Paths, Runtime

T = TypeVar("T")


@dataclass(frozen=True)
class Experiment:
    """All that a run needs, built and checked."""

    seed: int
    precision: str
    compile: bool
    data: Data
    split: Split
    verdicts: Verdicts
    preprocessing: Preprocessing
    noise: Noise
    loss: Loss
    model: Model
    schedule: Schedule
    pruning: Pruning
    runtime: Runtime
    paths: Paths

    @property
    def threads(self) -> int | None:
        """Of the CPU: those that the person sets, else those of the model's class; None: torch's choice."""
        return self.runtime.threads or self.model.threads


_CHOSEN: dict[str, type] = {"noise": Noise, "loss": Loss, "model": Model}
_SECTIONS: dict[str, type] = {"schedule": Schedule, "runtime": Runtime, "paths": Paths}


def read(cfg: DictConfig) -> Experiment:
    """The checked objects of a composed config. Raises ConfigError; torch is not imported."""
    refuse_others(cfg)
    needed = [key for key in KEYS if key != "experiment"]
    for key in cfg:
        if key not in (*needed, *ASIDE):
            raise ConfigError(unknown(str(key), cfg))
    for key in needed:
        if key not in cfg:
            raise ConfigError(f"{key} is missing: every run needs it, so leave out ~{key}")
    try:
        data, split, verdicts, preprocessing = build_data(cfg.data)
        e = Experiment(
            seed=check.whole("seed", cfg.seed, "[0, 4294967296)"),
            precision=check.choice("precision", cfg.precision, ("bf16", "fp32")),
            compile=check.flag("compile", cfg.compile),
            data=data,
            split=split,
            verdicts=verdicts,
            preprocessing=preprocessing,
            pruning=_construct(Pruning, cfg.prune, "prune"),
            **{key: build(cfg[key], base, key) for key, base in _CHOSEN.items()},
            **{key: _construct(cls, cfg[key], key) for key, cls in _SECTIONS.items()},
        )
        if e.loss.judged and not split.holds_out:
            raise ConfigError(
                f"data.validation={cfg.data.validation}: loss={cfg.loss.name} needs the model that is best on noisy "
                "validation labels; hold some out, or take another loss"
            )
        try:
            e.noise.fits(data.classes, data.side, data.channels)
        except check.Invalid as error:  # which names its key in full
            raise ConfigError(str(error)) from None
        if (rate := cfg.noise.get("rate", cfg.rate)) != cfg.rate:
            raise ConfigError(f"noise.rate={rate}: the rate of the noise is set by rate={rate}")
    except check.Invalid as error:
        raise ConfigError(str(error)) from None
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from None
    return e


def build_data(node: DictConfig) -> tuple[Data, Split, Verdicts, Preprocessing]:
    """What one group of values makes: where samples come from, which a run trains on, what people say of their labels,
    how they are fed. Raises ConfigError. (``data.class_map`` is there for noise=class_map to refer to.)"""
    fed = named(node.get("_target_"), Data, "data").fed
    others = [name for cls in (Split, Verdicts, fed) for name in _parameters(cls)]
    data = build(node, Data, "data", (*others, "class_map"))

    def part(cls: type[T], **facts: Any) -> T:
        return _construct(cls, node, "data", {*map(str, node)} - {*_parameters(cls)}, **facts)

    split, verdicts = part(Split, samples=data.full), part(Verdicts)
    return data, split, verdicts, part(fed, channels=data.channels)


def build(node: DictConfig, base: type[T], key: str, ignore: Sequence[str] = ()) -> T:
    """An object of the class that the config node names, which must be a subclass of ``base``; a value that
    names a class is built first, in the same way. ignore: values in the node that are not its.

    Not ``hydra.utils.instantiate``, which calls whatever a config file names. Raises ConfigError, with the full key.
    """
    cls = named(node.get("_target_"), base, key)
    label = node.get("name")
    if not isinstance(label, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,40}", label):
        shown = "null" if label is None else label
        raise ConfigError(f"{key}.name={shown}: must be 1 to 40 letters, digits or underscores")
    parts = {  # of the same kind, such as the losses of a sum
        part: build(value, base, f"{key}.{part}")
        for part, value in ((str(k), v) for k, v in node.items())
        if isinstance(value, DictConfig) and "_target_" in value
    }
    return _construct(cls, node, key, ("_target_", "name", *ignore), parts)


_MOVED = {"noisygce.folder.Folder": "noisygce.data.folder.Folder"}  # the names that configs and run ids hold stay


def named(target: Any, base: type[T], key: str) -> type[T]:
    """The class that a config names as ``KEY._target_``: a subclass of ``base``. Raises ConfigError."""
    try:
        return check.subclass(_MOVED.get(str(target), str(target)), base)
    except ValueError as error:
        told = foreign(error.__cause__) if error.__cause__ else None
        reason = f"cannot be imported ({told})" if told else f"{error}"
        if isinstance(error.__cause__, ModuleNotFoundError) and error.__cause__.name == str(target).partition(".")[0]:
            reason += "; start in the folder that holds it, or name that in PYTHONPATH"
        raise ConfigError(f"{key}._target_={target}: {reason}") from None


def _parameters(cls: type) -> list[str]:
    """The values that a class must be configured with."""
    parameters = inspect.signature(cls).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]


def _construct(
    cls: type[T], node: Any, key: str, ignore: Iterable[str] = (), parts: Mapping[str, Any] | None = None, **facts: Any
) -> T:
    known = inspect.signature(cls).parameters
    if not isinstance(node, DictConfig):
        listed = ", ".join(f"{key}.{name}" for name in known)
        raise ConfigError(f"{key}={node}: {key} is a group of values: {listed}")
    plain: Any = OmegaConf.to_container(node, resolve=True)
    values = {name: value for name, value in plain.items() if name not in ignore} | dict(parts or {})
    neutral = {k: v for k, v in check.NEUTRAL.get(key.partition(".")[0], {}).items() if k in known}
    wanted = dict.fromkeys((*_parameters(cls), *neutral))
    values = neutral | values
    for name in values:
        if name not in wanted:
            names = [f"{key}.{each}" for each in (*wanted, *ignore) if each not in ("_target_", "name")]
            listed = ", ".join(names) or "no values"
            raise ConfigError(f"{key}.{name}={values[name]}: {cls.__name__} has no such value; it has {listed}")
    for name in wanted:
        if name not in values:
            raise ConfigError(f"{key}.{name} is missing: {cls.__name__} needs it")
    try:
        return cls(**values, **facts)
    except check.Invalid as error:
        raise ConfigError(error.message(_typed(node, key, error.key))) from None
    except Exception as error:
        raise foreign(error) or error from None


def _typed(node: DictConfig, key: str, name: str) -> str:
    """The key a person would have typed for a value: ``rate`` where the leaf says ``rate: ${rate}``."""
    raw: Any = OmegaConf.to_container(node, resolve=False)
    source = re.fullmatch(r"\$\{([\w.]+)\}", str(raw.get(name.partition("[")[0])))
    return source[1] if source else f"{key}.{name}"


def node(plain: Mapping[str, Any]) -> DictConfig:
    """A config of plain values, such as those of a manifest. Raises ConfigError for one that would read a secret."""
    cfg = OmegaConf.create(dict(plain))
    refuse_others(cfg)
    return cfg


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values. Raises ConfigError."""
    refuse_others(cfg)
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    return dict(plain)
