"""Losses as PyTorch holds them. Only this module here imports torch when it is imported."""

from __future__ import annotations

import functools
import warnings
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from noisygce.losses.base import Loss, Matrix


class Module(nn.Module):
    """What a loss is beside its formula: tensors that move with ``.to`` and lie in the ``state_dict``.

        criterion = ELR().bind(samples=N, classes=K).to("cuda")
        criterion(logits, labels, index).backward()

    In eval mode nothing is remembered, and a loss that prunes is that of all samples, pruned or not.
    """

    call_super_init = True  # nn.Module.__init__ passes the arguments on to the loss
    kept: Tensor | None  # (N,) of a loss that prunes and knows N: all, until ``prune``
    made_of: type[Loss]

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.register_buffer("kept", None)
        self._samples, self._started = 0, False
        self._transition_given: Any = None
        self._is_bound = False

    def __setattr__(self, name: str, value: Any) -> None:
        """A loss in the place of an attribute of the class, such as ``source``, would not be found among modules."""
        if isinstance(value, Loss) and hasattr(type(self), name):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def bind(
        self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Matrix | None = None
    ) -> Self:
        """Tells the loss of the training set, once: N, K, and T[y, z] = P(given z | true y), (K, K). Of these a loss
        needs some or none. TypeError where one is missing."""
        if self._is_bound and not samples and transition is None:  # nothing new, such as to a part that knows N already
            return self
        if transition is not None:
            self._transition_given = transition = _constant(transition)
        samples = samples or self._samples
        classes = classes or (0 if transition is None else len(transition))
        super(nn.Module, self).bind(samples=samples, classes=classes, device=device, transition=transition)  # type: ignore[misc]
        for name, tensor in [*vars(self).items()]:
            if isinstance(tensor, Tensor):
                del vars(self)[name]
                self.register_buffer(name, tensor)
        if samples and (self.uses_sample_index or self.prunes) and _processes() > 1:  # type: ignore[attr-defined]
            warnings.warn(
                f"{type(self).__name__} remembers each sample in the process that sees it: give each process the same "
                "samples in every epoch, and keep the loss out of DistributedDataParallel, which overwrites its memory",
                stacklevel=2,
            )
        elif super(nn.Module, self).learned() and _processes() > 1:  # type: ignore[misc]
            warnings.warn(
                f"{type(self).__name__} learns a transition matrix: wrap it in DistributedDataParallel too, or each "
                "process learns one of its own",
                stacklevel=2,
            )
        if self.prunes and samples:  # type: ignore[attr-defined]
            self.kept = torch.ones(samples, dtype=torch.bool, device=device)
        self._samples, self._is_bound = samples, True
        return self

    def _bind_again(self, logits: Tensor, transition: Matrix | None) -> None:
        """Binds to what a call tells. Another T is no reason to forget the samples."""
        learns = super(nn.Module, self).learned  # type: ignore[misc]
        if self._is_bound and learns():
            raise TypeError(f"{type(self).__name__} learns with the transition that it was bound to: make another one")
        remembered = {name: tensor.clone() for name, tensor in self._state().items()} if self._is_bound else {}
        kept = self.kept
        self.bind(samples=self._samples, classes=logits.shape[1], device=logits.device, transition=transition)
        self.kept = self.kept if kept is None else kept
        if learns():
            self._is_bound = False
            raise TypeError(
                f"{type(self).__name__} learns T: call bind(classes=K) once, and give criterion.parameters() to the "
                "optimizer"
            )
        for name, tensor in self._state().items():
            if name in remembered and tensor.shape == remembered[name].shape:
                tensor.copy_(remembered[name])

    def _state(self) -> dict[str, Tensor]:
        return dict(super(nn.Module, self).state())  # type: ignore[misc]

    def observe(self, logits: Tensor, index: Tensor) -> None:
        """The logits of the teachers, of a loss that has some, before the loss of each batch."""
        if self.training:
            super(nn.Module, self).observe(logits, index)  # type: ignore[misc]

    def start_epoch(self, epoch: int) -> None:
        """Before the first batch of each epoch, counted from 0, of a loss that follows a schedule."""
        self._started = True
        super(nn.Module, self).start_epoch(epoch)  # type: ignore[misc]

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        index: Tensor | None = None,
        *,
        keep: Tensor | None = None,
        epoch: int | None = None,
        transition: Matrix | None = None,
    ) -> Tensor:
        """``Loss.forward``. epoch: from 0, of a loss that follows a schedule. transition: T, as in ``bind``.

        Raises TypeError and ValueError where logits and labels do not fit each other or the loss.
        """
        labels = _fitting(self, logits, labels)
        if not self._is_bound or (transition is not None and not _equal(transition, self._transition_given)):
            self._bind_again(logits, transition)
        if epoch is not None:
            self.start_epoch(epoch)
        elif self.training and not self._started and _follows_a_schedule(self):
            raise TypeError(f"{type(self).__name__} follows a schedule: give epoch, counted from 0")
        if self.prunes and keep is None and labels.dim() == 1:  # type: ignore[attr-defined]
            keep = self._kept(labels, index)
        whole = super(nn.Module, self).forward  # type: ignore[misc]
        memory: list[Tensor] = []
        if index is not None and not self.training:
            memory = [tensor for tensor in self._state().values() if tensor.dim() and len(tensor) == _samples(self)]
        before = [tensor.index_select(0, index) for tensor in memory]  # type: ignore[arg-type]
        try:
            return whole(logits, labels, index, keep=keep)
        finally:
            for tensor, rows in zip(memory, before, strict=True):
                tensor[index] = rows

    def _kept(self, labels: Tensor, index: Tensor | None) -> Tensor | None:
        if not self.training:
            return torch.ones_like(labels, dtype=torch.bool)
        if self.kept is None or index is None:
            return None
        return self.kept.index_select(0, index)  # kept[index] would take the index -1 as N - 1

    @torch.no_grad()
    def prune(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Solves the kept set again for the samples ``index`` (n,): logits (n, K) of the best model so far.

        Where not one of them would be kept, the set stays as it is.
        """
        if self.kept is None:
            raise TypeError(f"{type(self).__name__} does not prune, or does not know N: call bind(samples=N) once")
        keep = self.keep(logits, labels)  # type: ignore[operator]
        if keep.any():
            self.kept[index] = keep

    def extra_repr(self) -> str:
        values = self.values()  # type: ignore[operator]
        return ", ".join(f"{name}={value!r}" for name, value in values.items() if not isinstance(value, Loss))

    __repr__ = nn.Module.__repr__


@functools.cache
def as_module(cls: type[Loss]) -> type[Loss]:
    """The class of those losses of a class that are torch.nn.Modules too."""
    if issubclass(cls, nn.Module):
        return cls
    names = {"made_of": cls, "__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (Module, cls), names)  # type: ignore[return-value]


def _fitting(loss: Any, logits: Any, labels: Any) -> Tensor:
    """The labels, integers as torch's losses take them. Raises TypeError and ValueError where they cannot be."""
    name, copies = type(loss).__name__, loss.views * loss.networks
    for what, each in (("logits", logits), ("labels", labels)):
        if not isinstance(each, Tensor):
            raise TypeError(f"{name}: {what} must be a torch.Tensor, not {type(each).__name__}")
    fit = logits.dim() == 2 and labels.dim() in (1, 2) and len(logits) == copies * len(labels)
    if not fit or labels.shape[1:] not in ((), logits.shape[1:]):
        rows = "B" if copies == 1 else f"{copies} B"
        kind = "" if copies == 1 else f" of {copies} {'networks' if loss.networks > 1 else 'views'}"
        raise ValueError(
            f"{name}: logits{kind} must be ({rows}, K) and labels (B,) or, soft, (B, K), not {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}"
        )
    if labels.dim() == 1 and labels.is_floating_point():
        raise TypeError(f"{name}: labels (B,) must be integers, not {labels.dtype}")
    return labels.long() if labels.dim() == 1 else labels


def _constant(transition: Any) -> Matrix:
    """The values of T, an array or a tensor, as they are now. TypeError for a T that is to be learned."""
    if isinstance(transition, Tensor):
        if transition.requires_grad:
            raise TypeError("transition is a constant: give T.detach(), or take a loss that learns T, VolMinNet")
        transition = transition.double().cpu().numpy()
    return np.array(transition)


def _equal(one: Any, other: Any) -> bool:
    """Whether two transition matrices, tensors or arrays, have the same values."""
    if one is None or other is None:
        return one is other
    first, second = (torch.as_tensor(each) for each in (one, other))
    return first.shape == second.shape and bool((first == second.to(first)).all())


def _processes() -> int:
    """How many processes train together."""
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1


def _samples(loss: Any) -> int:
    """N, as a loss or one of its parts knows it."""
    return max([getattr(loss, "_samples", 0), *map(_samples, loss.parts().values())])


def _follows_a_schedule(loss: Any) -> bool:
    own = getattr(loss, "made_of", type(loss)).start_epoch is not Loss.start_epoch
    return own or any(_follows_a_schedule(part) for part in loss.parts().values())
