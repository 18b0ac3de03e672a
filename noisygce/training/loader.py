"""The batches of an epoch: order, corner, mirror and other draws of each image.

They are a pure function of (seed, epoch, index), the same on every device, so that stopping, evaluating or running
beside another run changes no bit.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from noisygce.training.augment import OPERATIONS
from noisygce.training.images import ANGLES, BatchSpec, Images
from noisygce.training.philox import below, beta, philox

_ORDER, _AUGMENT, _MIX = 4, 5, 6  # keep their draws apart from those of other purposes (docs/protocol.md, Randomness)


class Loader:
    """The augmented training batches of each epoch.

    views: V, how often each image is seen in its batch. mixup: alpha > 0 mixes images in pairs with weights of
    Beta(alpha, alpha), one for each batch; 0 does not.
    """

    def __init__(
        self, images: Images, train: Tensor, batch_size: int, seed: int, views: int = 1, mixup: float = 0.0
    ) -> None:
        self.images, self.views, self.mixup = images, views, mixup
        self.train = train.sort().values  # ties of the random order go by index
        self.batch_size, self.seed = batch_size, seed

    def epoch(self, epoch: int, inside: Tensor) -> list[BatchSpec]:
        """The batches of an epoch in random order, the last one as large as what remains.

        inside (N,) bool: the samples that take part. The order of the others does not depend on who is missing.
        """
        index = self.train[inside[self.train]]
        high, low, _, _ = philox((index, epoch, 0, 0), (self.seed, _ORDER))
        index = index[torch.argsort((high << 31) | (low >> 1), stable=True)]
        view = torch.arange(self.views, device=index.device)[:, None]
        top, left, mirror, turn = philox((index, epoch, view, 0), (self.seed, _AUGMENT))  # (V, N)
        side = 2 * self.images.padding + 1
        mirror = mirror >> 31 if self.images.flip else torch.zeros_like(mirror)
        sizes = self.sizes(len(index))
        drawn = (below(top, side), below(left, side), mirror, below(turn, ANGLES))
        windows = (part.split(sizes, 1) for part in drawn)
        parts = zip(index.split(sizes), *windows, strict=True)
        draws = [BatchSpec(index, *(window.flatten() for window in each)) for index, *each in parts]
        if self.images.randaugment:
            turns = range(2, 2 + self.images.randaugment.count)
            words = [philox((index, epoch, view, turn), (self.seed, _AUGMENT)) for turn in turns]
            chosen = torch.stack([2 * below(word, len(OPERATIONS)) + (sign >> 31) for word, sign, _, _ in words], 2)
            split = chosen.split(sizes, 1)  # (V, B, N) each
            draws = [replace(d, operation=part.flatten(0, 1)) for d, part in zip(draws, split, strict=True)]
        if self.images.cutout:
            row, column, _, _ = philox((index, epoch, view, 1), (self.seed, _AUGMENT))
            height, width = self.images.size
            split = torch.stack([below(row, height), below(column, width)], 2).split(sizes, 1)
            draws = [replace(d, hole=part.flatten(0, 1)) for d, part in zip(draws, split, strict=True)]
        if self.images.on_host:
            rows = self.images.rows(index).split(sizes)
            draws = [replace(d, rows=part) for d, part in zip(draws, rows, strict=True)]
        return self._mixed(draws, epoch) if self.mixup else draws

    def _mixed(self, draws: list[BatchSpec], epoch: int) -> list[BatchSpec]:
        """The same batches, the images of each mixed in the order of a permutation of it."""
        key = (self.seed, _MIX)
        one, other, _, _ = philox((torch.arange(len(draws)), epoch, 1, 0), key)
        weights = beta(one, other, self.mixup).float().to(self.train.device)  # few, and the same bits on every device
        partners = [philox((draw.index, epoch, 0, 0), key)[0].argsort(stable=True) for draw in draws]
        mixing = zip(draws, partners, weights.unbind(), strict=True)
        return [replace(draw, partner=partner, weight=weight) for draw, partner, weight in mixing]

    def sizes(self, images: int) -> list[int]:
        """Images of each batch. A last one alone joins the batch before: batch norm cannot normalise a single value."""
        whole, rest = divmod(images, self.batch_size)
        sizes = [self.batch_size] * whole
        if rest == 1 and whole:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        return sizes
