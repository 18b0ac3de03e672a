"""Artifacts: the model and the predictions that a finished run keeps beside its numbers.

The model is the best one on noisy validation, or the last one where nothing is held out.

model.safetensors  see noisygce.models.load
predictions.npz    p (n, K) float16, to be shown; index, split, given, kept, predicted (n,) and the scores that rank,
                   margin_log_odds, log_p_given (n,) float32, as in training.predictions; name (n,); classes (K,)

Both are written before the manifest, which holds their sizes and digests under ``files``; a file of another digest does
not count. They may be deleted to make room: numbers do not depend on them.
"""

from __future__ import annotations

import hashlib
import io
import shlex
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noisygce import inputs, models
from noisygce.data import Arrays
from noisygce.data.base import memory_of_machine
from noisygce.errors import DataError
from noisygce.runs import atomic
from noisygce.runs.run import Run

if TYPE_CHECKING:
    from noisygce.settings import Runtime
    from noisygce.training.fit import Training
    from noisygce.training.predictions import Predictions

PREDICTIONS = "predictions.npz"
FILES = (models.saved.FILE, PREDICTIONS)
_KINDS = {**dict.fromkeys(("index", "given", "predicted"), "iu"), **dict.fromkeys(("split", "name", "classes"), "U")}
_KINDS["kept"] = "b"
_ALWAYS_UNPACKED, _DENSEST = 2**28, 64  # bytes; bytes unpacked for one packed: predictions have 2 to 20


@dataclass(frozen=True)
class StoredPredictions:
    """The arrays of a predictions.npz. name (n,): the file of each sample, empty where samples have numbers only."""

    p: NDArray[np.float16]
    index: NDArray[np.int64]
    split: NDArray[np.str_]
    given: NDArray[np.int64]
    kept: NDArray[np.bool_]
    predicted: NDArray[np.int64]
    margin_log_odds: NDArray[np.float32]
    log_p_given: NDArray[np.float32]
    name: NDArray[np.str_]
    classes: tuple[str, ...]


def write(run: Run, training: Training, runtime: Runtime, stop: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Writes the artifacts of a training that has ended, as ``runtime`` asks for; their part of the manifest: files,
    detection, calibration.

    stop: called between the batches of an evaluation; may raise.
    """
    from noisygce.training.predictions import calibrate, detect, predict

    found = predict(training, stop)
    contents: dict[str, bytes] = {}
    if runtime.keep_model == "best":
        contents[models.saved.FILE] = _model(run, training)
    if runtime.keep_predictions:
        buffer = io.BytesIO()
        known = training.task.arrays
        arrays = {**vars(found), "p": found.p.astype(np.float16), "name": _names(known, found)}
        arrays["classes"] = np.array(known.classes)
        np.savez_compressed(buffer, **arrays)
        contents[PREDICTIONS] = buffer.getvalue()
    for name in FILES:
        if name in contents:
            atomic.write(run.folder / name, [contents[name]])
        else:
            (run.folder / name).unlink(missing_ok=True)  # of an earlier start, which was asked to keep more
    return {
        "detection": detect(training, found, stop),
        "calibration": calibrate(training, stop),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    }


def _names(arrays: Arrays, found: Predictions) -> NDArray[np.str_]:
    """The name of each sample in the data set, such as its file; empty where samples have numbers only."""
    names = {"test": arrays.test_names}
    each = [names.get(split, arrays.train_names) for split in found.split]
    return np.array([of[i] if of else "" for of, i in zip(each, found.index.tolist(), strict=True)], dtype=np.str_)


def _model(run: Run, t: Training) -> bytes:
    images, (height, width), p = t.images, t.images.size, t.images.padding
    mean = images.mean if images.mean.dim() == 1 else images.mean[p : p + height, p : p + width]  # without padding
    channels, vectors = images.pixels.shape[3], images.pixels.is_floating_point()
    mean, std = images.units or (mean, images.std)
    preprocess = models.Preprocess((height, width, channels), mean.cpu(), std.cpu(), vectors)
    return models.saved.packed(t.best, preprocess, t.task.arrays.classes, run.identity, t.loss.ensemble)


def predictions(folder: Path, manifest: Mapping[str, Any]) -> StoredPredictions:
    """The predictions of the finished run in ``folder``. Raises DataError, for a file that was changed too."""
    path = folder / PREDICTIONS
    expected = manifest.get("files", {}).get(PREDICTIONS)
    if expected is None or not path.is_file():
        again = f"python -m noisygce.reproduce {shlex.quote(str(folder))} paths.results=again"
        raise DataError(
            f"{folder} holds no predictions (runtime.keep_predictions=false, or made before they were kept); "
            f"{again} trains it once more and keeps them"
        )
    content = path.read_bytes()
    if fault := _fault(path, content, expected):
        raise DataError(fault)
    try:
        _refuse_bomb(content)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in StoredPredictions.__dataclass_fields__}
        _refuse_other_shapes(found)
        return StoredPredictions(**{**found, "classes": tuple(map(str, found["classes"]))})
    except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a file of predictions kept by a run: {inputs.no_array(error)}") from None


def _refuse_bomb(content: bytes) -> None:
    """Raises ValueError for a small file that would fill the memory when it is unpacked. Names, each as wide as the
    longest, which may be a text, may do that as far as there is memory."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        sizes = {member.filename: member.file_size for member in packed.infolist()}
    names = sizes.pop("name.npy", 0)
    unpacked = sum(sizes.values())
    if unpacked > max(_ALWAYS_UNPACKED, _DENSEST * len(content)) or names > memory_of_machine():
        raise ValueError(f"its {len(content):,} bytes unpack to {(unpacked + names) / 1e6:,.0f} MB")


def _refuse_other_shapes(found: Mapping[str, NDArray[Any]]) -> None:
    """Raises ValueError for arrays that are not as ``StoredPredictions`` has them."""
    n, k = len(found["index"]), len(found["classes"])
    for name, array in found.items():
        expected = {"p": (n, k), "classes": (k,)}.get(name, (n,))
        if array.shape != expected or array.dtype.kind not in _KINDS.get(name, "f"):
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
    for name in ("given", "predicted"):
        if n and not 0 <= found[name].min() <= found[name].max() < k:
            raise ValueError(f"{name} names a class that is not there")


def faults(folder: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """How artifacts that are there differ from their entries in the manifest."""
    for name, expected in manifest.get("files", {}).items():
        path = folder / name
        if name in FILES and path.is_file() and (fault := _fault(path, path.read_bytes(), expected)):
            yield fault


def _fault(path: Path, content: bytes, expected: Any) -> str:
    """How a file is not the one that its entry in a manifest describes."""
    found, given = hashlib.sha256(content).hexdigest(), expected if isinstance(expected, Mapping) else {}
    if (found, len(content)) == (given.get("sha256"), given.get("bytes")):
        return ""
    wanted = given.get("sha256")
    return f"{path} is damaged or was changed: {len(content):,} bytes, SHA-256 {found}; {wanted} is meant"
