"""What every loss is: ``Loss``; and what a loss may ask of training.

Most losses are one method, ``per_sample``. One that needs more says so by a class attribute or by overriding one of
the other methods; training asks every loss the same questions and none for its name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from noisygce import check
from noisygce.errors import UserCodeError, defined
from noisygce.losses.probabilities import log_p

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray
    from torch import Tensor as Tensor
    from torch.nn import Module

    Matrix = NDArray[float64]
else:  # names for annotations: torch itself is not imported before there is something to compute
    Tensor = Matrix = Any
    Module = object


class Learned(NamedTuple):
    """A tensor that a loss learns beside the network, by plain SGD on the same mean over the batch.

    tensor: a torch.nn.Parameter. lr: its learning rate, which stays as it is; follows: as a multiple of the network's.
    momentum: as in torch.optim.SGD. low: the smallest value that an entry may take.
    """

    tensor: Tensor
    lr: float
    momentum: float = 0.0
    follows: bool = False
    low: float = -math.inf


class Loss(Module):
    """A loss of logits (B, K) and labels (B,). Every object that is made by a call is a torch.nn.Module too.

    reduction: "mean" (default), "sum" or "none", as in torch.nn. ignore_index: the label of samples that take no part;
    None, the default: there is none, and a label outside 0..K-1 is an error, such as torch's own -100.
    Subclasses give ``per_sample``. A config leaf holds all parameters of the constructor that may be given by position,
    with the same values as their defaults in code, and those of ``check.DEFAULTS_ADDED_LATER``.
    """

    prunes: ClassVar[bool] = False  # whether training drops samples by ``keep`` (see TruncatedGCE)
    ceiling: float = 0.0  # the constant loss of a sample that is not kept, in your own loop (see ``forward``)
    views: ClassVar[int] = 1  # augmented views V of each image; logits are then (V B, K), one view after another
    networks: ClassVar[int] = 1  # networks n that are trained; logits are then (n B, K), one network after another
    ensemble: ClassVar[bool] = False  # whether the mean of the networks' logits is evaluated; else the first network
    mixup: float = 0.0  # alpha > 0: images are mixed in pairs, and so are the losses under their two labels (see Mixup)
    mixes_labels: ClassVar[bool] = False  # whether it is given both labels at once instead, by ``of_mixed``
    # Parameters that name an epoch, and the outcome of a run that ends before it, of which the run warns.
    needs_epochs: Mapping[str, str] = {}
    needs_steps: Mapping[str, str] = {}  # the same of parameters that name a step of training
    estimates_transition: ClassVar[bool] = False  # whether p estimates P(given label | image), by which T is estimated
    source: Loss | None = None  # the loss of another run, all else equal, that must be finished before this one starts

    @property
    def needs_validation(self) -> bool:
        """Whether training needs a validation set, by which to choose the model that prunes, or that estimates T."""
        return self.prunes or self.source is not None

    @property
    def uses_sample_index(self) -> bool:
        """Whether it, or a part of it, looks at which sample it is given (``of_batch``)."""
        parts, kind = self.parts().values(), type(self)
        # To its parts, remembering nothing beside them, with an index and without.
        hands_on = parts and kind.state is Loss.state and _giver(kind, "of_batch") is _giver(kind, "per_sample")
        mine = type(self).of_batch is not Loss.of_batch and not hands_on
        return mine or any(part.uses_sample_index for part in parts)

    if TYPE_CHECKING:  # of those that are torch.nn.Modules too, as every call makes them: noisygce.losses.torch.Module

        def prune(self, logits: Tensor, labels: Tensor, index: Tensor) -> None: ...

    def __new__(cls, *_: Any, **__: Any) -> Self:
        from noisygce.losses.torch import as_module

        made: Any = object.__new__(as_module(cls))  # type: ignore[arg-type]
        return made

    @classmethod
    def from_config(cls, **values: Any) -> Any:
        """The loss as training asks for it, which is no torch.nn.Module: reading a config imports no torch."""
        loss: Any = object.__new__(cls)
        loss.__init__(**values)
        return loss

    def __init__(self, *, reduction: str = "mean", ignore_index: int | None = None) -> None:
        self.reduction = check.choice("reduction", reduction, ("mean", "sum", "none"))
        self.ignore_index = check.or_null(check.whole, "ignore_index", ignore_index, "(-inf, inf)")

    @staticmethod
    def _clip(clip: float | None) -> float | None:
        return check.or_null(check.number, "clip", clip, "(0, 0.1]")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each sample (B,)."""
        if self.uses_sample_index:
            raise TypeError(f"{type(self).__name__} remembers samples: call of_batch(logits, labels, index)")
        raise UserCodeError(f"{self._defined()} has no per_sample(logits, labels)")

    def of_batch(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """The loss of each sample (B,), as training asks for it; index (B,): which of the N training samples."""
        return self.per_sample(logits, labels)

    def of_mixed(self, logits: Tensor, labels: Tensor, index: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
        """The loss of each mixed image (B,), if ``mixes_labels``. weight (): of the sample itself; the one at the place
        partner (B,) in the batch has the rest."""
        raise UserCodeError(f"{self._defined()} has no of_mixed")

    def teacher_decay(self) -> Tensor | None:
        """What the teachers keep of themselves in this step, in [0, 1], () on the device; None: there are none.

        Teachers are moving averages of the networks: after each step m <- decay m + (1 - decay) w."""
        return None

    def observe(self, logits: Tensor, index: Tensor) -> None:
        """Called before the loss of each batch with the logits (n B, K) of the teachers, in training mode and of the
        images before they are mixed."""

    def of_soft(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each sample (B,) under soft labels (B, K): its mean over labels drawn with these probabilities.

        For ce that is the usual cross entropy with a soft label, for every loss what it is trained on by mixed labels.
        """
        import torch

        if self.prunes or self.uses_sample_index:
            does = "prunes" if self.prunes else "remembers"
            raise TypeError(f"{type(self).__name__} {does} samples, each with one label: give labels (B,)")
        if labels.shape[1:] != logits.shape[1:]:
            raise ValueError(f"soft labels must be (B, K) as the logits, not {tuple(labels.shape)}")
        # int64 from the start: in the type of the labels, bfloat16 or bool, not every class has its number
        given = torch.arange(labels.shape[1], device=labels.device)
        each = [self.per_sample(logits, given[k].expand(len(labels))) for k in range(labels.shape[1])]
        return sum(labels[:, k] * values for k, values in enumerate(each))  # type: ignore[return-value]

    def __call__(self, *args: Any, **keywords: Any) -> Tensor:  # of a torch.nn.Module it is torch's own, with hooks
        return self.forward(*args, **keywords)

    def forward(
        self, logits: Tensor, labels: Tensor, index: Tensor | None = None, *, keep: Tensor | None = None
    ) -> Tensor:
        """The reduced loss of labels (B,), or of soft ones (B, K) as in ``of_soft``.

        logits (B, K), of V views (V B, K), of n networks (n B, K). index (B,): which of the N training samples, for a
        loss that remembers. keep (B,), bool: the samples that are kept, for a loss that prunes. TypeError where the
        loss is not given what it needs.
        """
        if labels.dim() == 2:
            return self.reduced(self.of_soft(logits, labels))
        if self.ignore_index is None or not (ignored := labels == self.ignore_index).any():
            return self.reduced(self._values(logits, labels, index, keep))
        some = (~ignored).nonzero().squeeze(1)
        picked = logits.unflatten(0, (-1, len(labels))).index_select(1, some).flatten(0, 1)
        index, keep = (None if each is None else each[some] for each in (index, keep))
        values = self._values(picked, labels[some], index, keep)
        if self.reduction != "none":
            return self.reduced(values)
        return values.new_zeros(len(labels)).index_put((some,), values)

    def _values(self, logits: Tensor, labels: Tensor, index: Tensor | None, keep: Tensor | None) -> Tensor:
        name = type(self).__name__
        if index is None and self.uses_sample_index:
            raise TypeError(f"{name} remembers samples: give index (B,), which training samples these are")
        if self.prunes and keep is None:
            raise TypeError(
                f"{name} prunes: give keep (B,), bool, which of these samples are kept: all before the first pruning, "
                "later criterion.keep(all_logits, all_labels)[index]; or call bind(samples=N) once, and give index (B,)"
            )
        values = self.per_sample(logits, labels) if index is None else self.of_batch(logits, labels, index)
        return values if keep is None else values.where(keep, self.ceiling)

    def reduced(self, values: Tensor) -> Tensor:
        return values if self.reduction == "none" else values.mean() if self.reduction == "mean" else values.sum()

    def keep(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The samples to go on training with (B,), bool; asked for only if ``prunes``."""
        raise UserCodeError(f"{self._defined()} has no keep(logits, labels)")

    def parts(self) -> dict[str, Loss]:
        """The losses that this one is made of, by name."""
        return {}

    def bind(self, *, samples: int = 0, classes: int = 0, device: Any = "cpu", transition: Any = None) -> Self:
        """Called once before training: N, K, where the tensors are, and T[y, z] = P(noisy z | true y), (K, K); None if
        it is not known which labels are wrong."""
        for part in self.parts().values():
            part.bind(samples=samples, classes=classes, device=device, transition=transition)
        return self

    def start_epoch(self, epoch: int) -> None:
        """Called before the first step of each epoch, counted from 0; a loss that follows a schedule fills a tensor of
        ``state`` here."""
        for part in self.parts().values():
            part.start_epoch(epoch)

    def state(self) -> dict[str, Tensor]:
        """Tensors that change in training, by name, made by ``bind``: they are saved and restored with a training."""
        return {f"{name}.{k}": tensor for name, part in self.parts().items() for k, tensor in part.state().items()}

    def learned(self) -> dict[str, Learned]:
        """Tensors that the loss learns, by name, made by ``bind``; ``state`` names them too, detached."""
        return {f"{name}.{k}": each for name, part in self.parts().items() for k, each in part.learned().items()}

    def load_source_estimates(self, run_id: str, estimates: Mapping[str, Any]) -> None:
        """Called before ``bind`` with what the finished run of ``source`` has estimated: T by the names of
        ``forward.ESTIMATES``, and ``rate``, the share of wrong labels."""

    def report(self) -> dict[str, Any]:
        """What the manifest of a run should say of the loss beyond its parameters."""
        return {key: value for part in self.parts().values() for key, value in part.report().items()}

    def values(self) -> dict[str, Any]:
        """The parameters of the constructor, by name, as far as they are attributes."""
        names = inspect.signature(getattr(self, "made_of", type(self)).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self" and hasattr(self, name)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.values().items())})"

    def __reduce__(self) -> Any:
        """For copies and pickles: a class that is a torch.nn.Module too has a name like the class that was written."""
        made_of = vars(type(self)).get("made_of")
        return _bare, (made_of or type(self), made_of is not None), dict(vars(self))

    def _defined(self) -> str:
        return defined(getattr(self, "made_of", type(self)))

    def _bound(self, name: str) -> Tensor:
        """A tensor that ``bind`` has made. Raises RuntimeError where it was not called."""
        found = getattr(self, name, None)
        if found is None:
            raise RuntimeError(
                f"{type(self).__name__} must know the training set first: call bind(samples=N, classes=K, device=..., "
                "transition=T) once before use"
            )
        return found

    def _part(self, key: str, loss: Loss) -> Loss:
        """A loss that this one can be made of. Raises check.Invalid."""
        untaught = isinstance(loss, Loss) and type(loss).teacher_decay is Loss.teacher_decay
        if not untaught or loss.prunes or loss.views * loss.networks > 1 or loss.mixup or loss.source:
            may = "neither prunes, nor mixes images, nor has a teacher, nor needs another run"
            raise check.Invalid(key, loss, f"a loss of one network and one view that {may}")
        if getattr(loss, "reduction", "mean") != "mean" or getattr(loss, "ignore_index", None) is not None:
            raise check.Invalid(key, loss, "a loss without reduction and ignore_index, which are given to the whole")
        return loss


def _giver(kind: type, name: str) -> type:
    """The class that a class has a method from."""
    return next(each for each in kind.__mro__ if name in vars(each))


def _bare(cls: type[Loss], as_a_module: bool) -> Loss:
    """An object without any value yet."""
    from noisygce.losses.torch import as_module

    loss: Loss = object.__new__(as_module(cls) if as_a_module else cls)  # type: ignore[arg-type]
    return loss


class Pointwise(Loss):
    """A loss that looks at p_y alone. Subclasses give it as a function of log p_y."""

    def of(self, log_py: Tensor) -> Tensor:
        """The loss of samples whose given label has the probability p_y; any shape."""
        raise UserCodeError(f"{self._defined()} has no of(log_py)")

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.of(log_p(logits, labels))
