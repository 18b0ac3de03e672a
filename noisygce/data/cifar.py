"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from noisygce import inputs
from noisygce.cifar import CLASSES
from noisygce.data.base import Arrays, Ints
from noisygce.data.published import Published


class Cifar10(Published):
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32, 10 classes."""

    full, channels, side, torchvision = 50_000, 3, 32, "CIFAR10"
    classes: ClassVar[tuple[str, ...]] = tuple(sorted(CLASSES["cifar10"]))
    files = {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    }
    _labels, _classes = "labels", "label_names"  # as its files call them

    def _arrays(self, content: Mapping[str, bytes]) -> Arrays:
        *train, test, meta = (inputs.unpickled(part) for part in content.values())
        names = meta[self._classes.encode()]
        return Arrays(*self._part(train), *self._part([test]), tuple(name.decode() for name in names))

    def _part(self, files: list[dict[bytes, object]]) -> tuple[NDArray[np.uint8], Ints]:
        rows = np.concatenate([np.asarray(file[b"data"], dtype=np.uint8) for file in files])
        labels = np.concatenate([np.asarray(file[self._labels.encode()], dtype=np.int64) for file in files])
        return np.stack(np.split(rows, 3, axis=1), axis=-1).reshape(-1, 32, 32, 3), labels  # channels come last


class Cifar100(Cifar10):
    """CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32, 100 classes."""

    torchvision = "CIFAR100"
    classes = tuple(sorted(CLASSES["cifar100"]))
    files = {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    }
    _labels, _classes = "fine_labels", "fine_label_names"
