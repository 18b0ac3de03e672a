"""Pruning: the samples that the truncated loss keeps, how right it is about the others; what a network memorises."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from noisygce.losses import Loss
from noisygce.training import detection


def kept_set(loss: Loss, logits: Tensor, labels: Tensor, train: Tensor, before: Tensor) -> tuple[Tensor, str]:
    """The kept set (N,), bool, solved again over ALL training samples; a pruned sample can come back.

    logits (n, K): of the best-validation model in eval mode, for the training indices ``train`` (n,); labels (N,) the
    noisy ones; before (N,) the kept set so far. Where fewer than two would be left the set stays as it is, and the
    second value says so: batch norm cannot train on one; it also names classes without a kept sample.
    """
    keep = loss.keep(logits, labels[train])
    if (left := int(keep.sum())) < 2:
        pruned = "all but one sample" if left else "every sample"
        return before, f"{pruned} would have been pruned: the kept set stays as it was"
    kept = before.clone()
    kept[train] = keep
    present, remaining = labels[train].unique(), labels[train][keep].unique()
    gone = [int(y) for y in present if not (remaining == y).any()]
    return kept, f"no sample is kept of class {', '.join(map(str, gone))}" if gone else ""


def report(kept: Tensor, noisy: Tensor, clean: Tensor | None, train: Tensor, classes: int) -> dict[str, Any]:
    """How right a pruning is; clean: None where true labels are not known.

    precision, recall: ``detection.of_pruned``. kept_share: of all training samples; kept_share_per_class: by given
    label. Null where there is nothing to divide by, or unknown.
    """
    keep, given = kept[train], noisy[train]
    wrong = None if clean is None else (given != clean[train]).cpu().numpy()
    per_class = torch.bincount(given, minlength=classes), torch.bincount(given[keep], minlength=classes)
    return {
        "kept": int(keep.sum()),
        "kept_share": share(int(keep.sum()), len(keep)),
        **detection.of_pruned(keep.cpu().numpy(), wrong),
        "kept_share_per_class": [share(int(k), int(n)) for n, k in zip(*per_class, strict=True)],
    }


def memorisation(predicted: Tensor, noisy: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """Predictions for the mislabelled samples that were trained on in this epoch: shares that sum to 1.

    predicted (n,): -1 where a sample took no part; noisy, clean (n,) its labels. The shares are float64 on the device,
    NaN where no mislabelled sample took part.
    """
    wrong = (noisy != clean) & (predicted >= 0)
    as_true, as_noisy = (wrong & (predicted == clean)).sum(), (wrong & (predicted == noisy)).sum()
    total = wrong.sum().double()
    return {
        "mislabelled_as_true": as_true / total,
        "mislabelled_as_noisy": as_noisy / total,
        "mislabelled_as_other": (total - as_true - as_noisy) / total,
    }


def changes(before: Tensor, now: Tensor) -> Tensor:
    """Share of the samples trained on in two epochs whose prediction differs between them (Yuan et al. 2024, arXiv
    2502.07551, Label Wave); NaN where there is none.

    before, now (n,): predictions while training on a sample, -1 where it took no part. The share, float64, stays on
    the device.
    """
    both = (before >= 0) & (now >= 0)
    return (both & (before != now)).sum() / both.sum().double()


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
