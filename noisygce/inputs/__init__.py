"""Files of people: where they lie, their digests, and what their pictures, arrays and pickles hold.

tables.py  their CSV files
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

from noisygce.errors import DataError


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
    ValueError for one of floats, of 32 bits or of signed numbers, since nothing says which of its values is white.
    """
    import numpy as np
    from PIL import Image, ImageOps

    opening = contextlib.nullcontext(source) if isinstance(source, Image.Image) else Image.open(source)
    with opening as stored:
        ready: Any = ImageOps.exif_transpose(stored)
        if _of_no_known_range(stored):
            raise ValueError("its values are floats, signed or of 32 bits: of no known range; save it in 8 or 16 bits")
        if ready.mode.startswith("I"):  # convert would cut them off at 255
            ready = Image.fromarray((np.asarray(ready).clip(0, 65535) / 257).astype(np.uint8))
        if ready.has_transparency_data:
            ready = ready.convert("RGBA")
            ready = Image.alpha_composite(Image.new("RGBA", ready.size, "white"), ready)
        return ready


def _of_no_known_range(picture: Any) -> bool:
    """Whether a picture of PIL's holds floats, or a TIFF file signed numbers or such of 32 bits (mode I, in which other
    formats hold 16 bits)."""
    return picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF")


def no_array(error: Exception) -> str:
    """Why NumPy has read no array from a file, without NumPy's advice to unpickle the file."""
    reason = f"{error}".partition("\n")[0]
    if "pickled" in reason:  # NumPy's message for any file without its magic bytes
        return "it is not a file of NumPy's"
    if "allow_pickle" in reason or "Python objects" in reason:
        return "it holds objects; save names by np.save(file, np.array(names, dtype=str))"
    return reason or "it is empty"


def located(root: Path, name: str) -> Path:
    """Where a person's own file or folder lies: below the data ``root``, or else from the current folder. Raises
    DataError where both are there and differ."""
    here = Path(name).expanduser()
    below = root / here
    if below.exists() and here.exists() and not below.samefile(here):
        both = f"{here.absolute()} and {below.absolute()}"
        if not (below.is_file() and here.is_file()) or sha256(below) != sha256(here):
            raise DataError(f"{name} is both {both}; give the whole path of one, or another paths.data")
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
