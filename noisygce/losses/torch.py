"""Losses as PyTorch holds them: ``Criterion``, a torch.nn.Module around a loss. Only this module here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from noisygce.losses.base import Loss, Matrix


class Criterion(nn.Module):
    """A loss that moves with ``.to(device)`` and has its memory in the ``state_dict``.

        criterion = Criterion(ELR(lam=3, b=0.7), samples=N, classes=K).to("cuda")
        criterion(logits, labels, index).backward()

    samples N, classes K, transition T (K, K) with T[y, z] = P(given z | true y): what ``Loss.bind`` is to be told, for
    losses that know the training set. A loss that prunes has its kept set in ``kept`` (N,): all, until ``prune``.

    In eval mode nothing is remembered, and a loss that prunes is that of all samples, pruned or not.
    """

    kept: Tensor | None

    def __init__(
        self, loss: Loss, *, samples: int | None = None, classes: int | None = None, transition: Matrix | None = None
    ) -> None:
        super().__init__()
        self.loss = loss
        if classes is None and transition is not None:
            classes = len(transition)
        if classes is not None:
            loss.bind(samples=samples or 0, classes=classes, device="cpu", transition=transition)  # type: ignore[arg-type]
        self._samples = samples
        self._places = dict(_tensors(loss))
        for name, (owner, attribute) in self._places.items():
            tensor = getattr(owner, attribute)
            if isinstance(tensor, nn.Parameter):  # which the loss learns
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor)
        if loss.prunes and samples is None:
            raise TypeError(f"{type(loss).__name__} prunes: give samples, the size of the training set")
        self.register_buffer("kept", torch.ones(samples or 0, dtype=torch.bool) if loss.prunes else None)

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """The loss of a batch, reduced as the loss says.

        logits (B, K), of V views (V B, K). labels (B,), or soft ones (B, K) as in ``Loss.of_soft``. index (B,) into the
        training set, for losses that remember samples, or prune them and are in training mode; TypeError where such a
        loss is given none, or soft labels.
        """
        prunes, uses_index = self.kept is not None, self.loss.uses_sample_index
        if labels.dim() == 2:
            return self.loss.reduced(self.loss.of_soft(logits, labels))
        if index is None and (uses_index or (prunes and self.training)):
            does = "remembers samples" if uses_index else "prunes"
            raise TypeError(f"{type(self.loss).__name__} {does}: give index, which training samples these are")
        if index is None:
            return self.loss.reduced(self.loss.per_sample(logits, labels)) if prunes else self.loss(logits, labels)
        # tensor[index] would take the index -1 as N - 1.
        kept = self.kept.index_select(0, index) if self.kept is not None and self.training else None
        memory = [] if self.training else [t for t in self.loss.state().values() if t.dim() and len(t) == self._samples]
        before = [tensor.index_select(0, index) for tensor in memory]
        try:
            values = self.loss.of_batch(logits, labels, index)
            return self.loss.reduced(values if kept is None else values.where(kept, self.loss.ceiling))
        finally:
            for tensor, rows in zip(memory, before, strict=True):  # in eval mode nothing is remembered
                tensor[index] = rows

    @torch.no_grad()
    def prune(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Solves the kept set again for the samples ``index`` (n,): logits (n, K) of the best model so far.

        Where not one of them would be kept, the set stays as it is.
        """
        if self.kept is None:
            raise TypeError(f"{type(self.loss).__name__} does not prune")
        keep = self.loss.keep(logits, labels)
        if keep.any():
            self.kept[index] = keep

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """What .to, .cuda and .half call: it puts new tensors in place of the buffers."""
        super()._apply(fn, recurse)
        self._hand_over()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """What load_state_dict calls: with assign=True it puts new tensors in place of the buffers."""
        super()._load_from_state_dict(*args, **kwargs)
        self._hand_over()

    def _hand_over(self) -> None:
        """Gives the loss the buffers as its tensors."""
        for name, (owner, attribute) in self._places.items():
            setattr(owner, attribute, getattr(self, name))

    def extra_repr(self) -> str:
        return repr(self.loss)


def _tensors(loss: Loss, prefix: str = "") -> Iterator[tuple[str, tuple[Loss, str]]]:
    """Where the tensors of a loss and of its parts are, by name."""
    for attribute, value in vars(loss).items():
        if isinstance(value, Tensor):
            yield prefix + attribute.lstrip("_"), (loss, attribute)
    for name, part in loss.parts().items():
        yield from _tensors(part, f"{prefix}{name}_")
