"""Logits of a whole set, and accuracies."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from noisygce.training.cuda_graph import Captured, Pool
from noisygce.training.images import Images

BATCH = 1000  # images a pass on a GPU, of up to 64 x 64 pixels; fixed, since another size may round differently
_PIXELS = 64 * 64  # of larger images a pass takes fewer, so that a memory that trains them can evaluate them
ON_CPU = 250  # a CPU's caches hold more of them: 1.18 x for ResNet-34, the same bits


class Evaluation:
    """Logits of a set of images by a network in eval mode, without augmentation. pool: see ``Step``."""

    def __init__(self, network: nn.Module, images: Images, precision: str, pool: Pool | None = None) -> None:
        self.network, self.images, self.precision = network, images, precision
        height, width = images.size
        on_gpu = min(BATCH, max(1, BATCH * _PIXELS // (height * width)))
        self.batch = min(BATCH, ON_CPU) if images.device == "cpu" else on_gpu
        self._pass = Captured(self._of_batch, self.batch, tuple, pool) if pool else self._of_batch

    def __call__(self, index: Tensor, stop: Callable[[], None] = lambda: None) -> Tensor:
        """Logits (len(index), K) in float32; the network is left in training mode.

        stop: called after each pass; may raise.
        """
        self.network.eval()
        scores = []
        try:
            for part, rows in zip(index.split(self.batch), self.images.rows(index).split(self.batch), strict=True):
                pixels = self.images.fetch(rows)
                scores.append(self._pass(part) if pixels is None else self._pass(part, pixels))
                stop()
        finally:
            self.network.train()
        return torch.cat(scores)

    @torch.no_grad()
    def _of_batch(self, index: Tensor, pixels: Tensor | None = None) -> Tensor:
        with autocast(index.device.type, self.precision):
            scores: Tensor = self.network(self.images.plain(index, pixels))
        return scores.float()


def autocast(device: str, precision: str) -> torch.autocast:
    """bf16 arithmetic with fp32 weights where ``precision`` is bf16; activations are bf16 too, the rest fp32."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


def accuracy(predictions: Tensor, labels: Tensor) -> Tensor:
    """Share of predictions (n,) that equal the labels (n,), float64; NaN for none. It stays on the device."""
    return (predictions == labels).sum().double() / len(labels)
