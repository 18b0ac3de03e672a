"""Checks of input from outside: configured values, each with its key; classes."""

from __future__ import annotations

import contextlib
import importlib
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral, Real
from typing import Any, TypeVar

from noisygce.errors import ConfigError

T = TypeVar("T")

# Values that are younger than published runs, and what a config means that does not name them; leaves hold the same,
# but for the initial weights of ResNet-18 and -34, which are torch's default now (docs/results.md).
# Where they are so they are left out of a run's id (runs.ids); where such a config is read they are filled in.
DEFAULTS_ADDED_LATER: dict[str, dict[str, Any]] = {
    "data": {
        "folds": None,
        "fold": None,
        "verdicts": None,
        "verdicts_sha256": None,
        "rotation": 0,
        "randaugment": None,
        "cutout": 0,
    },
    "noise": {"sequential": False, "exact": False, "pixels": "raw", "key": None},
    "loss": {"clip": None, "detached": None},
    "model": {"init": "he_normal", "weights": None, "frozen": False},
    "schedule": {"annealing": "step", "clip_norm": None, "nesterov": False, "gamma": 0.1, "lr_end": 0, "ema": None},
}

_INTERVAL = re.compile(r"([\[(])\s*(\S+)\s*,\s*(\S+)\s*([\])])")


class Invalid(ConfigError, ValueError):
    """A configured value that cannot be: the key, the value, and what it may be."""

    def __init__(self, key: str, value: Any, allowed: str) -> None:
        super().__init__(key, value, allowed)  # by which it is pickled
        self.key, self.value, self.allowed = key, value, allowed

    def __str__(self) -> str:
        in_yaml = {None: "null", True: "true", False: "false"}
        shown = in_yaml[self.value] if self.value is None or isinstance(self.value, bool) else self.value
        return f"{self.key}={shown}: {self.key} must be {self.allowed}"


def _inside(value: float, interval: str) -> bool:
    """Whether ``value`` lies in an interval written as in mathematics: ``(0, 1]``, ``[1, inf)``."""
    match = _INTERVAL.fullmatch(interval)
    assert match, interval
    low, high = float(match[2]), float(match[3])
    return (value > low or (match[1] == "[" and value == low)) and (value < high or (match[4] == "]" and value == high))


def number(key: str, value: Any, interval: str) -> float:
    """A real number within ``interval``; NaN lies in none."""
    found = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not _inside(found, interval):
        raise Invalid(key, value, f"a number in {interval}")
    return found


def whole(key: str, value: Any, interval: str) -> int:
    """An integer within ``interval``; true and false are none."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not _inside(int(value), interval):
        raise Invalid(key, value, f"an integer in {interval}")
    return int(value)


def flag(key: str, value: Any) -> bool:
    """Raises Invalid unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise Invalid(key, value, "true or false")
    return value


def choice(key: str, value: Any, choices: Iterable[str]) -> str:
    """Raises Invalid, with the choices, unless ``value`` is one of them."""
    choices = tuple(choices)
    if value not in choices:
        raise Invalid(key, value, "one of " + ", ".join(choices))
    return str(value)


def or_null(kind: Callable[..., T], key: str, value: Any, *allowed: Any) -> T | None:
    """None, or a value that another check accepts: ``or_null(number, "clip", clip, "(0, 0.1]")``."""
    with or_else("or null"):
        return None if value is None else kind(key, value, *allowed)


@contextlib.contextmanager
def or_else(others: str) -> Iterator[None]:
    """Within it a refusal names the ``others`` too, values that are allowed beside those of the check."""
    try:
        yield
    except Invalid as error:
        raise Invalid(error.key, error.value, f"{error.allowed}, {others}") from None


def numbers(key: str, value: Any, interval: str) -> tuple[float, ...]:
    """A list of real numbers, each within ``interval``."""
    return tuple(number(*each, interval) for each in _items(key, value, f"numbers in {interval}"))


def wholes(key: str, value: Any, interval: str) -> tuple[int, ...]:
    """A list of integers, each within ``interval``."""
    return tuple(whole(*each, interval) for each in _items(key, value, f"integers in {interval}"))


def _items(key: str, value: Any, kind: str) -> list[tuple[str, Any]]:
    if not isinstance(value, list | tuple):
        raise Invalid(key, value, f"a list in square brackets of {kind}")
    return [(f"{key}[{i}]", each) for i, each in enumerate(value)]


def subclass(target: Any, base: type[T]) -> type[T]:
    """The class that a file names, ``package.module.Class``: a subclass of ``base``. Raises ValueError with the reason.

    Nothing of the standard library is even imported: importing some of its modules acts.
    """
    module, _, name = str(target).rpartition(".")
    refusal = f"must be a subclass of {base.__module__.removesuffix('.base')}.{base.__name__}"
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(refusal)
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs the module, which may raise anything
        raise ValueError(f"cannot be imported ({error})") from error
    if not (isinstance(found, type) and issubclass(found, base) and found is not base):
        raise ValueError(refusal)
    return found
