"""Resolvers: what a config may compute when it is resolved. Any other is refused before anything is resolved.

A config of unknown origin must not copy a secret of the environment into results, nor call what another program has
registered. OmegaConf's resolvers belong to the whole process: noisygce adds one under a name of its own, and replaces
none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from noisygce.errors import ConfigError

BY = "noisygce.by"
_OF_HYDRA = ("hydra", "now")  # which Hydra's own values below ``hydra`` use


def register() -> None:
    """``${noisygce.by:KEY,{A: x, B: y},z}``: x where KEY is A, y where KEY is B, else z.

    A value from the command line takes its place, as it would any other's; the run's id and manifest hold the value.
    """
    if not OmegaConf.has_resolver(BY):
        OmegaConf.register_new_resolver(BY, lambda key, table, otherwise=None: table.get(key, otherwise))


def refuse_others(cfg: DictConfig | ListConfig) -> None:
    """Raises ConfigError where an unresolved config calls a resolver that is neither ours nor ``oc.env`` of a variable
    NOISYGCE_...; below ``hydra``, Hydra's own resolvers may be called too."""
    found = _interpolations("", OmegaConf.to_container(cfg, resolve=False))
    for key, text in sorted(found, key=lambda each: each[0].startswith("hydra.")):  # which repeats the command line
        allowed = (BY, *_OF_HYDRA) if key.startswith("hydra.") else (BY,)
        for name, argument in _calls(text):
            if name == "oc.env" and not argument.startswith("NOISYGCE_"):
                raise ConfigError(f"{key}={text}: a config may read no environment variables but NOISYGCE_...")
            if name not in (*allowed, "oc.env"):
                raise ConfigError(f"{key}={text}: a config may call no resolver but {BY} and oc.env:NOISYGCE_...")


def _interpolations(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """The strings of a config that hold an interpolation, with their dotted keys."""
    if isinstance(value, str):
        if "${" in value:
            yield prefix, value
        return
    each = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in each:
        yield from _interpolations(f"{prefix}.{key}" if prefix else str(key), part)


@functools.cache
def _calls(text: str) -> tuple[tuple[str, str], ...]:
    """The resolvers that a string calls, nested ones too: name and first argument as they are written. A name or an
    argument that is computed is a name that nothing allows."""
    from omegaconf.errors import GrammarParseError
    from omegaconf.grammar_parser import OmegaConfGrammarParser, parse  # type: ignore[attr-defined]

    def walk(node: Any) -> Iterator[tuple[str, str]]:
        if isinstance(node, OmegaConfGrammarParser.InterpolationResolverContext):
            name, arguments = node.resolverName(), node.sequence()
            first = arguments.getChild(0).getText() if arguments else ""
            yield name.getText(), first
        for child in node.getChildren() if hasattr(node, "getChildren") else ():
            yield from walk(child)

    try:
        return tuple(walk(parse(text)))
    except GrammarParseError:  # Hydra or OmegaConf says so, and calls nothing
        return ()
