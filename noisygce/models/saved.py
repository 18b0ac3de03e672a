"""Trained networks as files: ``model.safetensors`` holds weights, what a picture must become, and class names.

No pickle: a header in JSON and plain tensors (https://github.com/huggingface/safetensors). B pictures, K classes.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from noisygce import construct, inputs
from noisygce.errors import DataError, NoisygceError
from noisygce.models.base import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor, nn

FILE = "model.safetensors"
_FORMAT = "noisygce model 1"
_NETWORK, _MEAN, _STD = "network.", "preprocess.mean", "preprocess.std"


class Preprocess:
    """What the network of a run expects: pictures -> normalised float32 (B, C, H, W), as its evaluation had them.

    A picture is a file, a PIL image, or uint8 (H, W, C). Files and PIL images of any size and mode are brought to the
    size (H, W) and the C channels of the training images: bilinear, 1 channel is grey, 3 are RGB. mean, std: (C,) or
    (H, W, C), in units of the full range 0..1. Raises DataError for a file that is no picture, and ValueError for an
    array of another shape.

    vectors: of the network of a run on data=features, whose samples are arrays of numbers (D,), shape is (1, 1, D), and
    mean and std are in units of their own; computed with in their type, float64 where vectors are standardised.
    """

    def __init__(self, shape: tuple[int, int, int], mean: Tensor, std: Tensor, vectors: bool = False) -> None:
        self.shape, self.mean, self.std, self.vectors = shape, mean, std, vectors

    def __call__(self, pictures: Path | str | Iterable[Path | str | Image | NDArray[np.uint8]]) -> Tensor:
        """Pictures, or one file, as a batch."""
        import numpy as np
        import torch

        each_one = [pictures] if isinstance(pictures, Path | str) else pictures
        samples = [self._vector(each) if self.vectors else self.pixels(each) for each in each_one]
        stacked = np.stack(samples) if samples else np.empty((0, *self.shape), dtype=np.uint8)
        image = torch.from_numpy(stacked).to(self.mean.dtype) / (1 if self.vectors else 255)
        return ((image - self.mean) / self.std).float().permute(0, 3, 1, 2)

    def _vector(self, numbers: Any) -> NDArray[np.float64]:
        import numpy as np

        found: NDArray[np.float64] = np.asarray(numbers, dtype=np.float64)
        if found.size != self.shape[2] or found.ndim != 1:
            raise ValueError(f"a vector must be of {self.shape[2]} numbers, not of shape {found.shape}")
        return found.reshape(self.shape)

    def pixels(self, picture: Path | str | Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One picture as uint8 (H, W, C), before normalisation."""
        import numpy as np

        if isinstance(picture, np.ndarray):
            if picture.shape != self.shape or picture.dtype != np.uint8:
                raise ValueError(f"a picture must be uint8 of shape {self.shape}, not {picture.dtype} {picture.shape}")
            return picture
        height, width, channels = self.shape
        try:
            found: NDArray[np.uint8] = inputs.picture(picture, width, height, channels)
            return found
        except FileNotFoundError:
            raise DataError(f"{picture} is not there") from None
        except Exception as error:  # a file of unknown origin can go wrong in any way
            raise DataError(f"{picture} cannot be read as a picture: {error}".splitlines()[0]) from None


class Trained(NamedTuple):
    """A network (B, C, H, W) -> logits (B, K) in eval mode, on the CPU; its ``Preprocess``; the K class names."""

    network: nn.Module
    preprocess: Preprocess
    classes: tuple[str, ...]


