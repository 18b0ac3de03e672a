"""Ids: what shapes the numbers of a run, and the id that is made from it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noisygce import check
from noisygce.data import Data
from noisygce.errors import ConfigError, DataError, UserCodeError, defined
from noisygce.models import Model
from noisygce.noise import Noise

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
    found = {name: REVISIONS[name] for name in _targets(config) if name in REVISIONS}
    return {"revisions": dict(sorted(found.items()))} if found else {}


def older(identity: Mapping[str, Any], *groups: str) -> str:
    """The class of these groups of a run that has had another revision when the run was made, and both; or nothing."""
    then = identity.get("revisions", {})
    for name in _targets([identity[group] for group in groups]):
        if then.get(name, 1) != REVISIONS.get(name, 1):
            return f"revision {then.get(name, 1)} of {name}, this code has {REVISIONS.get(name, 1)}"
    return ""


def _targets(value: Any) -> Iterator[str]:
    """The names of all classes that a config takes its objects from, in its lists too."""
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    if isinstance(value, Mapping) and "_target_" in value:
        yield str(value["_target_"])
    for part in parts:
        yield from _targets(part)


def _older(group: str, value: Any) -> Any:
    """A group of values, and of its parts (the losses of a sum), without the ``check.DEFAULTS_ADDED_LATER``."""
    neutral = check.DEFAULTS_ADDED_LATER.get(group)
    if not neutral or not isinstance(value, Mapping):
        return value
    return {k: _older(group, v) for k, v in value.items() if k not in neutral or v != neutral[k]}


def user_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """``code``: the SHA-256 of each module outside this package that the config takes a class from, and of the modules
    beside it that it imports, directly or not; else nothing.

    NUMERICS stands for our own code; a person's loss that has been edited must not pass for the one before. Raises
    ConfigError where such a module is no file that can be read.
    """
    found: dict[str, Any] = {}
    for target in _targets(config):
        module = target.rpartition(".")[0]
        if module.partition(".")[0] not in ("noisygce", ""):
            try:
                spec = importlib.util.find_spec(module)
                if spec is None or spec.origin is None:
                    raise ImportError(f"no file holds {module}")
                found |= _with_imported(module, Path(spec.origin))
            except (ImportError, ValueError, OSError) as error:
                raise ConfigError(
                    f"{target}: the code of this class cannot be read ({error}), and a run's id holds its digest; "
                    "put it into a .py file"
                ) from None
    return {"code": {name: digest[:16] for name, digest in sorted(found.items())}} if found else {}


def _with_imported(module: str, path: Path) -> dict[str, str]:
    """SHA-256 by name of a module and of what it imports from the same place, found without importing anything.

    The same place: the folder that the import path names, or, of an installed package, that package.
    """
    root = path.parents[module.count(".") + (path.name == "__init__.py")]
    installed = {"site-packages", "dist-packages"} & {*root.parts}
    own = module.partition(".")[0]
    found: dict[str, str] = {}
    left = [(module, path)]
    while left:
        name, file = left.pop()
        content = file.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
        for other in {*_imports(name, file, content)} - {*found}:
            top, stem = other.partition(".")[0], root.joinpath(*other.split("."))
            if top == "noisygce" or (installed and top != own):
                continue
            places = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))  # in the order that Python looks
            left += [(other, place) for place in places if _there(place, root)][:1]
    return found


def _there(file: Path, root: Path) -> bool:
    """Whether a file is there, below ``root``, under this very name: not every file system tells a from A."""
    parts = [file, *(parent for parent in file.parents if root in parent.parents)]
    return file.is_file() and all(part.name in os.listdir(part.parent) for part in parts)


def _imports(name: str, file: Path, content: bytes) -> Iterator[str]:
    """The modules that a module's text may import, and the packages that it is in, by their whole names."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    yield from (".".join(package[:depth]) for depth in range(1, len(package) + 1))
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # importing it raises the error
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)
            yield from [".".join(base)] if base else []


def user_data(config: Mapping[str, Any]) -> dict[str, Any]:
    """``contents``: the SHA-256 of a person's own files and of weights to start from, by the value that names them, and
    the version of a package that makes the network; or nothing, where there are none. Raises ConfigError or DataError
    where any cannot be read."""
    from noisygce import settings

    node, root = config.get("data"), config.get("paths", {}).get("data")
    if not root or not isinstance(node, Mapping) or "_target_" not in node:
        return {}
    data = settings.build_data(settings.node(node))[0]
    model = settings.build(settings.node(config["model"]), Model, "model")
    root, noise = Path(root).expanduser(), config.get("noise", {})
    try:
        found = _digests("data", data, root) | _digests("model", model)
        if not str(noise.get("_target_", "noisygce.")).startswith("noisygce."):
            own = settings.build(settings.node(noise), Noise, "noise")
            found |= _digests("noise", own, root)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror or error}") from None
    return {"contents": {key: digest[:16] for key, digest in sorted(found.items())}} if found else {}


def _digests(group: str, of: Any, *where: Path) -> dict[str, str]:
    """The ``contents`` of an object, by whole keys. Raises UserCodeError where they are no texts."""
    found = {f"{group}.{key}": digest for key, digest in of.contents(*where).items()}
    if other := [digest for digest in found.values() if not isinstance(digest, str)]:
        raise UserCodeError(
            f"{defined(type(of))}: contents must give a text for each key, such as its SHA-256, not {other[0]!r}"
        )
    return found


def changed(identity: Mapping[str, Any], data: Data, root: Path, model: Model | None = None) -> str:
    """What of a person's own data, and of the weights that a model starts from, is not what a run was trained on, such
    as ``data.labels=y.npy``; empty for nothing. Raises DataError or OSError."""
    known = identity.get("contents", {})
    found = {f"data.{key}": digest for key, digest in data.contents(root).items()}
    found |= {f"model.{key}": digest for key, digest in model.contents().items()} if model else {}
    other = [key for key in found if found[key][:16] != known.get(key)]
    if not known or not other:
        return ""
    group, _, name = other[0].partition(".")
    return f"{other[0]}={identity[group].get(name)}"


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
