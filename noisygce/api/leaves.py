"""Leaves: an object, or a class, in the place of a choice of the config, such as ``loss=MyLoss(e=1.0)``.

It becomes what a YAML of its class would hold, so that a run's id is made as from that file: the class by its name, the
digest of its code, and the value of each parameter, which is the attribute of the parameter's name, as in scikit-learn.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import inspect
import json
import re
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noisygce import check, construct, settings
from noisygce.data import Data, Standardisation
from noisygce.errors import ConfigError
from noisygce.losses import Loss
from noisygce.models import Model, Timm
from noisygce.noise import Noise
from noisygce.runs.reading import yaml_values

BASES: dict[str, type] = {"data": Data, "noise": Noise, "loss": Loss, "model": Model}


_calls = Counter[tuple[str, str]]()  # that use a leaf, by group and file: each in a thread


@contextlib.contextmanager
def chosen(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The values, with the name of a choice in the place of each object; Hydra knows these choices within it alone.
    Raises ConfigError."""
    from hydra.core.config_store import ConfigStore

    store, names = ConfigStore.instance(), dict[int, str]()
    made: list[tuple[str, str]] = []  # group and file
    listed = [
        (group, value)
        for group in BASES
        for given in [values.get(group)]
        for value in (given if isinstance(given, list | tuple) else [given])
        if value is not None and not isinstance(value, str | int | float)
    ]
    try:
        for group, value in listed:
            leaf = _leaf(group, value)
            content = json.dumps(leaf, sort_keys=True)
            name = f"{leaf[group]['name']}_{hashlib.sha256(content.encode()).hexdigest()[:8]}"
            store.store(name, leaf, group, "_global_", "noisygce")
            made.append((group, f"{name}.yaml"))
            _calls[made[-1]] += 1
            names[id(value)] = name

        def named(value: Any) -> Any:
            return [*map(named, value)] if isinstance(value, list | tuple) else names.get(id(value), value)

        yield {key: named(value) if key in BASES else value for key, value in values.items()}
    finally:
        for group, file in made:
            _calls[group, file] -= 1
            if not _calls[group, file]:
                store.repo[group].pop(file, None)
                if not store.repo[group]:
                    del store.repo[group]


def _leaf(group: str, value: Any) -> dict[str, Any]:
    """What the YAML of an object, or of a class by its defaults, would hold, below its group."""
    if isinstance(value, type):
        cls = _importable(group, value, BASES[group])
        try:
            value = value()
        except TypeError as error:
            raise ConfigError(f"{group}={cls.__name__}: give an object of it, not the class ({error})") from None
    node = _node(group, value, BASES[group])
    if group == "noise" and "rate" in node:
        return {"rate": node["rate"], group: {**node, "rate": "${rate}"}}
    if group != "data":
        return {group: node}
    whole = _data(value)
    return {**whole, group: {**whole[group], **node}}


def _data(value: Any) -> dict[str, Any]:
    """What the leaf of a data set holds beside the values of its class, such as how it is split and fed: the leaf of a
    class of noisygce, else that of its kind."""
    kind = "features" if issubclass(value.fed, Standardisation) else "arrays"
    choices = _choices("data").get(_full_name(type(value)), {})
    leaf = _read("data", next(iter(choices), kind))
    if choices:
        return leaf if "data" in leaf else {"data": leaf}  # cifar10.yaml has no other group
    ours = construct.named(leaf["data"]["_target_"], Data, "data")
    for name in construct.parameters(ours):
        del leaf["data"][name]
    for name in ("mean", "std"):  # one for all channels, where these are not known before the images are read
        if name in leaf["data"] and isinstance(value.channels, int):
            leaf["data"][name] *= value.channels or 1
    return leaf


def _node(key: str, value: Any, base: type) -> dict[str, Any]:
    """Name, class and values of an object, and of the objects that it is made of. Raises ConfigError."""
    cls = _importable(key, value, base)
    given = {name: _plain(f"{key}.{name}", part, base) for name, part in _values(key, value, cls).items()}
    node = {**_called(key, cls, given), **given}
    _refuse_other(key, value, construct.build(node, base, key), given)
    return node


def _values(key: str, value: Any, cls: type) -> dict[str, Any]:
    """The values of the parameters that an id holds. Raises ConfigError where the object may have been made with
    values that it does not hold."""
    found: dict[str, Any] = {}
    younger = check.DEFAULTS_ADDED_LATER.get(key.partition(".")[0], {})
    own = cls.__init__ is not object.__init__  # type: ignore[misc]
    for name, parameter in [*inspect.signature(cls.__init__).parameters.items()][1:] if own else ():  # type: ignore[misc]
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ConfigError(
                f"{key}={cls.__name__}: a run's id would not hold the values of its parameter {parameter}; give each "
                "of its parameters a name, by which it can be given"
            )
        if not hasattr(value, name):
            raise ConfigError(
                f"{key}={cls.__name__}: it has no attribute {name}, by which the run's id would know the value of that "
                "parameter"
            )
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD or name in younger:
            found[name] = getattr(value, name)
        elif name not in ("reduction", "ignore_index"):
            raise ConfigError(
                f"{key}={cls.__name__}: a run's id would not hold the value of its parameter {name}, which can only be "
                "given by keyword; put it before the * of the constructor"
            )
        elif getattr(value, name) != parameter.default:
            raise ConfigError(
                f"{key}={cls.__name__}: a run trains on the mean over all samples of a batch; leave out "
                f"{name}={getattr(value, name)!r}"
            )
    return found


