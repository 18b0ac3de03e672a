"""Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from noisygce.data.base import Arrays
from noisygce.data.published import Published


class FashionMnist(Published):
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 60,000 + 10,000 grey images of 28x28, 10 classes."""

    full, channels, side, torchvision = 60_000, 1, 28, "FashionMNIST"
    files = {  # MD5 of the unpacked files; torchvision checks the packed ones
        "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }
    # Published as "T-shirt/top" and "Ankle boot": names go into noise=class_map, where these are awkward to type.
    classes = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")

    def _arrays(self, content: Mapping[str, bytes]) -> Arrays:
        # IDX: a header of 16 bytes before images, of 8 before labels, then a byte a pixel or label.
        train, labels, test, test_labels = (np.frombuffer(part, dtype=np.uint8) for part in content.values())
        return Arrays(
            train[16:].reshape(-1, 28, 28, 1).copy(),
            labels[8:].astype(np.int64),
            test[16:].reshape(-1, 28, 28, 1).copy(),
            test_labels[8:].astype(np.int64),
            self.classes,
        )
