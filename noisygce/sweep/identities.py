"""Identities: what the ids of many runs are made from, as ``noisygce.train`` would record it.

Composing a config takes Hydra a tenth of a second, so it is not done anew for each run. Losses, noises and models that
can do nothing but take the place of their group are composed all at once, side by side, and then put in place; any
other choice is composed with each of the others. Plain values are set in what Hydra has composed, and runs that differ
in the seed alone differ in nothing else. A test asserts that the ids are those of Hydra's configs.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import runs, settings
from noisygce.settings.compose import VALUES, parsed
from noisygce.sweep.jobs import Job, pair

log = logging.getLogger("noisygce")

_PLAIN = re.compile(r"(noise|loss|model)=\w+")  # a choice that seldom does more than to take the place of its group
Tree = dict[str, Any]  # a config that is not resolved yet


def of(jobs: Sequence[Job], aside: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The identity of each run (``runs.identity``), one of each setting being checked as a whole.

    aside: what Hydra is told beside. Raises ConfigError, or what Hydra raises.
    """
    compose = _Composer(jobs, aside)
    made: dict[tuple[str, ...], dict[str, Any]] = {}
    unread: dict[str, None] = {}

    def note(reason: str) -> None:
        if reason not in unread:
            log.warning(f"{reason}; runs that need it have no id here, and count as missing")
        unread[reason] = None

    for job in jobs:
        values = [override for override in job if _is_value(override)]
        tree, from_seed = compose(tuple(override for override in job if override not in values))
        seed = next((override for override in values if override.startswith("seed=") and not from_seed), "")
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
            made[setting] = runs.identity(settings.resolved(cfg), note)
        yield made[setting] | ({"seed": _value(seed)} if seed else {})


class _Composer:
    """Composes the choices of many runs: what they give, and whether anything in it is made from the seed."""

    def __init__(self, jobs: Sequence[Job], aside: Sequence[str]) -> None:
        self.jobs, self.aside = jobs, aside
        self.composed: dict[tuple[str, ...], Tree] = {}
        self.made: dict[tuple[str, ...], tuple[Tree, bool]] = {}
        self.firsts: dict[tuple[str, ...], tuple[tuple[str, ...], Tree]] = {}  # choices and ``_leaves``

    def __call__(self, choices: tuple[str, ...]) -> tuple[Tree, bool]:
        if choices not in self.made:
            tree = self._put_together(choices)
            self.made[choices] = tree, "seed}" in str(tree)
        return self.made[choices]

    def _put_together(self, choices: tuple[str, ...]) -> Tree:
        alike = tuple(pair(choice)[0] if _PLAIN.fullmatch(choice) else choice for choice in choices)
        if alike not in self.firsts:
            self.firsts[alike] = choices, self._leaves(choices)
        first, leaves = self.firsts[alike]
        others = [choice for choice in choices if choice not in first]
        if not leaves.keys() >= {*others}:
            return self._compose(choices)
        return self._compose(first) | {pair(choice)[0]: leaves[choice] for choice in others}

    def _leaves(self, first: tuple[str, ...]) -> Tree:
        """The choices of the jobs that can only take the place of their group, and what they put there.

        These groups are deleted, and all choices composed aside of the config: then nothing else writes to such a group
        and no default follows its choice, or Hydra would refuse; and no choice writes elsewhere, or the rest would
        differ. A leaf that is meant for the root (``@package _global_``) names no class.
        """
        others = dict.fromkeys(override for job in self.jobs for override in job if override not in first)
        plain = [(choice, *pair(choice)) for choice in others if _PLAIN.fullmatch(choice)]
        groups = {group for _, group, _ in plain}
        if not groups:
            return {}
        kept = [choice for choice in first if pair(choice)[0] not in groups]
        added = [f"+{group}@_leaves.{group}.{name}={name}" for _, group, name in plain]
        try:
            tree = self._compose((*kept, *(f"~{group}" for group in groups), *added))
        except (HydraException, OmegaConfBaseException):
            return {}
        rest = {key: value for key, value in self._compose(first).items() if key not in groups}
        if tree != {**rest, "_leaves": tree["_leaves"]}:
            return {}
        nodes = {choice: tree["_leaves"][group][name] for choice, group, name in plain}
        return {choice: node for choice, node in nodes.items() if "_target_" in node}

    def _compose(self, choices: tuple[str, ...]) -> Tree:
        if choices not in self.composed:
            whole: Any = OmegaConf.to_container(settings.compose([*self.aside, *choices]), resolve=False)
            self.composed[choices] = {name: part for name, part in whole.items() if name not in ("grid", "table")}
        return self.composed[choices]


def _is_value(override: str) -> bool:
    """Whether an override sets a plain value, and can have no other effect, as choosing from a group may."""
    key, value = pair(override)
    plain = key in VALUES or ("." in key and key[0] not in "+~" and "/" not in key)
    return plain and not any(sign in value for sign in "${[")  # a merge would keep a part of what was there


@functools.cache
def _value(override: str) -> Any:
    """The value of a plain override, in Hydra's grammar."""
    return parsed([override])[0].value()
