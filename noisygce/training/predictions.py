"""Predictions: what the best-validation model says of every sample, and how well that finds wrong labels.

n samples in all, of the training set first (training and validation, in its order), then of the test set; K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisygce.data import Ints
from noisygce.training import detection
from noisygce.training.fit import Training, weights

Stop = Callable[[], None]  # called between the batches of an evaluation; may raise


@dataclass(frozen=True)
class Predictions:
    """p (n, K) float64; index (n,) into the training or the test set; split (n,): train, validation or test; given (n,)
    labels, noisy but in the test set; kept (n,) bool, false for training samples that are pruned at the end."""

    p: NDArray[np.float64]
    index: Ints
    split: NDArray[np.str_]
    given: Ints
    kept: NDArray[np.bool_]


def predict(t: Training, stop: Stop = lambda: None) -> Predictions:
    """What the best-validation model says, in eval mode and without augmentation. The training is left as it is."""
    index = torch.cat([t.train, t.validation]).sort().values
    held_out = torch.isin(index, t.validation)
    with weights(t, t.best):
        p = torch.cat([probabilities(t.logits(index, stop)), probabilities(t.test_logits(t.test, stop))])
    split = np.where(_array(held_out), "validation", "train")
    kept = t.step.kept[index] | held_out
    tests = len(t.test)
    return Predictions(
        _array(p),
        _array(torch.cat([index, t.test])),
        np.concatenate([split, np.full(tests, "test")]),
        _array(torch.cat([t.noisy[index], t.test_labels[t.test]])),
        np.concatenate([_array(kept), np.ones(tests, dtype=bool)]),
    )


def detect(t: Training, best: Predictions, stop: Stop = lambda: None) -> dict[str, Any]:
    """How well wrong labels among the training samples are found: ``detection.measure`` of the best-validation model
    (``best``) and of the one at the end (``last``), and the pruned set at the end. Null where truth is unknown,
    and for the pruned set of a loss that prunes nothing."""
    mine = best.split == "train"
    index, given = torch.from_numpy(best.index[mine]), best.given[mine]
    wrong = given != t.task.clean[best.index[mine]] if t.task.arrays.truth else None
    last = _array(probabilities(t.logits(index.to(t.train.device), stop)))
    return {
        "best": detection.measure(best.p[mine], given, wrong),
        "last": detection.measure(last, given, wrong),
        "pruned": detection.of_pruned(best.kept[mine], wrong if t.loss.prunes else None),
    }


def probabilities(logits: Tensor) -> Tensor:
    """Softmax of logits (n, K) in float64, on the CPU."""
    return logits.double().cpu().softmax(1)


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
