"""Dropout drawn from the run's seed, so that a run that resumes from a checkpoint draws what it would have drawn.

torch's own takes its numbers from a generator of the process, which knows neither checkpoints nor runs side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noisygce.training.philox import philox

_DROPOUT = 7  # keeps its draws apart from those of other purposes (docs/protocol.md, Randomness)
# torch's layers, and whether they drop whole channels.
CHANNELS: dict[type[nn.Module], bool] = {
    nn.Dropout: False,
    nn.Dropout1d: True,
    nn.Dropout2d: True,
    nn.Dropout3d: True,
}


class Dropout(nn.Module):
    """x m / (1 - p), m of each value 0 with probability p, else 1; in eval mode x (Srivastava et al. 2014, JMLR 15).

    channels: m of each channel (B, C) of x instead. m in the n-th call is a pure function of seed, number of the layer,
    n and place, the same on every device. calls: n, on the device; each call in training mode adds to it, in place.
    """

    def __init__(self, p: float, channels: bool, number: int, seed: int, device: str) -> None:
        super().__init__()
        self.p, self.channels, self.number, self.seed = p, channels, number, seed
        self.calls = torch.zeros((), dtype=torch.int64, device=device)  # no buffer: a kept model is torch's own

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        shape = x.shape[:2] + (1,) * (x.dim() - 2) if self.channels else x.shape
        place = torch.arange(-(-shape.numel() // 4), device=x.device)
        words = philox((place, self.calls, self.number, 0), (self.seed, _DROPOUT))
        self.calls += 1
        stays = torch.stack(words, 1).flatten()[: shape.numel()].view(shape) >= round(self.p * 2**32)
        return torch.where(stays, x, 0) / (1 - self.p) if self.p < 1 else x * 0

    def extra_repr(self) -> str:
        return f"p={self.p}"


def from_seed(network: nn.Module, seed: int, device: str) -> None:
    """Puts ``Dropout`` in the place of torch's layers of that kind."""
    ours: dict[nn.Module, Dropout] = {}  # a layer may stand in several places
    for parent in list(network.modules()):
        for name, layer in list(parent._modules.items()):
            if layer is not None and type(layer) in CHANNELS:
                if layer not in ours:
                    p: float = layer.p  # type: ignore[assignment]
                    ours[layer] = Dropout(p, CHANNELS[type(layer)], len(ours), seed, device)
                setattr(parent, name, ours[layer])


def calls(network: nn.Module) -> dict[str, Tensor]:
    """The counts of all ``Dropout`` in a network, by the names of the layers: a part of the training's state."""
    return {name: layer.calls for name, layer in network.named_modules() if isinstance(layer, Dropout)}