def load(run: Path | str) -> Trained:
    """The model that a finished run has kept, from its folder or its model.safetensors alone: the one that was best on
    noisy validation, or the last one where nothing was held out.

        network, preprocess, classes = models.load("results/runs/<id>")
        p = network(preprocess(["cat.png"])).softmax(1)          # (1, K); of vectors: preprocess(X), X (B, D)

    Of a loss that trains two networks the first one answers, of elr_plus the mean of their logits; both are in
    ``network.peers``. Its parameters ask for no gradient; ``network.requires_grad_()`` to train it further.
    Neither the data set nor the torch version of the run is needed; a network of one's own must be importable. Where
    the manifest lies beside the file, the file must be the one it vouches for. Raises DataError.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as tensors_of

    from noisygce.models import peers

    path = Path(run) / FILE if Path(run).is_dir() else Path(run)
    content = _read(path)
    try:
        tensors = tensors_of(content)
        about: Mapping[str, str] = _header(content)["__metadata__"]
        if about["format"] != _FORMAT:
            raise KeyError("format")
        config, classes = json.loads(about["config"]), tuple(json.loads(about["classes"]))
        node, seed = config["model"], config["seed"]
        height, width, channels = json.loads(about["shape"])
        preprocess = Preprocess((height, width, channels), tensors.pop(_MEAN), tensors.pop(_STD), "vectors" in about)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path} is damaged, or is not a model kept by a run of noisygce") from None
    try:
        model = construct.build(node, Model, "model")
    except (NoisygceError, ValueError, TypeError) as error:
        raise DataError(f"{path}: its network cannot be made here: {error}".splitlines()[0]) from None
    weights = {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items()}
    with torch.no_grad():
        network = model.build(preprocess.shape, len(classes), seed, pretrained=False)
        if (networks := peers.count(weights)) > 1 and weights.keys() != network.state_dict().keys():
            ensemble = "ensemble" in about
            network = model.build(preprocess.shape, len(classes), seed, networks, pretrained=False, ensemble=ensemble)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = " ".join(str(error).splitlines()[1:2]).strip()  # below a heading
        raise DataError(f"{path} does not fit the network that its config names: {first}") from None
    return Trained(network.eval().requires_grad_(False), preprocess, classes)


def packed(
    weights: Mapping[str, Tensor],
    preprocess: Preprocess,
    classes: Sequence[str],
    config: Mapping[str, Any],
    ensemble: bool = False,
) -> bytes:
    """The content of a model.safetensors. config: of the run; its ``model`` and ``seed`` make the network again.
    ensemble: of ``NetworkPair``."""
    from safetensors.torch import save

    tensors = {f"{_NETWORK}{name}": tensor for name, tensor in weights.items()}
    tensors |= {_MEAN: preprocess.mean, _STD: preprocess.std}
    about = {
        "format": _FORMAT,
        "config": json.dumps(config),
        "classes": json.dumps(list(classes)),
        "shape": json.dumps(preprocess.shape),
        **({"vectors": "true"} if preprocess.vectors else {}),
        **({"ensemble": "true"} if ensemble else {}),
    }
    content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, about)
    # Metadata come in random order; sorted, the same model is the same bytes. Values start at a multiple of 8.
    header = json.dumps(_header(content), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + _header_size(content) :]


def _header_size(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


def _header(content: bytes) -> dict[str, Any]:
    """Metadata, and where each tensor lies: JSON, after 8 bytes of its size."""
    return dict(json.loads(content[8 : 8 + _header_size(content)]))


def _read(path: Path) -> bytes:
    """The bytes of a model, which must be those that a manifest beside it vouches for."""
    manifest = path.with_name("manifest.json")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        runs = sorted(each.parent for each in path.parent.glob("*/manifest.json"))
        if path.name == FILE and runs and not manifest.is_file():
            raise DataError(f"{path.parent} is a folder of runs; name one of them, such as {runs[0]}") from None
        raise DataError(
            f"{path.parent} holds no model: the run is not finished, or kept none (runtime.keep_model=none, "
            "as experiments of more than 20 runs have it); "
            f"python -m noisygce.reproduce {shlex.quote(str(path.parent))} paths.results=again trains it once more and "
            "keeps it"
            if manifest.is_file() or path.name == FILE
            else f"{path} is not there; name the folder of a finished run"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if manifest.is_file():
        try:
            expected = json.loads(manifest.read_bytes())["files"][path.name]["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(f"{manifest} has no digest of {path.name}; the file belongs to another run") from None
        if hashlib.sha256(content).hexdigest() != expected:
            raise DataError(f"{path} is damaged or was changed: its SHA-256 is not the one in manifest.json")
    return content
