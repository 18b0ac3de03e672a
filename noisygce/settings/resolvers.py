"""Resolvers: what a config may compute when it is resolved. Any other is refused before anything is resolved.

A config of unknown origin must not copy a secret of the environment into results, nor call a resolver that another
program has registered. OmegaConf's resolvers belong to the whole process: noisygce adds one under a name of its own,
and replaces none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from noisygce.errors import ConfigError

BY = "noisygce.by"
_ALLOWED = re.compile(rf"[\w.\[\]/@-]+\}}|{re.escape(BY)}:|oc\.env:NOISYGCE_")  # first a key: nothing is called
_ALLOWED_BELOW_HYDRA = re.compile(rf"{_ALLOWED.pattern}|hydra:|now:")


def register() -> None:
    """``${noisygce.by:KEY,{A: x, B: y},z}``: x where KEY is A, y where KEY is B, else z.

    A value from the command line takes its place, as it would any other's; the run's id and manifest hold the value.
    """
    if not OmegaConf.has_resolver(BY):
        OmegaConf.register_new_resolver(BY, lambda key, table, otherwise=None: table.get(key, otherwise))


def refuse_others(cfg: DictConfig | ListConfig) -> None:
    """Raises ConfigError where an unresolved config calls a resolver that is neither noisygce's nor ``oc.env`` of a
    variable NOISYGCE_...; below ``hydra``, Hydra's own resolvers may be called too.

    Each ``${``, nested ones too, must begin one of these calls or the name of a key as it is written.
    """
    found = _interpolations("", OmegaConf.to_container(cfg, resolve=False))
    for key, text in sorted(found, key=lambda each: each[0].startswith("hydra.")):  # which repeats the command line
        allowed = _ALLOWED_BELOW_HYDRA if key.startswith("hydra.") else _ALLOWED
        for call in text.split("${")[1:]:
            if not allowed.match(call):
                if call.startswith("oc.env:"):
                    raise ConfigError(f"{key}={text}: a config may read no environment variables but NOISYGCE_...")
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