def _refuse_other(key: str, value: Any, remade: Any, given: Mapping[str, Any]) -> None:
    """Raises ConfigError where an object that is made of the given values is not the one that they were taken from."""
    public = [name for name in vars(value) if not name.startswith("_") and hasattr(remade, name)]
    for name in dict.fromkeys([*given, *public]):
        here, there = (_text(getattr(each, name, None)) for each in (value, remade))
        if here and there and here != there and name != "training":  # of a torch.nn.Module
            raise ConfigError(
                f"{key}={type(value).__name__}: its attribute {name} is {here}, and {there} in an object that is made "
                f"with {', '.join(f'{each}={given[each]!r}' for each in given) or 'no values'}; keep each parameter as "
                "it was given, in the attribute of its name"
            )


def _text(value: Any) -> str:
    """Numbers, texts and lists of them as JSON; empty for anything else."""
    try:
        return json.dumps(value, default=lambda each: each.tolist(), sort_keys=True)
    except (AttributeError, TypeError, ValueError):
        return ""


def _plain(key: str, value: Any, base: type) -> Any:
    if isinstance(value, base):
        return _node(key, value, base)
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return [_plain(key, each, base) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise ConfigError(f"{key}={value!r}: a run's id can hold numbers, texts and lists of them, and no such object")


def _importable(key: str, value: Any, base: type) -> type:
    """The class of an object, under the name by which any other process finds it. Raises ConfigError."""
    cls: type = value if isinstance(value, type) else getattr(value, "made_of", type(value))  # of a loss: as written
    if not issubclass(cls, base):
        room = base.__module__.removesuffix(".base")
        files = "; arrays are files: data='features' or data='arrays'" if base is Data else ""
        raise ConfigError(
            f"{key}={reprlib.repr(value)}: must be the name of a choice, or a {room}.{base.__name__}{files}"
        )
    target = _full_name(cls)
    if cls.__module__ == "__main__":
        raise ConfigError(
            f"{key}={cls.__name__}: a run's id holds the digest of its code, and it is written in a notebook cell or "
            "in the script itself; put it into a .py file of its own and import it from there"
        )
    if "." in cls.__qualname__:
        where = "a function" if "<locals>" in target else "another class"
        raise ConfigError(
            f"{key}={cls.__name__}: it is written in {where}, and a class must be at the top level of a module, where "
            "another process finds it; put it into a .py file of its own and import it from there"
        )
    found = getattr(importlib.import_module(cls.__module__), cls.__name__, None)
    if found is not cls:
        raise ConfigError(
            f"{key}={cls.__name__}: {target} is another class by now; import it, and make the object, again"
        )
    return cls


def _called(key: str, cls: type, given: Mapping[str, Any]) -> dict[str, str]:
    """name and ``_target_`` of an object with the given values: those of noisygce's choice, where it has one of this
    class, or one of several with these values; else those of the class."""
    written = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()[:40]
    leaves = [*_choices(key.partition(".")[0]).get(_full_name(cls), {}).values()]
    target = leaves[0]["_target_"] if leaves else _full_name(cls)
    if cls is Timm:
        return {"name": given["architecture"], "_target_": target}
    fits = leaves if len(leaves) == 1 else [leaf for leaf in leaves if _has_values(leaf, given)]
    return {"name": fits[0]["name"] if fits else written, "_target_": target}


def _has_values(leaf: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Whether an object has the values that a leaf fixes, and is made of the choices that its defaults name."""
    fixed = {k: v for k, v in leaf.items() if k in given and "${" not in str(v) and not isinstance(v, Mapping)}
    parts = [str(each).partition("@")[::2] for each in leaf.get("defaults", ())]
    fixed |= {place: choice for choice, place in parts if place}
    return all((given[k]["name"] if isinstance(given[k], Mapping) else given[k]) == v for k, v in fixed.items())


@functools.cache
def _choices(group: str) -> dict[str, dict[str, dict[str, Any]]]:
    """noisygce's own leaves of a group, by class and choice."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted((settings.config_dir() / group).glob("*.yaml")):
        leaf = _read(group, path.stem)
        leaf = leaf.get(group, leaf)
        cls: type = construct.named(leaf["_target_"], BASES[group], group)
        found.setdefault(_full_name(cls), {})[path.stem] = leaf
    return found


def _read(group: str, choice: str) -> dict[str, Any]:
    leaf: dict[str, Any] = yaml_values((settings.config_dir() / group / f"{choice}.yaml").read_text())
    return leaf


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
