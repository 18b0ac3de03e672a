"""Experiments: checked objects, built from a composed config. They hold plain values and know nothing of configs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import check, construct
from noisygce.construct import named
from noisygce.data import Data, Preprocessing, Split, Verdicts
from noisygce.errors import ConfigError
from noisygce.losses import Loss
from noisygce.losses.own import refuse_incomplete
from noisygce.models import Model
from noisygce.noise import Noise
from noisygce.schedule import Pruning, Schedule
from noisygce.settings.compose import ASIDE, KEYS
from noisygce.settings.hints import explain, unknown
from noisygce.settings.resolvers import refuse_others
from noisygce.settings.runtime import Paths, Runtime

T = TypeVar("T")
SEEDS = "[0, 4294967296)"

__all__ = ["Experiment", "build", "build_data", "named", "node", "read", "resolved"]


@dataclass(frozen=True)
class Experiment:
    """The objects of a run, built and checked."""

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
        """Threads of the CPU: ``runtime.threads``, else the number of the model's class; None: torch's choice."""
        return self.runtime.threads or self.model.threads


_CHOSEN: dict[str, type] = {"noise": Noise, "loss": Loss, "model": Model}
_SECTIONS: dict[str, type] = {"schedule": Schedule, "prune": Pruning, "runtime": Runtime, "paths": Paths}


def read(cfg: DictConfig) -> Experiment:
    """The checked objects of a composed config. Raises ConfigError; torch is not imported."""
    refuse_others(cfg)
    needed = [key for key in KEYS if key != "experiment"]
    for key in cfg:
        if key not in (*needed, *ASIDE):
            raise ConfigError(unknown(str(key), cfg))
    for key in needed:
        if key not in cfg:
            raise ConfigError(f"{key} is missing: every run needs it")
    try:
        return _read(cfg)
    except check.Invalid as error:
        raise check.Invalid(_typed_key(cfg, error.key), error.value, error.allowed) from None
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error)) from None


def _read(cfg: DictConfig) -> Experiment:
    data, split, verdicts, preprocessing = build_data(cfg.data)
    chosen: Any = {key: build(cfg[key], base, key) for key, base in _CHOSEN.items()}
    sections: Any = {key: construct.construct(cls, _plain(cfg[key]), key) for key, cls in _SECTIONS.items()}
    e = Experiment(
        seed=check.whole("seed", cfg.seed, SEEDS),
        precision=check.choice("precision", cfg.precision, ("bf16", "fp32")),
        compile=check.flag("compile", cfg.compile),
        data=data,
        split=split,
        verdicts=verdicts,
        preprocessing=preprocessing,
        pruning=sections.pop("prune"),
        **chosen,
        **sections,
    )
    refuse_incomplete(e.loss)
    if e.loss.needs_validation and not split.holds_out:
        raise ConfigError(
            f"data.validation={cfg.data.validation}: loss={cfg.loss.name} needs the model that is best on noisy "
            "validation labels; hold some out, or take another loss"
        )
    e.noise.fits(data.classes, data.side, data.channels)
    if (rate := cfg.noise.get("rate", cfg.rate)) != cfg.rate:
        raise ConfigError(f"noise.rate={rate}: the rate of the noise is set by rate={rate}")
    return e


def build_data(node: DictConfig) -> tuple[Data, Split, Verdicts, Preprocessing]:
    """The four objects of the group ``data``: the data set, its split, people's verdicts on its labels, and the
    preprocessing of images. Raises ConfigError. (``data.class_map`` is a value that noise=class_map refers to.)"""
    values = _plain(node)
    fed = construct.named(values.get("_target_"), Data, "data").fed
    shared = [name for cls in (Split, Verdicts, fed) for name in construct.parameters(cls)]
    data = construct.build(values, Data, "data", (*shared, "class_map"))

    def part(cls: type[T], **facts: Any) -> T:
        return construct.construct(cls, values, "data", {*values} - {*construct.parameters(cls)}, **facts)

    split, verdicts = part(Split, samples=data.full), part(Verdicts)
    return data, split, verdicts, part(fed, channels=data.channels)


def build(node: Any, base: type[T], key: str) -> T:
    """An object of the class that a config node names, a subclass of ``base`` (``construct.build``). Raises
    ConfigError."""
    return construct.build(_plain(node), base, key)


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _typed_key(cfg: DictConfig, key: str) -> str:
    """The key by which a person sets a value: ``rate`` for ``noise.rate``, since the leaf has ``rate: ${rate}``."""
    value: Any = OmegaConf.to_container(cfg, resolve=False)
    for name in key.partition("[")[0].split("."):
        value = value.get(name) if isinstance(value, dict) else None
    source = re.fullmatch(r"\$\{([\w.]+)\}", str(value))
    return source[1] if source else key


def node(plain: Mapping[str, Any]) -> DictConfig:
    """A config of plain values, such as those of a manifest. Raises ConfigError for one that would read a secret."""
    cfg = OmegaConf.create(dict(plain))
    refuse_others(cfg)
    return cfg


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain values. Raises ConfigError."""
    refuse_others(cfg)
    return dict(_plain(cfg))
