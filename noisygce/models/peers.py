"""Several networks as one, for losses that train more than one at a time."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class NetworkPair(nn.Module):
    """n networks of one kind that see the same images (B, C, H, W).

    In training mode they give logits (n B, K), one network after another; in eval mode the first one alone answers,
    (B, K), as it would in use.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.peers = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            return torch.cat([network(images) for network in self.peers])
        return self.peers[0](images)  # type: ignore[no-any-return]


def count(names: Iterable[str]) -> int:
    """The number of networks whose weights have these names: those of a ``NetworkPair``, or 1."""
    first = {tuple(name.split(".")[:2]) for name in names}
    return len(first) if all(head == "peers" for head, *_ in first) else 1
