"""What every model is: ``Model``, which holds what is configured; ``build`` makes the network.

Initial weights are a pure function of the network and the seed, drawn on the CPU whatever the device; torch's global
generator is neither read nor moved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from noisygce import check
from noisygce.errors import ConfigError, UserCodeError, defined, user_code_error
from noisygce.models import own

if TYPE_CHECKING:
    from torch import Generator, nn

making = threading.RLock()  # a network may be made of others
_STREAM = 3  # keeps the draws of weights apart from those of other purposes (docs/protocol.md, Randomness)


class Model:
    """A network of images (B, C, H, W) -> logits (B, K).

    A subclass gives ``_layers``.

    init: the initial weights, biases being torch's own but for those of linear layers under "he_normal".
    "he_normal": convolutions normal with variance 2 / fan out (He et al. 2015, arXiv 1502.01852, as torchvision's
    ResNet), linear layers, weights and biases, uniform in +-1/sqrt(fan in).
    "he_uniform": convolutions uniform with variance 2 / fan in, linear layers uniform with variance 2 / (fan in + fan
    out) (Glorot & Bengio 2010), as the code of APL, ALFs and epsilon-softmax has it.
    "torch": as ``_layers`` has made them: torch's default, uniform in +-1/sqrt(fan in) for both, where it sets none.
    """

    init = "torch"
    of_pictures: ClassVar[bool] = False  # and not of vectors too, which come as images of 1 x 1
    threads: ClassVar[int | None] = None  # of the CPU, unless runtime.threads sets them; None: torch's choice

    def contents(self) -> Mapping[str, str]:
        """SHA-256 of files of weights that training starts from, by the value that names them; by the name of a package
        that makes the network, its version. Raises OSError, ConfigError or DataError."""
        return {}

    def build(
        self,
        shape: tuple[int, int, int],
        classes: int,
        seed: int,
        networks: int = 1,
        pretrained: bool = True,
        ensemble: bool = False,
    ) -> nn.Module:
        """The network on the CPU, for images of ``shape`` (H, W, C), with the initial weights of ``seed``.

        networks: where more than one, ``NetworkPair`` of so many; the first is the one that there would be alone.
        ensemble: of ``NetworkPair``.
        pretrained: read the files of weights that training starts from, if any. Raises UserCodeError where a network of
        one's own cannot be made, or not be trained; DataError for files of weights.
        """
        made = [self._network(shape, classes, seed, number) for number in range(networks)]
        for network in made if pretrained else ():
            self._start(network)
        if networks == 1:
            return made[0]
        from noisygce.models.peers import NetworkPair

        return NetworkPair(made, ensemble)

    def _network(self, shape: tuple[int, int, int], classes: int, seed: int, number: int) -> nn.Module:
        import numpy as np
        import torch

        # SeedSequence pads with zeros, so that network 0 has the stream of [seed, _STREAM].
        word = int(np.random.SeedSequence([seed, _STREAM, number]).generate_state(1, np.uint64)[0]) >> 1
        # Layers draw from the global generator as they are made, one network at a time.
        with making, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(word)
            if self.of_pictures and shape[:2] == (1, 1):
                raise ConfigError(f"{type(self).__name__} is a network for pictures; vectors need model=mlp or linear")
            try:
                network = self._layers(shape, classes)
            except Exception as error:
                raise user_code_error(error) or error from None
            if not own.is_ours(self):
                network = own.tried(self, network, shape, classes)
        _INITIALISE[self.init](network, torch.Generator().manual_seed(word))
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dim() == 4:
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
        return network

    def _start(self, network: nn.Module) -> None:
        """Loads the weights that training starts from, in the place of drawn ones; almost always none."""

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """The network for images of ``shape`` (H, W, C) and K ``classes``."""
        raise UserCodeError(f"{defined(type(self))} has no _layers(shape, classes)")


def _he_normal(network: nn.Module, generator: Generator) -> None:
    from torch import nn

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def _he_uniform(network: nn.Module, generator: Generator) -> None:
    from torch import nn

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, mode="fan_in", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)


def _as_made(network: nn.Module, generator: Generator) -> None:
    """Layers draw torch's default as they are made, from the same seed."""


_INITIALISE: dict[str, Callable[[nn.Module, Generator], None]] = {
    "he_normal": _he_normal,
    "he_uniform": _he_uniform,
    "torch": _as_made,
}


def initialisation(init: str) -> str:
    """A way of initial weights that ``Model.init`` may name. Raises check.Invalid."""
    return check.choice("init", init, _INITIALISE)
