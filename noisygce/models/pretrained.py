"""Weights of ResNets that were trained elsewhere: torchvision's of ImageNet, fetched when missing, or a file's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noisygce import inputs
from noisygce.errors import DataError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

# torchvision's files by depth and name; they end in the first digits of their SHA-256. A test holds them against it.
FILES = {
    18: {"IMAGENET1K_V1": "resnet18-f37072fd.pth"},
    34: {"IMAGENET1K_V1": "resnet34-b627a593.pth"},
}
ADDRESS = "https://download.pytorch.org/models/"


def digest(depth: int, weights: str) -> str:
    """The SHA-256 of a file of weights, of torchvision's the first 8 digits. Raises DataError where there is no such
    file, and OSError where it cannot be read."""
    name = FILES[depth].get(weights)
    try:
        return name.rpartition("-")[2].partition(".")[0] if name else inputs.sha256(Path(weights).expanduser())
    except FileNotFoundError:
        raise _missing(depth, weights) from None


def _missing(depth: int, weights: str) -> DataError:
    known = ", ".join(FILES[depth])
    return DataError(f"model.weights={weights}: there is no such file; torchvision's are named {known}")


def load(depth: int, weights: str) -> dict[str, Tensor]:
    """The tensors of torchvision's weights of this name, or of a file, by the names that torchvision gives a ResNet's
    layers. Raises DataError, in one line."""
    path = _fetched(depth, weights) if weights in FILES[depth] else Path(weights).expanduser()
    try:
        return tensors(weights, path)
    except FileNotFoundError:
        raise _missing(depth, weights) from None


def tensors(weights: str, path: Path) -> dict[str, Tensor]:
    """The tensors in a file, .safetensors or of torch.save, by name. Raises FileNotFoundError or DataError."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)  # which runs nothing that a pickle may ask for
        if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
            raise ValueError("it holds other than tensors by name")
        return found
    except FileNotFoundError:
        raise
    except Exception as error:  # a file of unknown origin can go wrong in any way
        reason = f"{error}".partition("\n")[0]
        raise DataError(f"model.weights={weights}: {path} is not a file of weights: {reason}") from None


def _fetched(depth: int, weights: str) -> Path:
    """The file of torchvision's weights, in torch's cache; fetched when missing. Raises DataError."""
    import torch
    from filelock import FileLock

    name = FILES[depth][weights]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path, prefix = folder / name, digest(depth, weights)
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".noisygce.lock"):  # runs started side by side fetch once
                if not path.is_file():
                    torch.hub.download_url_to_file(ADDRESS + name, str(path), prefix, progress=False)
        except Exception as error:
            cause = first_line(error)
            raise DataError(
                f"model.weights={weights}: {name} is not in {folder} and could not be fetched ({cause}); put "
                f"{ADDRESS}{name} there, or name a file that is here: model.weights=FILE"
            ) from None
    if not inputs.sha256(path).startswith(prefix):
        raise DataError(f"{path} is damaged or another file: its SHA-256 does not begin with {prefix}; delete it")
    return path


def into(network: nn.Module, depth: int, weights: str) -> None:
    """Loads weights into all of a ResNet but its head. Raises DataError where they do not fit."""
    fill(network, load(depth, weights), ("fc.",), weights)


def fill(network: nn.Module, given: dict[str, Tensor], head: tuple[str, ...], weights: str) -> None:
    """Loads tensors into all of a network but its head, whose names begin with ``head``. Raises DataError where they do
    not fit."""
    ready = {name: tensor for name, tensor in given.items() if not name.startswith(head)}
    for name, there in network.state_dict().items():
        if name.startswith(head) or name.endswith("num_batches_tracked"):
            ready.setdefault(name, there)
        elif name not in ready or ready[name].shape != there.shape:
            found = tuple(ready[name].shape) if name in ready else "missing"
            raise DataError(
                f"model.weights={weights} does not fit this network: {name} is {found}, not {tuple(there.shape)}"
            )
    try:
        network.load_state_dict(ready)
    except RuntimeError as error:
        reason = " ".join(str(error).splitlines()[1:2]).strip()
        raise DataError(f"model.weights={weights} does not fit this network: {reason}") from None
