"""Ids: what shapes the numbers of a run, and the id that is made from it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from noisygce import check
from noisygce.errors import ConfigError, DataError
from noisygce.runs.own_files import targets, user_code, user_data

# Raised by hand whenever a change of code alters a number, so that an old result is never taken for a new one.
# tests/test_numerics.py fails when it should have been raised.
NUMERICS = 1

# The same for one class alone, by the name that configs have for it, from 2 on: it enters the ids of the configs that
# name the class, and no other id.
REVISIONS: dict[str, int] = {
    "noisygce.data.Features": 2,  # headers, blank lines and columns to join on; scaled before values are cast
    "noisygce.folder.Folder": 3,  # likewise; labels without the space around them, every picture that Pillow opens but
    # TIFF files of signed numbers
    "noisygce.losses.LDRKL": 2,  # gradient at logits of 0, and value and gradient at logits near -30
    "noisygce.losses.TRevision": 2,  # the weight b has no gradient in the network
    "noisygce.noise.Noise": 2,  # of one's own with a seed: draw and replace are given noise.seed
}

# How and where a run is made, and what is printed about it. Of these only the device, the number of threads and the
# kernels of a GPU (runtime.fused) round differently, and a manifest says what they were.
NOT_SHAPING = ("runtime", "paths", "logger", "hydra", "grid", "table")
UNREAD = "unread"  # in the place of digests of files that cannot be read
_ADDED = ("numerics", "revisions", "code", "contents")  # what an identity holds beside the config


def identity(config: Mapping[str, Any], unread: Callable[[str], object] | None = None) -> dict[str, Any]:
    """What shapes the numbers of a run, from its resolved config: the rest left out, 1.0 and 1 made one.

    unread: called with the reason where a person's own files cannot be read, by those who only look at runs; the
    identity is then that of no run. Without it, raises ConfigError or DataError there.
    """
    run_config = {key: _older(key, value) for key, value in config.items() if key not in NOT_SHAPING}
    try:
        contents = user_data(config)
    except (ConfigError, DataError) as error:
        if unread is None:
            raise
        unread(str(error))
        contents = {"contents": {UNREAD: UNREAD}}
    return {
        "numerics": NUMERICS,
        **_revisions(run_config),
        **user_code(run_config),
        **contents,
        **_canonical(run_config),
    }


def given(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The config that an identity was made from, as far as it shapes numbers."""
    return {key: value for key, value in identity.items() if key not in _ADDED}


def with_loss(identity: Mapping[str, Any], leaf: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a run with another loss and all else equal: without the code and the revisions of the loss that
    takes its place. Raises ConfigError as ``user_code`` does."""
    run_config = {**given(identity), "loss": leaf}
    rest = {key: identity[key] for key in ("numerics", "contents") if key in identity}
    return {**rest, **_revisions(run_config), **user_code(run_config), **run_config}


def _revisions(config: Mapping[str, Any]) -> dict[str, Any]:
    """``revisions``: of the classes that a config names, those of ``REVISIONS``; or nothing."""
    found = {name: REVISIONS[name] for name in targets(config) if name in REVISIONS}
    noise = config.get("noise", {})
    if not str(noise.get("_target_", "noisygce.")).startswith("noisygce.") and noise.get("seed") is not None:
        found["noisygce.noise.Noise"] = REVISIONS["noisygce.noise.Noise"]
    return {"revisions": dict(sorted(found.items()))} if found else {}


def older(identity: Mapping[str, Any], *groups: str) -> str:
    """The class of these groups of a run that has had another revision when the run was made, and both; or nothing."""
    then, parts = identity.get("revisions", {}), {group: identity[group] for group in groups}
    now = _revisions(parts).get("revisions", {})
    for name in (*targets(parts), *now):
        if then.get(name, 1) != now.get(name, 1):
            return f"revision {then.get(name, 1)} of {name}, this code has {now.get(name, 1)}"
    return ""


def _older(group: str, value: Any) -> Any:
    """A group of values, and of its parts (the losses of a sum), without the ``check.DEFAULTS_ADDED_LATER``."""
    neutral = check.DEFAULTS_ADDED_LATER.get(group)
    if not neutral or not isinstance(value, Mapping):
        return value
    return {k: _older(group, v) for k, v in value.items() if k not in neutral or v != neutral[k]}


def _canonical(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {str(k): _canonical(v, f"{key}.{k}") for k, v in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, list | tuple):
        return [_canonical(v, key) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key.lstrip('.')}={value}: must be a finite number")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A nested config with dotted keys: ``{"loss": {"q": 0.7}}`` is ``{"loss.q": 0.7}``."""
    found: dict[str, Any] = {}
    left = [(str(key), value) for key, value in config.items()][::-1]
    while left:  # without recursion, which a config from elsewhere could make too deep
        key, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{key}.{name}", part) for name, part in value.items()][::-1]
        else:
            found[key] = value
    return found


def run_id(identity: Mapping[str, Any]) -> str:
    """Readable label and 8 hex digits of the SHA-256 of the canonical JSON: at most 200 bytes, safe as a file name.

    Where a file lies is no part of it, if the digest of what it holds is.
    """
    names = [identity[group]["name"] for group in ("data", "model", "noise", "loss")]
    label = "-".join([*names[:3], f"{identity['rate']:g}", names[3], f"s{identity['seed']}"])
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", label)[:180].lstrip(".-")
    return f"{readable}-{hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]}"


def canonical_json(identity: Mapping[str, Any]) -> str:
    """The identity as a text that is equal for equal runs, wherever their files lie."""
    run_config = {**identity, **{group: _wherever(identity, group) for group in ("data", "noise", "model")}}
    return json.dumps(run_config, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _wherever(identity: Mapping[str, Any], group: str) -> dict[str, Any]:
    """The values of a group without the paths of files whose digests stand beside them."""
    values, known = identity[group], identity.get("contents", {})
    digests = {key: values.get("sha256" if key == "file" else f"{key}_sha256") for key in values}
    return {k: v for k, v in values.items() if f"{group}.{k}" not in known and digests[k] is None}
