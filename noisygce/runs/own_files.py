"""A person's own code and files: what of them shapes a run, by digests, and whether it has changed since."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from noisygce.data import Data
from noisygce.errors import ConfigError, DataError, UserCodeError, defined
from noisygce.models import Model
from noisygce.noise import Noise


def targets(value: Any) -> Iterator[str]:
    """The names of all classes that a config takes its objects from, in its lists too."""
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    if isinstance(value, Mapping) and "_target_" in value:
        yield str(value["_target_"])
    for part in parts:
        yield from targets(part)


def user_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """``code``: the SHA-256 of each module outside this package that the config takes a class from, and of the modules
    beside it that it imports, directly or not; else nothing.

    NUMERICS stands for our own code; a person's loss that has been edited must not pass for the one before. Raises
    ConfigError where such a module is no file that can be read.
    """
    found: dict[str, Any] = {}
    for target in targets(config):
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


def changed(
    identity: Mapping[str, Any], data: Data, root: Path, model: Model | None = None, noise: Noise | None = None
) -> str:
    """What of a person's own data, of the weights that a model starts from, and of what a noise reads, is not what a
    run was trained on, such as ``data.labels=y.npy``; empty for nothing. Raises DataError or OSError."""
    known = identity.get("contents", {})
    found = {f"data.{key}": digest for key, digest in data.contents(root).items()}
    found |= {f"model.{key}": digest for key, digest in model.contents().items()} if model else {}
    found |= {f"noise.{key}": digest for key, digest in noise.contents(root).items()} if noise else {}
    other = [key for key in found if found[key][:16] != known.get(key)]
    if not known or not other:
        return ""
    group, _, name = other[0].partition(".")
    return f"{other[0]}={identity[group].get(name)}"


def moved(identity: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The identity of a run whose own files lie elsewhere now, by words such as data.folder=/new/place. Raises
    ConfigError for a key that names none of them; their digests tell whether they hold the same."""
    from noisygce.settings.compose import parsed

    found = {group: dict(identity[group]) for group in ("data", "noise", "model")}
    known = {*identity.get("contents", {})}
    for group, values in found.items():
        known |= {f"{group}.{key}" for key in values if values.get("sha256" if key == "file" else f"{key}_sha256")}
    for override in parsed(list(words)):
        group, _, name = override.key_or_group.partition(".")
        if override.key_or_group not in known:
            there = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"{override.input_line}: it names no file of the run; there are: {there}")
        found[group][name] = override.value()
    return {**identity, **found}
