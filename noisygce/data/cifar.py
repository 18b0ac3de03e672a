"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from noisygce.data.base import Arrays, Data, quiet


class Cifar10(Data):
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32, 10 classes."""

    full, channels = 50_000, 3
    files = {
        f"cifar-10-batches-py/{name}": md5
        for name, md5 in {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        }.items()
    }

    def _torchvision(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10

    def _fetch(self, root: Path) -> None:
        with quiet():
            self._torchvision()(root, download=True)

    def _read(self, root: Path) -> Arrays:
        train, test = (self._torchvision()(root, train=part) for part in (True, False))
        return Arrays(
            train.data, np.asarray(train.targets), test.data, np.asarray(test.targets), tuple(map(str, train.classes))
        )


class Cifar100(Cifar10):
    """CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 colour images of 32x32, 100 classes."""

    files = {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    }

    def _torchvision(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100
