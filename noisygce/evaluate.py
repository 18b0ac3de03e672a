"""Logits of a whole set, and accuracies."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from noisygce.loader import Images

BATCH = 1000  # images a pass; fixed, since another size may round differently


@torch.no_grad()
def logits(
    network: nn.Module, images: Images, index: Tensor, precision: str, between: Callable[[], None] = lambda: None
) -> Tensor:
    """Logits (len(index), K) in float32, in eval mode, without augmentation; the network is left in training mode.

    between: called after each pass; may raise.
    """
    network.eval()
    out = []
    try:
        with autocast(index.device.type, precision):
            for part in index.split(BATCH):
                out.append(network(images.plain(part)).float())
                between()
    finally:
        network.train()
    return torch.cat(out)


def autocast(device: str, precision: str) -> torch.autocast:
    """bf16 arithmetic with fp32 weights where ``precision`` is bf16; activations are bf16 too, the rest fp32."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Share of predictions (n,) that equal the labels (n,); 0 for none."""
    return (predictions == labels).double().mean().item() if len(labels) else 0.0
