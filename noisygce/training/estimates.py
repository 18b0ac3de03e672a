"""Estimates of the noise from a model and the noisy labels alone: the rate of wrong labels, and T.

n samples, K classes, p (n, K) what a model says of each, given (n,) their noisy labels, T[y, z] = P(given z | true y).
No true label is read, but for the comparison with the truth. NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisygce.data import Ints
from noisygce.losses.forward import ANCHORS, transition_error

Floats = NDArray[np.float64]


def confident_joint(p: Floats, given: Ints) -> Floats:
    """The joint distribution of given and true labels, Q[z, y] = P(given z, true y) (K, K), estimated by counting.

    Confident learning (Northcutt et al. 2021, arXiv 1911.00068, eq. 1-3): a sample of given label z counts for the true
    class y of the largest p_y among those with p_y >= t_y, the mean of p_y over the samples that are given y; with none
    it does not count. Each class counts one right sample at least, as in cleanlab. Rows are then scaled to the shares
    of the given labels. p should be of a model that was not trained on these samples: a model that has memorised their
    labels believes all of them.
    """
    classes, rows = p.shape[1], np.arange(len(p))
    counts = np.bincount(given, minlength=classes)
    sums = np.bincount(given, weights=p[rows, given], minlength=classes)
    threshold = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(p >= threshold - 1e-9, p, -np.inf)  # equal but for rounding, where all of a class are alike
    true, certain = confident.argmax(axis=1), np.isfinite(confident).any(axis=1)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (given[certain], true[certain]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    found: Floats = joint / joint.sum(axis=1, keepdims=True) * (counts / len(given))[:, None]
    return found


def transition_of(joint: Floats) -> Floats:
    """T (K, K) of a joint distribution of given and true labels; of a class that nobody has, no label is wrong."""
    true = joint.sum(axis=0)
    found: Floats = np.where(true[:, None] > 0, joint.T / np.where(true > 0, true, 1)[:, None], np.eye(len(joint)))
    return found


def anchored(p: Floats, quantile: float) -> Floats:
    """T_hat[i] = p(x_i) (K, K), x_i the sample at ``quantile`` of p_i (Patrini et al. 2017, arXiv 1609.03683).

    p must estimate P(given | image), as that of ce does.
    """
    order = np.argsort(p, axis=0, kind="stable")
    return p[order[int(quantile * (len(p) - 1))]]


def dual(p: Floats, given: Ints, transition: Floats) -> Floats:
    """Dual-T: an estimate of T as a product of two (Yao et al. 2020, arXiv 2006.07805, section 3).

    ``transition`` (K, K), from true classes to those that the model predicts, T_hat[i] = p(x_i); times the share of
    each given label among the samples that are predicted a class. A class that is never predicted keeps its own label.
    """
    counts = np.zeros_like(transition)
    np.add.at(counts, (p.argmax(axis=1), given), 1)
    seen = counts.sum(axis=1, keepdims=True)
    found: Floats = transition @ np.where(seen > 0, counts / np.maximum(seen, 1), np.eye(len(counts)))
    return found


def rate(transition: Floats) -> float:
    """The share of wrong labels where all classes are equally frequent: the mean of 1 - T[y, y]."""
    return float(1 - transition.diagonal().mean())


def transitions(p: Floats, given: Ints, joint: Floats) -> dict[str, Floats]:
    """The estimates of T by the names of ``losses.forward.ESTIMATES``, from p (n, K) of training samples by a model
    whose p estimates P(given | image), and from a ``confident_joint``."""
    anchors = {name: anchored(p, quantile) for name, quantile in ANCHORS.items()}
    duals = {f"dual_{name}": dual(p, given, each) for name, each in anchors.items()}
    return {**anchors, **duals, "confident_joint": transition_of(joint)}


def report(
    joint: Floats, found: Mapping[str, Floats], true_rate: float | None, transition: Floats | None
) -> dict[str, Any]:
    """For the manifest: ``rate`` and ``t_error`` of the estimate by ``confident_joint`` and of those of T.

    true_rate, transition: what is true, or None where it is not known, and then no error is.
    """
    rates = {name: (rate(each), each) for name, each in found.items()}
    rates["confident_joint"] = 1 - float(joint.trace()), transition_of(joint)
    return {
        "true_rate": true_rate,
        **{
            name: {"rate": share, "t_error": None if transition is None else transition_error(each, transition)}
            for name, (share, each) in rates.items()
        },
    }
