"""Predictions of a model for every sample, how well that finds wrong labels, and how well it is calibrated.

The model is the one that was best on noisy validation, or the last one where nothing is held out.

n samples in all, of the training set first (training and validation, in its order), then of the test set; K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisygce.data import Ints
from noisygce.training import calibration, detection, estimates
from noisygce.training.fit import Training, latest, logits_of_best, weights

Stop = Callable[[], None]  # called between the batches of an evaluation; may raise


@dataclass(frozen=True)
class Predictions:
    """p (n, K) float64; index (n,) into the training or the test set; split (n,): train, validation or test; given (n,)
    labels, noisy but in the test set; kept (n,) bool, false for training samples that are pruned at the end; predicted
    (n,), the likeliest class; margin_log_odds, log_p_given (n,) float32, the scores of ``detection``."""

    p: NDArray[np.float64]
    index: Ints
    split: NDArray[np.str_]
    given: Ints
    kept: NDArray[np.bool_]
    predicted: Ints
    margin_log_odds: NDArray[np.float32]
    log_p_given: NDArray[np.float32]


def predict(t: Training, stop: Stop = lambda: None) -> Predictions:
    """What the kept model, the best on validation or else the last one, says in eval mode and without augmentation. The
    training is left as it is."""
    index = torch.cat([t.train, t.validation]).sort().values
    held_out = torch.isin(index, t.validation)
    with weights(t, t.best):
        logits = torch.cat([t.logits(index, stop), t.test_logits(t.test, stop)]).double().cpu()
    split = np.where(_array(held_out), "validation", "train")
    kept = t.step.kept[index] | held_out
    tests = len(t.test)
    given = _array(torch.cat([t.noisy[index], t.test_labels[t.test]]))
    return Predictions(
        _array(logits.softmax(1)),
        _array(torch.cat([index, t.test])),
        np.concatenate([split, np.full(tests, "test")]),
        given,
        np.concatenate([_array(kept), np.ones(tests, dtype=bool)]),
        _array(logits.argmax(1)),
        **_scores(logits, given),
    )


def detect(t: Training, best: Predictions, stop: Stop = lambda: None) -> dict[str, Any]:
    """How well wrong labels among the training samples are found: ``detection.measure`` of the best-validation model
    (``best``) and of the one at the end (``last``), and the pruned set at the end. Null where truth is unknown, for
    the best model where nothing is held out, and for the pruned set of a loss that prunes nothing."""
    mine = best.split == "train"
    index, given = torch.from_numpy(best.index[mine]), best.given[mine]
    wrong = given != t.task.clean[best.index[mine]] if t.task.arrays.truth else None
    with latest(t):
        last = _scores(t.logits(index.to(t.train.device), stop).double().cpu(), given)

    def measured(scores: Mapping[str, NDArray[np.float32]], known: bool) -> dict[str, dict[str, float | None]]:
        own = {name: scores[column] for name, column in detection.SCORES.items()}
        return detection.measure(own, wrong if known else None)

    own = {column: getattr(best, column)[mine] for column in detection.SCORES.values()}
    return {
        "best": measured(own, known=len(t.validation) > 0),
        "last": measured(last, known=True),
        "pruned": detection.of_pruned(best.kept[mine], wrong if t.loss.prunes else None),
    }


def calibrate(t: Training, stop: Stop = lambda: None) -> dict[str, Any]:
    """``calibration.measure`` on the test set of the best-validation model (``best``) and of the one at the end
    (``last``): ``plain``, and ``scaled`` by the ``temperature`` that fits the noisy validation labels.

    Null without a test set; for the best model and what is scaled also where nothing is held out.
    """
    held_out, tested = len(t.validation) > 0, len(t.test) > 0

    def measured() -> dict[str, Any]:
        logits, labels = _numbers(t.test_logits(t.test, stop)), _array(t.test_labels[t.test])
        found: dict[str, Any] = {"plain": calibration.measure(calibration.log_softmax(logits), labels)}
        if not held_out:
            return {**found, "scaled": None, "temperature": None}
        noisy = _numbers(t.logits(t.validation, stop)), _array(t.noisy[t.validation])
        found["temperature"] = calibration.temperature(*noisy)
        scaled = calibration.measure(calibration.log_softmax(logits / found["temperature"]), labels)
        return {**found, "scaled": {name: value for name, value in scaled.items() if name != "bins"}}

    if not tested:
        return {"best": None, "last": None}
    best = None
    if held_out:
        with weights(t, t.best):
            best = measured()
    with latest(t):
        return {"best": best, "last": measured()}


def estimate(t: Training, stop: Stop = lambda: None) -> tuple[dict[str, Any], dict[str, estimates.Floats]]:
    """Of the best-validation model: ``estimates.report``, and the estimates of T by name, none where its p does not
    estimate P(given | image). The rate is counted on the validation samples, which no model was trained on."""
    with weights(t, t.best):
        p = _numbers(t.logits(t.validation, stop).double().softmax(1))
    joint = estimates.confident_joint(p, _array(t.noisy[t.validation]))
    found: dict[str, estimates.Floats] = {}
    if t.loss.estimates_transition:
        p = _numbers(logits_of_best(t, stop).double().softmax(1))
        found = estimates.transitions(p, _array(t.noisy[t.train]), joint)
    known, taken = t.task.arrays.truth, torch.cat([t.train, t.validation])
    true_rate = float((t.noisy[taken] != t.clean[taken]).double().mean()) if known else None
    return estimates.report(joint, found, true_rate, t.task.transition if known else None), found


def _numbers(logits: Tensor) -> NDArray[np.float64]:
    return _array(logits.double())


def _scores(logits: Tensor, given: Ints) -> dict[str, NDArray[np.float32]]:
    log_p = _array(logits.log_softmax(1))
    return {column: detection.score(name, log_p, given) for name, column in detection.SCORES.items()}


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.cpu().numpy()
