"""A person's own images as arrays: .npy files, or one .npz."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from noisygce import check, inputs
from noisygce.data.base import Arrays
from noisygce.data.own_files import OwnFiles, array, as_bytes, labels_of, numbered, texts
from noisygce.errors import DataError

log = logging.getLogger("noisygce")

LAYOUTS = ("NHWC", "NCHW")
# What the arrays of an .npz may be called: plainly, as by Keras, as by MedMNIST.
NAMES = {
    "images": ("images", "train_images", "x_train"),
    "labels": ("labels", "train_labels", "y_train"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
}


class ImageArrays(OwnFiles):
    """N images, uint8, (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, and their labels. Nothing is known of
    which labels are true.

    images: an .npy file; or an .npz file, which is a whole data set, with labels and, where there are any, test images
    and labels, called as in ``NAMES``. labels: an .npy file, (N,), of integers or names, or a CSV whose last column
    they are, as of ``Features``; null where images is an .npz. test_images, test_labels: of a test set, in the same
    way; null: there is none. layout: NHWC or NCHW; null: the one in which C is 1 or 3, which a run logs.
    """

    largest = ("images", "images", "save smaller images")

    def __init__(
        self,
        images: str | None,
        labels: str | None,
        test_images: str | None,
        test_labels: str | None,
        layout: str | None,
    ) -> None:
        if not isinstance(images, str) or not images:
            allowed = f"an .npy file of N images, or an .npz of a whole data set: {inputs.PLACES}"
            raise check.Invalid("images", images, allowed)
        whole = images.lower().endswith(".npz")
        for key, value in (("labels", labels), ("test_images", test_images), ("test_labels", test_labels)):
            if whole and value is not None:
                raise check.Invalid(key, value, "null where data.images is an .npz, which holds all of the data set")
        if not whole and (not isinstance(labels, str) or not labels):
            raise check.Invalid("labels", labels, f"an .npy or .csv file: {inputs.PLACES}")
        if (test_images is None) != (test_labels is None):
            raise check.Invalid("test_images", test_images, "null where data.test_labels is, and only there")
        self.images, self.labels, self.test_images, self.test_labels = images, labels, test_images, test_labels
        self.layout = check.or_null(check.choice, "layout", layout, LAYOUTS)

    def _files(self, root: Path) -> dict[str, Path]:
        return {key: path for key, path in super()._files(root).items() if key != "layout"}

    def _read(self, root: Path) -> Arrays:
        files = self._files(root)
        where: dict[str, Any] = {key: files.get(key, files["images"]) for key in NAMES}
        if self.labels is None:
            found = _of_npz(files["images"])
        else:
            found = {key: array(files[key]) for key in ("images", "test_images") if key in files}
        train = self._images(found["images"], where["images"])
        test = self._images(found["test_images"], where["test_images"]) if "test_images" in found else train[:0]
        if test.shape[1:] != train.shape[1:]:
            raise DataError(f"{where['test_images']}: test images are {_sizes(test)}, training images {_sizes(train)}")
        counts = {"labels": len(train), "test_labels": len(test)}
        if self.labels is None:
            given = {key: texts(found[key], n, where[key]) for key, n in counts.items() if key in found}
        else:
            given = {key: labels_of(files[key], n) for key, n in counts.items() if key in files}
        classes, labels, test_labels = numbered(
            given["labels"], given.get("test_labels", []), where["labels"], where["test_labels"]
        )
        return Arrays(train, labels, test, test_labels, classes, False)

    def _images(self, found: NDArray[Any], where: Path) -> NDArray[np.uint8]:
        """Images (N, H, W, C), whatever the layout of the file. Raises DataError."""
        if found.dtype != np.uint8 or found.ndim not in (3, 4) or not found.size:
            raise DataError(
                f"{where} must hold uint8 images (N, H, W), (N, H, W, C) or (N, C, H, W); it holds {found.dtype} of "
                f"shape {found.shape}{as_bytes(found)}"
            )
        if found.ndim == 3:
            layout, images = "NHW", found[..., None]
        else:
            fits = {"NHWC": found.shape[3] in (1, 3), "NCHW": found.shape[1] in (1, 3)}
            either = [each for each in LAYOUTS if fits[each] and self.layout in (None, each)]
            if len(either) != 1:
                reason = "either layout fits" if either else "C must be 1 or 3"
                raise DataError(f"{where} has the shape {found.shape}: {reason}; data.layout=NHWC or NCHW says which")
            layout, images = either[0], found if either[0] == "NHWC" else found.transpose(0, 2, 3, 1)
        log.info(f"{where.name}: {len(images):,} images {_sizes(images)}, read as {layout}")
        ready: NDArray[np.uint8] = np.array(images, order="C")  # in memory
        return ready


def _sizes(images: NDArray[Any]) -> str:
    height, width, channels = images.shape[1:]
    return f"of {height} x {width} in {'colour' if channels == 3 else 'grey'}"


def _of_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz that make a data set, by what they are; each label (N, 1), as of MedMNIST, as (N,)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            chosen = {key: [name for name in names if name in archive.files] for key, names in NAMES.items()}
            for key, names in chosen.items():
                if len(names) > 1 or (not names and not key.startswith("test_")):
                    which = (
                        f"{' and '.join(names)} may be" if names else f"none of {', '.join(NAMES[key])} is there for"
                    )
                    raise DataError(f"{path} holds {', '.join(archive.files)}: {which} its {key}")
            if bool(chosen["test_images"]) != bool(chosen["test_labels"]):
                raise DataError(f"{path} holds {', '.join(archive.files)}: test images and test labels go together")
            used = {key: names[0] for key, names in chosen.items() if names}
            if left := [name for name in archive.files if name not in used.values()]:
                log.warning(f"{path.name}: left out: {', '.join(left)}")
            found = {key: archive[name] for key, name in used.items()}
    except (OSError, ValueError, EOFError, BadZipFile, TypeError, zlib.error) as error:
        raise DataError(f"{path} is not an .npz file of arrays: {inputs.no_array(error)}") from None
    return {
        key: each[:, 0] if key.endswith("labels") and each.shape[1:] == (1,) else each for key, each in found.items()
    }
