"""Probabilities from logits (B, K), as logarithms: of all classes, and of the given labels (B,)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
else:  # torch itself is not imported before there is something to compute
    Tensor = Any


def in_float(logits: Tensor) -> Tensor:
    """The logits in the type that a loss computes in: float64 if they are, else float32."""
    return logits if logits.element_size() == 8 else logits.float()


def log_softmax(logits: Tensor) -> Tensor:
    """log p (B, K), in float32 or, for float64 logits, float64."""
    return in_float(logits).log_softmax(1)


def log_p(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y (B,), in float32 or, for float64 logits, float64."""
    return pick(log_softmax(logits), labels)


def clipped(log_ps: Tensor, clip: float | None) -> Tensor:
    """log p with p clipped to [clip, 1 - clip], as Keras does with clip 1e-7; None: as it is. Gradient 0 beyond."""
    return log_ps if clip is None else log_ps.clamp(math.log(clip), math.log1p(-clip))


def pick(values: Tensor, labels: Tensor) -> Tensor:
    """The value of the given label (B,), from values (B, K).

    Raises ValueError where they do not fit together, and on a CPU IndexError for a label outside 0..K-1.
    """
    from torch.nn.functional import nll_loss

    _fit(values, labels)
    # The bits of gather, whose deterministic backward pass is 23 kernels on a GPU; this one is 5. No label is ignored.
    return -nll_loss(values, labels, ignore_index=-(2**63), reduction="none")


def rows(matrix: Tensor, labels: Tensor, values: Tensor) -> Tensor:
    """The row of a matrix (K, K) for each given label, in the type of values (B, K). Raises as ``pick``."""
    _fit(values, labels)
    # matrix[labels] would take the label -1 as K - 1.
    return matrix.to(values.dtype).index_select(0, labels)


def _fit(values: Tensor, labels: Tensor) -> None:
    if labels.shape != values.shape[:1]:
        raise ValueError(f"logits must be (B, K) and labels (B,), not {tuple(values.shape)} and {tuple(labels.shape)}")
