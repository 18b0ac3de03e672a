"""Predictions: what the best-validation model says of every sample, and how well that finds wrong labels.

n samples in all, of the training set first (training and validation, in its order), then of the test set; K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisygce.data import Ints
from noisygce.training import detection

if TYPE_CHECKING:
    from noisygce.training.fit import Training


@dataclass(frozen=True)
class Predictions:
    """p (n, K) float64; index (n,) into the training or the test set; split (n,): train, validation or test; given (n,)
    labels, noisy but in the test set; kept (n,) bool, false for training samples that are pruned at the end."""

    p: NDArray[np.float64]
    index: Ints
    split: NDArray[np.str_]
    given: Ints
    kept: NDArray[np.bool_]


def predict(t: Training) -> Predictions:
    """What the best-validation model says, in eval mode and without augmentation. The training is left as it is."""
    index = torch.cat([t.train, t.validation]).sort().values
    held_out = torch.isin(index, t.validation)
    with weights(t, t.best):
        p = torch.cat([probabilities(t.logits(index, t.between)), probabilities(t.test_logits(t.test, t.between))])
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


def detect(t: Training, best: Predictions) -> dict[str, Any]:
    """How well wrong labels among the training samples are found: ``detection.measure`` of the best-validation model
    (``best``) and of the one at the end (``last``), and the pruned set at the end."""
    mine = best.split == "train"
    index, given = torch.from_numpy(best.index[mine]), best.given[mine]
    wrong = given != t.task.clean[best.index[mine]]
    last = _array(probabilities(t.logits(index.to(t.train.device), t.between)))
    return {
        "best": detection.measure(best.p[mine], given, wrong),
        "last": detection.measure(last, given, wrong),
        "pruned": detection.of_pruned(best.kept[mine], wrong),
    }


@contextmanager
def weights(t: Training, of: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it the network has other weights; the current ones come back."""
    current = {name: tensor.clone() for name, tensor in t.network.state_dict().items()}
    t.network.load_state_dict(of)
    try:
        yield
    finally:
        t.network.load_state_dict(current)


def probabilities(logits: Tensor) -> Tensor:
    """Softmax of logits (n, K) in float64, on the CPU."""
    return logits.double().cpu().softmax(1)


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
