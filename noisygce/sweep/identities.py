"""Identities: what the ids of many runs are made from, as ``noisygce.train`` would record it.

Composing a config takes Hydra a tenth of a second, so it is not done anew for each run. Choices that can do nothing but
take the place of their group are composed all at once, side by side; any other is composed beside the first choices of
the other groups, and where it changes more than its own group, beside each of the others. Plain values are set in what
Hydra has composed, and runs that differ in the seed alone differ in nothing else. A test asserts that the ids are those
of Hydra's configs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisygce import runs, settings
from noisygce.settings.compose import VALUES, parsed
from noisygce.sweep.jobs import Job, pair

Tree = dict[str, Any]  # a config that is not resolved yet


def of(jobs: Sequence[Job], aside: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The identity of each run (``runs.identity``), one of each setting being checked as a whole.

    aside: what Hydra is told beside. Raises ConfigError, or what Hydra raises.
    """
    compose = _Composer(jobs, aside)
    made: dict[tuple[str, ...], dict[str, Any]] = {}
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
            made[setting] = runs.identity(settings.resolved(cfg))
        yield made[setting] | ({"seed": _value(seed)} if seed else {})


class _Composer:
    """Composes the choices of many runs: what they give, and whether anything in it is made from the seed."""

    def __init__(self, jobs: Sequence[Job], aside: Sequence[str]) -> None:
        self.jobs, self.aside = jobs, aside
        self.composed: dict[tuple[str, ...], Tree] = {}
        self.made: dict[tuple[str, ...], tuple[Tree, bool]] = {}
        self.firsts: dict[tuple[str, ...], tuple[tuple[str, ...], Tree]] = {}  # by the groups that are chosen from

    def __call__(self, choices: tuple[str, ...]) -> tuple[Tree, bool]:
        if choices not in self.made:
            tree = self._put_together(choices)
            self.made[choices] = tree, "seed}" in str(tree)
        return self.made[choices]

    def _put_together(self, choices: tuple[str, ...]) -> Tree:
        groups = tuple(pair(choice)[0] for choice in choices)
        if groups not in self.firsts:
            self.firsts[groups] = choices, self._leaves(choices)
        first, leaves = self.firsts[groups]
        tree = dict(base := self._compose(first))
        for i, (group, choice) in enumerate(zip(groups, choices, strict=True)):
            if choice == first[i]:
                continue
            if choice in leaves:
                tree[group] = leaves[choice]
                continue
            other = self._compose((*first[:i], choice, *first[i + 1 :]))
            if _differs(base, other, (group,)):
                return self._compose(choices)
            tree[group] = other.get(group)
        return tree

    def _leaves(self, first: tuple[str, ...]) -> Tree:
        """Of the groups that the jobs choose from, the choices that can only take the place of their group, and what
        they put there.

        These groups are deleted, and all choices composed aside of the config: then nothing else writes to such a group
        and no default follows its choice, or Hydra would refuse; and no choice writes elsewhere, or the rest would
        differ. A leaf that is meant for the root (``@package _global_``) names no class.
        """
        found: dict[str, tuple[str, str]] = {}
        for choice in dict.fromkeys(override for job in self.jobs for override in job):
            group, name = pair(choice)
            if group in ("noise", "loss", "model") and name.isidentifier() and choice not in first:
                found[choice] = group, name
        groups = {group for group, _ in found.values()}
        if not groups:
            return {}
        try:
            tree = self._compose(
                (
                    *(choice for choice in first if pair(choice)[0] not in groups),
                    *(f"~{group}" for group in groups),
                    *(f"+{group}@_leaves.{group}.{name}={name}" for group, name in found.values()),
                )
            )
        except (HydraException, OmegaConfBaseException):
            return {}
        if groups & tree.keys() or _differs(tree, self._compose(first), (*groups, "_leaves")):
            return {}
        nodes = {choice: tree["_leaves"][group][name] for choice, (group, name) in found.items()}
        return {choice: node for choice, node in nodes.items() if "_target_" in node}

    def _compose(self, choices: tuple[str, ...]) -> Tree:
        if choices not in self.composed:
            whole: Any = OmegaConf.to_container(settings.compose([*self.aside, *choices]), resolve=False)
            self.composed[choices] = {name: part for name, part in whole.items() if name not in ("grid", "table")}
        return self.composed[choices]


def _differs(one: Tree, other: Tree, but: Sequence[str]) -> bool:
    return any(one.get(key) != other.get(key) for key in {*one, *other} - {*but})


def _is_value(override: str) -> bool:
    """Whether an override sets a plain value, and can have no other effect, as choosing from a group may."""
    key, value = pair(override)
    plain = key in VALUES or ("." in key and key[0] not in "+~" and "/" not in key)
    return plain and not any(sign in value for sign in "${[")  # a merge would keep a part of what was there


@functools.cache
def _value(override: str) -> Any:
    """The value of a plain override, in Hydra's grammar."""
    return parsed([override])[0].value()
