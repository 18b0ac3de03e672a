"""What a CUDA graph of a step would refuse, found without a GPU: the step runs on torch's meta device, which has shapes
and no numbers, so that reading one back is an error, in the forward and the backward pass."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from noisygce import settings
from noisygce.errors import NoisygceError
from noisygce.losses import CE
from noisygce.losses.forward import ESTIMATES
from noisygce.runs.begin import training_of
from noisygce.training import device, step

# Operations without a deterministic form on CUDA that a loss might call (documentation of
# torch.use_deterministic_algorithms, torch 2.11); "backward" of those whose gradient alone has none.
NOT_DETERMINISTIC = {
    *("median.dim", "median.dim_values", "kthvalue", "histc", "put_", "cumsum.dim_float", "nll_loss2d_forward"),
    *("adaptive_avg_pool2d_backward", "_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward"),
    *("avg_pool3d_backward", "max_pool3d_with_indices_backward", "max_unpool2d", "fractional_max_pool2d_backward"),
    *("reflection_pad1d_backward", "reflection_pad2d_backward", "replication_pad2d_backward", "_ctc_loss_backward"),
    *("upsample_bicubic2d_backward", "upsample_linear1d_backward", "grid_sampler_2d_backward", "nll_loss2d_backward"),
}


class AsRecorded(TorchDispatchMode):
    """Refuses what breaks a recording: host and device in one operation, operations without a deterministic form."""

    def __torch_dispatch__(self, operation: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.__name__
        if name in NOT_DETERMINISTIC or name.removesuffix(".default") in NOT_DETERMINISTIC:
            raise RuntimeError(f"{name} does not have a deterministic implementation")
        if name.startswith("_fused_sgd_"):  # changes weights and momenta in place, and has no meta form
            return None
        result = operation(*args, **(kwargs or {}))
        kinds = {leaf.device.type for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)}
        if len(kinds) > 1:
            raise RuntimeError(f"{name}: the host and the device meet")
        return result


def experiment(*words: str) -> settings.Experiment:
    e = settings.read(settings.compose([*SMALL, *words]))
    if e.loss.source:
        e.loss.load_source_estimates("a run", {name: 0.6 * np.eye(10) + 0.04 for name in ESTIMATES})
    return e


@pytest.fixture
def take_a_step(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Takes a step of a full batch on the meta device."""
    monkeypatch.setattr(step, "autocast", lambda *_: contextlib.nullcontext())  # it does not know that device

    def take(e: settings.Experiment) -> None:
        batch = training_of(e, "cpu").batches()[0]
        training = training_of(e, "meta")
        training.step.start_epoch(0)
        training.step._names = batch.names()  # as a call of the step notes them
        tensors = [tensor.to("meta") for tensor in batch.tensors()]
        with AsRecorded():
            training.step._on(*tensors)

    return take


@pytest.mark.parametrize("loss", sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml")))
def test_the_step_of_every_loss_can_be_recorded(take_a_step: Any, loss: str) -> None:
    take_a_step(experiment(f"loss={loss}"))


@pytest.mark.parametrize(
    "words",
    [
        ["schedule.clip_norm=1", "schedule.annealing=cosine", "schedule.milestones=[]", "data.validation=0"],
        ["data.padding=1", "data.flip=true", "data.rotation=10", "data.normalise=pixel_mean"],
        ["model=resnet18", "model.width=null"],
    ],
    ids=["clipping", "augmentation", "batch norm"],
)
def test_a_step_with_all_that_may_be_switched_on_can_be_recorded(take_a_step: Any, words: Sequence[str]) -> None:
    words = [word for word in words if word != "model.width=null"]
    small = [word for word in SMALL if not (word.startswith("model.") and "model=resnet18" in words)]
    take_a_step(settings.read(settings.compose([*small, "loss=ce", *words])))


class ReadsBack(CE):
    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        value = super().per_sample(logits, labels)
        return value / max(value.max().item(), 1.0)


class Branches(CE):
    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        value = super().per_sample(logits, labels)
        return value * 2 if value.mean() > 1 else value


class FromTheHost(CE):
    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().per_sample(logits, labels) * torch.tensor([1.0]).to(logits.device)


class Synchronises(CE):
    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        torch.cuda.synchronize()
        return super().per_sample(logits, labels)


class NotDeterministic(CE):
    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().per_sample(logits, labels) + logits.median(1).values


class ReadsInBackward(CE):
    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        value = super().per_sample(logits, labels)
        value.register_hook(lambda gradient: gradient * float(gradient.max()))
        return value


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (ReadsBack, "cannot be called on meta tensors"),
        (Branches, "cannot be called on meta tensors"),
        (ReadsInBackward, "cannot be called on meta tensors"),
        (FromTheHost, "the host and the device meet"),
        (Synchronises, "synchronised"),
        (NotDeterministic, "deterministic"),
    ],
)
def test_a_loss_that_cannot_be_recorded_is_found(
    take_a_step: Any, monkeypatch: pytest.MonkeyPatch, loss: type[CE], reason: str
) -> None:
    def synchronize() -> None:
        raise RuntimeError("synchronised")

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    with pytest.raises(Exception, match=reason):
        take_a_step(dataclasses.replace(experiment("loss=ce"), loss=loss()))


def test_memory_that_is_full_is_one_line_with_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    full = "CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has 700 MiB of which 1 MiB is free. Including more"
    with pytest.raises(NoisygceError) as caught, device.stream("cuda:7"):
        raise torch.OutOfMemoryError(full)
    assert str(caught.value).startswith(full.removesuffix(". Including more") + ": lower runtime.concurrent")
