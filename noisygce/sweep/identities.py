"""Identities: what the ids of many runs are made from, as ``noisygce.train`` would record it.

Composing a config takes Hydra a tenth of a second. So each choice of a group is composed once, beside the first choices
of the others; where it changes nothing but its own group, it is put in place beside any others. Plain values are set in
what Hydra has composed, and runs that differ in the seed alone differ in nothing else. A test asserts that the ids are
those of Hydra's configs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import runs, settings
from noisygce.settings.compose import VALUES
from noisygce.sweep.jobs import Job, pair

Tree = dict[str, Any]  # a config that is not resolved yet


def of(jobs: Sequence[Job], aside: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The identity of each run (``runs.identity``), one of each setting being checked as a whole.

    aside: what Hydra is told beside. Raises ConfigError, or what Hydra raises.
    """
    compose = _Composer(aside)
    made: dict[tuple[str, ...], dict[str, Any]] = {}
    for job in jobs:
        values = [override for override in job if _is_value(override)]
        tree = compose([override for override in job if override not in values])
        seed = next((override for override in values if override.startswith("seed=")), "")
        if "seed}" in str(tree):  # something else is made from it
            seed = ""
        setting = tuple(override for override in job if override != seed)
        if setting not in made:
            cfg = OmegaConf.create(tree)
            OmegaConf.set_struct(cfg, True)
            try:
                for override in values:
                    OmegaConf.update(cfg, pair(override)[0], _value(override), merge=True)
            except OmegaConfBaseException:
                settings.compose([*aside, *job])  # says what is wrong with it in Hydra's way
                raise
            settings.read(cfg)
            made[setting] = runs.identity(settings.resolved(cfg))
        yield made[setting] | ({"seed": _value(seed)} if seed else {})


class _Composer:
    """Composes the choices of many runs."""

    def __init__(self, aside: Sequence[str]) -> None:
        self.aside = aside
        self.firsts: dict[tuple[str, ...], list[str]] = {}  # by the groups that are chosen from
        self.trees: dict[tuple[str, ...], Tree] = {}

    def __call__(self, choices: list[str]) -> Tree:
        first = self.firsts.setdefault(tuple(pair(choice)[0] for choice in choices), choices)
        tree = dict(base := self._tree(first))
        for i, choice in enumerate(choices):
            if choice == first[i]:
                continue
            other, group = self._tree([*first[:i], choice, *first[i + 1 :]]), pair(choice)[0]
            if any(base.get(key) != other.get(key) for key in {*base, *other} - {group}):
                return self._tree(choices)
            tree[group] = other.get(group)
        return tree

    def _tree(self, choices: Sequence[str]) -> Tree:
        key = tuple(choices)
        if key not in self.trees:
            whole: Any = OmegaConf.to_container(settings.compose([*self.aside, *choices]), resolve=False)
            self.trees[key] = {name: part for name, part in whole.items() if name not in ("grid", "table")}
        return self.trees[key]


def _is_value(override: str) -> bool:
    """Whether an override sets a plain value, and can have no other effect, as choosing from a group may."""
    key, value = pair(override)
    plain = key in VALUES or ("." in key and key[0] not in "+~" and "/" not in key)
    return plain and not any(sign in value for sign in "${[")  # a merge would keep a part of what was there


@functools.cache
def _value(override: str) -> Any:
    """The value of a plain override, in Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(override).value()
