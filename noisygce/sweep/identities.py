"""Identities: what many runs' ids are made from, as ``noisygce.train`` would record it, without composing each anew.

Composing a config takes Hydra a tenth of a second. Here it is done once for runs that differ only in plain values and
in plain leaves, which can do nothing but take their own place; these are put in between. So a thousand runs take a
second. Whatever could do more is composed by Hydra. A test asserts that the ids are those of Hydra's configs.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from noisygce import runs, settings
from noisygce.settings import hints
from noisygce.sweep.jobs import Job

_IDLE = ("grid", "table")  # left out before resolving: they shape no run and take time


def of(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """The identity of each run (``runs.identity``), one run of each kind being checked as a whole.

    Raises ConfigError, or what Hydra raises.
    """
    composed: dict[tuple[str, ...], DictConfig] = {}
    kinds: dict[tuple[str, ...], tuple[DictConfig, bool]] = {}
    resolved: dict[tuple[str, ...], dict[str, Any]] = {}
    for job in jobs:
        values = {key: value for key, value in map(pair, job) if _is_value(key)}
        choices = tuple(override for override in job if not _is_value(pair(override)[0]))
        alike = (key if "${" not in value else f"{key}={value}" for key, value in values.items())
        kind = (*choices, *alike)  # the same keys are set each time, so that none is left over from the run before
        if new := kind not in kinds:
            cfg = _compose(choices, composed)
            kinds[kind] = cfg, "seed" in values and _seed_apart(cfg, values)
        cfg, apart = kinds[kind]
        rest = (*choices, *(f"{k}={v}" for k, v in values.items() if not (apart and k == "seed")))
        if rest not in resolved:
            cfg = _set(cfg, values, job)
            if new:
                settings.read(cfg)
            resolved[rest] = runs.identity(settings.resolved(cfg))
        yield resolved[rest] | ({"seed": _value(f"seed={values['seed']}")} if apart else {})


def pair(override: str) -> tuple[str, str]:
    """Key and value."""
    key, _, value = override.partition("=")
    return key, value


def _is_value(key: str) -> bool:
    """Whether an override sets a value, and can have no other effect, as choosing from a group may."""
    return key in hints.VALUES or ("." in key and not key.startswith(("+", "~", "hydra")) and "/" not in key)


def _compose(choices: Sequence[str], composed: dict[tuple[str, ...], DictConfig]) -> DictConfig:
    """The config of these choices; by Hydra only if none of ``composed`` differs from it in plain leaves alone."""
    leaves = {key: leaf for key, value in map(pair, choices) if (leaf := _leaf(key, value)) is not None}
    like = tuple(pair(c)[0] if pair(c)[0] in leaves else c for c in choices)
    if like not in composed:
        first = composed[like] = settings.compose(choices)
        with open_dict(first):
            for key in _IDLE:
                first.pop(key, None)
    made = copy.deepcopy(composed[like])
    with open_dict(made):
        for key, leaf in leaves.items():
            made[key] = leaf
    return made


@functools.cache
def _leaf(group: str, name: str) -> DictConfig | None:
    """A leaf that does no more than to take its own place; None for any other."""
    path = settings.config_dir() / group / f"{name}.yaml"
    try:
        text = path.read_text()
    except OSError:
        return None
    leaf = OmegaConf.create(text)
    return leaf if isinstance(leaf, DictConfig) and "@package" not in text and "defaults" not in leaf else None


def _seed_apart(cfg: DictConfig, values: Mapping[str, str]) -> bool:
    """Whether nothing else in the config is made from the seed, so that runs differ in it alone."""
    whole = f"{OmegaConf.to_container(cfg, resolve=False)}"
    return "seed}" not in whole and not any("${" in value for value in values.values())


def _set(cfg: DictConfig, values: Mapping[str, str], job: Job) -> DictConfig:
    """``cfg`` with these values set, in place; composed anew where that could differ from what Hydra does."""
    parsed = {key: _value(f"{key}={value}") for key, value in values.items()}
    if any(isinstance(value, dict | list) for value in parsed.values()):  # a merge would keep some of the last one
        return settings.compose(job)
    try:
        for key, value in parsed.items():
            OmegaConf.update(cfg, key, value, merge=True)
    except OmegaConfBaseException:
        settings.compose(job)  # says what is wrong with it in Hydra's way
        raise
    return cfg


@functools.cache
def _value(override: str) -> Any:
    """The value of a plain override, in Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(override).value()
