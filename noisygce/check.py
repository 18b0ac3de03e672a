"""Checks of what comes from outside: configured values, each with its key; classes; files, pickles, pictures."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import io
import math
import pickle
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
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
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or math.isnan(value) or not _inside(value, interval):
        raise Invalid(key, value, f"a number in {interval}")
    return float(value)


def whole(key: str, value: Any, interval: str) -> int:
    """An integer within ``interval``; true and false are none."""
    if not isinstance(value, int) or isinstance(value, bool) or not _inside(value, interval):
        raise Invalid(key, value, f"an integer in {interval}")
    return value


def flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid(key, value, "true or false")
    return value


def choice(key: str, value: Any, choices: Iterable[str]) -> str:
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


def picture(source: Any, width: int, height: int, channels: int) -> Any:
    """A picture, ``opened`` and resized, as uint8 (height, width, channels); channels: 3 for colour, 1 for grey.

    Raises what PIL raises.
    """
    import numpy as np
    from PIL import Image

    ready = opened(source).convert("RGB" if channels == 3 else "L")
    if ready.size != (width, height):
        ready = ready.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(ready, dtype=np.uint8).reshape(height, width, channels)


def opened(source: Any) -> Any:
    """A picture of PIL's, from a file or from one of them, as a person sees it: turned as its EXIF data says,
    transparent parts on white, 16 bits brought to 8, the first of several frames. Raises what PIL raises, and
    ValueError for one of floats or of 32 bits, since nothing says which of its values is white.
    """
    import numpy as np
    from PIL import Image, ImageOps

    opening = contextlib.nullcontext(source) if isinstance(source, Image.Image) else Image.open(source)
    with opening as stored:
        ready: Any = ImageOps.exif_transpose(stored)
        if _of_no_known_range(stored):
            raise ValueError("its values are floats or of 32 bits, of no known range; save it with 8 or 16 bits")
        if ready.mode.startswith("I"):  # convert would cut them off at 255
            ready = Image.fromarray((np.asarray(ready).clip(0, 65535) / 257).astype(np.uint8))
        if ready.has_transparency_data:
            ready = ready.convert("RGBA")
            ready = Image.alpha_composite(Image.new("RGBA", ready.size, "white"), ready)
        return ready


def _of_no_known_range(picture: Any) -> bool:
    """Whether a picture of PIL's holds floats or numbers of 32 bits; in mode I it may hold 16 bits too."""
    wide = picture.mode == "I" and picture.format == "TIFF" and max(picture.tag_v2.get(258, (32,))) > 16
    return picture.mode == "F" or wide  # 258: bits per sample


def no_array(error: Exception) -> str:
    """Why NumPy has read no array from a file, without NumPy's advice to unpickle the file."""
    reason = f"{error}".partition("\n")[0]
    if "pickled" in reason:  # NumPy's message for any file without its magic bytes
        return "it is not a file of NumPy's"
    if "allow_pickle" in reason or "Python objects" in reason:
        return "it holds objects; save names by np.save(file, np.array(names, dtype=str))"
    return reason or "it is empty"


def located(root: Path, name: str) -> Path:
    """Where a person's own file or folder lies: below the data ``root``, or else from the current folder."""
    here = Path(name).expanduser()
    below = root / here
    return below if below.exists() or not here.exists() else here


PLACES = "its path from here or below paths.data, or its whole path"


def not_located(key: str, name: str, root: Path, kind: str = "file") -> str:
    """The message for a file or folder that is in none of its places."""
    return f"{key}={name}: there is no such {kind} here or in paths.data={root}; give {PLACES}"


def sha256(path: Path) -> str:
    """Of the content of a file, which is read again only where it has changed. Raises OSError."""
    return _sha256(path, state(path))


@functools.lru_cache(maxsize=1000)
def _sha256(path: Path, _: tuple[Any, ...]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state(path: Path) -> tuple[Any, ...]:
    """What changes when a file does. Raises OSError."""
    found = path.stat()
    return str(path.absolute()), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def unpickled(content: bytes) -> Any:
    """What a pickle of plain values and NumPy arrays of numbers holds, strings of Python 2 as bytes.

    Nothing that a pickle may ask for is run. Raises pickle.UnpicklingError, or anything else, where it holds more.
    """
    return _Plain(io.BytesIO(content), encoding="bytes").load()


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        known = {"ndarray": np.ndarray, "_reconstruct": _empty, "dtype": _number_type}
        if module.partition(".")[0] == "numpy" and name in known:
            return known[name]
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _empty(*_: Any) -> Any:
    import numpy as np

    return np.empty(0, dtype=np.int8)  # its state follows in the pickle


def _number_type(code: str | bytes, *_: Any) -> Any:
    import numpy as np

    name = code.decode("latin1") if isinstance(code, bytes) else code
    if name not in {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)}:
        raise pickle.UnpicklingError(f"it holds an array of type {name}")
    return np.dtype(name)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}")
    return text.encode("latin1")
