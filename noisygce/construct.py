"""Objects from plain values that name their class, as config leaves and kept models hold them.

Not ``hydra.utils.instantiate``, which calls whatever a file names.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from noisygce import check
from noisygce.errors import ConfigError, MissingCode, UserCodeError, defined, user_code_error

T = TypeVar("T")

_MOVED = {"noisygce.folder.Folder": "noisygce.data.folder.Folder"}  # configs and run IDs keep the old names


_ASKED_FOR = ("_layers", "_read")  # of a person's own class, by pages of the docs


def named(target: Any, base: type[T], key: str) -> type[T]:
    """The class that a config names as ``KEY._target_``: a subclass of ``base``. Raises ConfigError."""
    try:
        cls = check.subclass(_MOVED.get(str(target), str(target)), base)
    except ValueError as error:
        cause = error.__cause__
        user_error = user_code_error(cause) if cause else None
        reason = f"cannot be imported ({user_error})" if user_error else f"{error}"
        said = f"{key}._target_={target}: {reason}"
        if isinstance(cause, ModuleNotFoundError) and cause.name == str(target).partition(".")[0]:
            hint = "start in the folder that holds it, or name that in PYTHONPATH"
            raise MissingCode(f"{said}; {hint}") from None
        raise ConfigError(said) from None
    if not cls.__module__.startswith("noisygce."):
        _refuse_other_signatures(cls, base)
    return cls


def _refuse_other_signatures(cls: type, base: type) -> None:
    """Raises UserCodeError where a person's own class has a method that cannot be called as that of ``base``."""
    for name, method in vars(base).items():
        theirs = inspect.getattr_static(cls, name)
        if (
            (name.startswith("_") and name not in _ASKED_FOR)
            or name == "forward"
            or theirs is method
            or not (inspect.isfunction(method) and inspect.isfunction(theirs))
        ):
            continue
        asked = [p for p in inspect.signature(method).parameters.values() if p.kind is not p.VAR_KEYWORD]
        by_name = {p.name: None for p in asked if p.kind is p.KEYWORD_ONLY}
        try:
            inspect.signature(theirs).bind(*[p for p in asked if p.name not in by_name], **by_name)
        except TypeError:
            wanted, found = (_names(each) for each in (method, theirs))
            raise UserCodeError(f"{defined(cls)}: {name} must take ({wanted}), not ({found})") from None


def _names(function: Any) -> str:
    """The parameters of a method as one writes them, without annotations."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))[1:-1]


def build(values: Mapping[str, Any], base: type[T], key: str, ignore: Collection[str] = ()) -> T:
    """An object of the class that the values name, a subclass of ``base``; a value that names a class, such as a loss
    of a sum, is built first, in the same way.

    key: of the values in a config. ignore: values that are not the object's. Raises ConfigError, with the full key
    where a value is invalid.
    """
    cls = named(values.get("_target_"), base, key)
    name = values.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,40}", name):
        shown = "null" if name is None else name
        raise ConfigError(f"{key}.name={shown}: must be 1 to 40 letters, digits or underscores")
    built = {
        part: build(value, base, f"{key}.{part}") if isinstance(value, Mapping) and "_target_" in value else value
        for part, value in values.items()
    }
    return construct(cls, built, key, ("_target_", "name", *ignore))


def construct(cls: type[T], values: Any, key: str, ignore: Collection[str] = (), **facts: Any) -> T:
    """``cls(**values, **facts)``, for exactly the values that the class must be configured with; values that are
    younger than published runs (check.DEFAULTS_ADDED_LATER) may be absent. Raises as ``build`` does."""
    if not isinstance(values, Mapping):
        listed = ", ".join(f"{key}.{name}" for name in parameters(cls))
        raise ConfigError(f"{key}={values}: {key} is a group of values: {listed}")
    accepted = inspect.signature(cls).parameters
    later = check.DEFAULTS_ADDED_LATER.get(key.partition(".")[0], {})
    defaults = {name: value for name, value in later.items() if name in accepted}
    needed = dict.fromkeys((*parameters(cls), *defaults))
    given = defaults | {name: value for name, value in values.items() if name not in ignore}
    for name in [name for name in given if name not in needed]:
        names = [f"{key}.{each}" for each in (*needed, *ignore) if each not in ("_target_", "name")]
        listed = ", ".join(names) or "no values"
        raise ConfigError(f"{key}.{name}={given[name]}: {cls.__name__} has no such value; it has {listed}")
    for name in [name for name in needed if name not in given]:
        raise ConfigError(f"{key}.{name} is missing: {cls.__name__} needs it")
    try:
        make = getattr(cls, "from_config", cls)  # a loss is then no torch.nn.Module
        found: T = make(**given, **facts)
        return found
    except check.Invalid as error:
        raise check.Invalid(f"{key}.{error.key}", error.value, error.allowed) from None
    except Exception as error:
        raise user_code_error(error) or error from None


def parameters(cls: type) -> list[str]:
    """The values that a class must be configured with, whatever their defaults in code: all parameters that may be
    given by position."""
    return [p.name for p in inspect.signature(cls).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
