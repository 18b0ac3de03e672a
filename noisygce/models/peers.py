"""Several networks as one, for losses that train more than one at a time."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class NetworkPair(nn.Module):
    """n networks of one kind that see the same images (B, C, H, W).

    In training mode they give logits (n B, K), one network after another; in eval mode the first one alone answers,
    (B, K), as it would in use. ensemble: in eval mode they give the mean of their logits.
    """

    def __init__(self, networks: Iterable[nn.Module], ensemble: bool = False) -> None:
        super().__init__()
        self.peers, self.ensemble = nn.ModuleList(networks), ensemble

    def forward(self, images: Tensor) -> Tensor:
        if not (self.training or self.ensemble):
            return self.peers[0](images)  # type: ignore[no-any-return]
        logits = [network(images) for network in self.peers]
        return torch.cat(logits) if self.training else torch.stack(logits).mean(0)


def count(names: Iterable[str]) -> int:
    """The number of networks whose weights have these names: those of a ``NetworkPair``, or 1."""
    first = {tuple(name.split(".")[:2]) for name in names}
    return len(first) if all(head == "peers" for head, *_ in first) else 1
