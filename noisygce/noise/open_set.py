"""Images of none of the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from noisygce.cifar import CLASSES
from noisygce.errors import ConfigError
from noisygce.noise.base import Images, Labels, Matrix, Noise, uniforms

_WHETHER, _WHICH = 4, 5  # purposes of draws


class OpenSet(Noise):
    """Open-set noise: with probability r an image is replaced by one of CIFAR-100, its label is kept.

    Zhang & Sabuncu 2018, section 4 (arXiv 1805.07836), for CIFAR-10. T = I. A replaced image has the true label -1, so
    that reports count it as mislabelled and every prediction for it as wrong.
    """

    files = ("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta")

    def fits(self, classes: Sequence[str], side: int, channels: int) -> None:
        if (side or 32, channels or 3) != (32, 3):
            raise ConfigError(
                f"noise=open_set: images must be (32, 32, 3) as CIFAR-100's, not ({side}, {side}, {channels or '?'})"
            )
        if {*classes} & CLASSES["cifar100"]:
            raise ConfigError(
                "noise=open_set: images of CIFAR-100 are of its own classes on data=cifar100; take another"
            )

    def transition(self, classes: Sequence[str]) -> Matrix:
        return np.eye(len(classes))

    def replace(self, images: Images, labels: Labels, others: Callable[[], Images], seed: int) -> tuple[Images, Labels]:
        source = others()
        if images.shape[1:] != source.shape[1:]:
            raise ConfigError(
                f"noise=open_set: images must be {source.shape[1:]} as CIFAR-100's, not {images.shape[1:]}"
            )
        foreign = uniforms(len(labels), seed, _WHETHER) < self.rate
        which = (uniforms(len(labels), seed, _WHICH) * len(source)).astype(np.int64)
        images[foreign], labels[foreign] = source[which[foreign]], -1
        return images, labels
