"""The exponential moving average of a network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class MovingAverage:
    """m <- decay m + (1 - decay) w for named tensors w of a network, from their values now; counters are copied."""

    def __init__(self, own: Mapping[str, Tensor]) -> None:
        self.tensors = {name: tensor.detach().clone() for name, tensor in own.items()}
        self._averaged = [(self.tensors[name], w) for name, w in own.items() if w.is_floating_point()]
        self._counted = [(self.tensors[name], w) for name, w in own.items() if not w.is_floating_point()]

    @torch.no_grad()
    def update(self, decay: float | Tensor) -> None:
        """decay in [0, 1]; as a tensor () it stays on the device."""
        means, now = map(list, zip(*self._averaged, strict=True))
        if isinstance(decay, Tensor):
            apart = torch._foreach_sub(now, means)
            torch._foreach_mul_(apart, (1 - decay).float())
            torch._foreach_add_(means, apart)
        else:
            torch._foreach_lerp_(means, now, 1 - decay)
        for mean, number in self._counted:
            mean.copy_(number)
