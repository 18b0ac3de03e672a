"""Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noisygce.data.base import Arrays, Data, quiet


class FashionMnist(Data):
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 60,000 + 10,000 grey images of 28x28, 10 classes."""

    full, channels = 60_000, 1
    files = {  # MD5 of the unpacked files; torchvision checks the packed ones
        f"FashionMNIST/raw/{name}": md5
        for name, md5 in {
            "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
            "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
            "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
        }.items()
    }

    def _fetch(self, root: Path) -> None:
        from torchvision.datasets import FashionMNIST

        with quiet():
            FashionMNIST(root, download=True)

    def _read(self, root: Path) -> Arrays:
        from torchvision.datasets import FashionMNIST

        train, test = (FashionMNIST(root, train=part) for part in (True, False))
        # The class names go into noise=class_map, where a slash would be awkward to type.
        names = tuple(name.replace("T-shirt/top", "T-shirt").replace("Ankle boot", "Boot") for name in train.classes)
        return Arrays(
            train.data.numpy()[..., None],
            train.targets.numpy().astype(np.int64),
            test.data.numpy()[..., None],
            test.targets.numpy().astype(np.int64),
            names,
        )
