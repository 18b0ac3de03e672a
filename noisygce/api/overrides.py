"""Values of Python as overrides of Hydra, so that Python and the command line have one meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from noisygce import settings
from noisygce.errors import ConfigError
from noisygce.settings import arguments
from noisygce.settings.compose import GROUPS, VALUES, parsed

_SEVERAL = (list, tuple, range)


def overrides_of(given: Sequence[str], values: Mapping[str, Any], swept: bool) -> list[str]:
    """The overrides ``given``, and ``KEY=VALUE`` for each of the values. swept: a list is several values to train with,
    else it is one value. Raises ConfigError."""
    overrides = arguments.words(given)
    for word in overrides:
        if word.startswith("-"):
            raise ConfigError(f"{word}: options are for the command line; noisygce.grid trains what -m does")
    for key, value in values.items():
        if getattr(value, "ndim", 0) > 1:
            raise ConfigError(f"{key}: an array of shape {tuple(value.shape)}; numpy.save it and give the file's name")
        value = _of_python(value)
        if not isinstance(value, _SEVERAL):
            overrides.append(f"{key}={_literal(key, value)}")
        elif swept and not len(value):
            raise ConfigError(f"{key}=[]: no value to train with; [[]] is one value, an empty list")
        elif swept:
            overrides.append(f"{key}={','.join(_literal(key, each) for each in value)}")
        elif key in (*GROUPS, *VALUES):
            raise ConfigError(f"{key}: a run has one {key}; noisygce.grid trains a run for each value of a list")
        else:
            overrides.append(f"{key}={_literal(key, value)}")
    parsed(overrides)
    return overrides


def _literal(key: str, value: Any) -> str:
    """A value in Hydra's grammar: a number, a text, a Boolean, None, a path, or a list or mapping of them. Raises
    ConfigError."""
    value = _of_python(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, str | Path):
        return settings.setting(key, str(value)).partition("=")[2]
    if isinstance(value, _SEVERAL):
        return f"[{','.join(_literal(key, each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{name}:{_literal(key, each)}' for name, each in value.items())}}}"
    raise ConfigError(f"{key}={value!r}: must be a number, a text, a list or mapping of them, True, False or None")


def _of_python(value: Any) -> Any:
    """A value of NumPy or torch as Python's own, a float as a person would type it: of 32 bits and less by the fewest
    digits that give it, of 64 bits to 12 digits, as those of a range on the command line. So 0.1 is 0.1."""
    if not hasattr(value, "tolist"):
        return value
    import numpy as np

    kind = getattr(np, str(getattr(value, "dtype", "")).removeprefix("torch."), None)

    def typed(part: Any) -> Any:
        if isinstance(part, list):
            return [typed(each) for each in part]
        if not isinstance(part, float):
            return part
        return float(str(kind(part)) if kind in (np.float16, np.float32) else f"{part:.12g}")

    return typed(value.tolist())
