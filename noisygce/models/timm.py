"""Any network of timm, PyTorch Image Models (Wightman 2019): ResNet-50, Inception-ResNet-v2, ViT and others."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import check, inputs
from noisygce.errors import ConfigError, DataError, installing
from noisygce.models import own, pretrained
from noisygce.models.base import Model

if TYPE_CHECKING:
    from torch import nn


class Timm(Model):
    """timm's network of this name, with K outputs, for C channels; vision transformers for H x W too.

    architecture: such as resnet50; timm.list_models() lists them. weights: a file of its tensors (.safetensors, or of
    torch.save), of which all but the head are loaded; null: timm's initial weights, drawn from the run's seed. The
    run's id holds the version of timm and the digest of that file. Needs timm (pip install timm). Raises ConfigError
    for a name that timm does not have, UserCodeError for a network that draws random numbers of its own.
    """

    of_pictures = True

    def __init__(self, architecture: str, weights: str | None) -> None:
        if not isinstance(architecture, str) or not architecture:
            raise check.Invalid("architecture", architecture, "a name of timm's, such as resnet50")
        if weights is not None and (not isinstance(weights, str) or not weights):
            raise check.Invalid("weights", weights, "a file of weights, or null")
        self.architecture, self.weights = architecture, weights

    def contents(self) -> Mapping[str, str]:
        try:
            made_by = {"timm": version("timm")}  # layers and initial weights may be others in another version
        except PackageNotFoundError:
            raise _missing() from None
        if self.weights is None:
            return made_by
        try:
            return {**made_by, "weights": inputs.sha256(Path(self.weights).expanduser())}
        except FileNotFoundError:
            raise DataError(f"model.weights={self.weights}: there is no such file") from None

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        network = self._made(shape, classes)
        return own.tried(self, network, shape, classes)

    def _made(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        try:
            import timm
        except ImportError:
            raise _missing() from None
        height, width, channels = shape
        if self.architecture not in timm.list_models():
            near = timm.list_models(f"*{self.architecture}*")[:5]
            hint = f", such as {', '.join(near)}" if near else ""
            raise ConfigError(f"model.name={self.architecture}: timm {timm.__version__} has no such network{hint}")
        values: dict[str, Any] = {"pretrained": False, "num_classes": classes, "in_chans": channels}
        try:
            return timm.create_model(self.architecture, img_size=(height, width), **values)
        except TypeError:  # only networks that embed patches take a size
            return timm.create_model(self.architecture, **values)

    def _start(self, network: nn.Module) -> None:
        if self.weights is not None:
            head = tuple(f"{name}." for name in _heads(network))
            pretrained.fill(
                network, pretrained.tensors(self.weights, Path(self.weights).expanduser()), head, self.weights
            )


def _missing() -> ConfigError:
    return ConfigError(f"model=timm needs timm ({installing('timm')})")


def _heads(network: Any) -> tuple[str, ...]:
    """The names of the layers whose outputs are classes, as timm notes them."""
    named = network.default_cfg.get("classifier", "fc")
    return (named,) if isinstance(named, str) else tuple(named)
