"""Detection: how well a model's beliefs tell wrong labels from right ones.

n samples, log_p (n, K) the log-probabilities of a model, given (n,) their labels. The lower the score of a sample, the
more suspicious its given label. Scores are computed from logarithms, since p itself runs out of digits: a sure model
has thousands of margins of exactly -1. NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisygce.data import Ints

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

SCORES = {"margin": "margin_log_odds", "self_confidence": "log_p_given"}  # and what stands for each


def score(name: str, log_p: NDArray[np.float64], given: Ints) -> NDArray[np.float32]:
    """The score (n,) of each sample, of ``SCORES`` (Northcutt et al. 2021, arXiv 1911.00068; Kuan & Mueller 2022).

    self_confidence: log p_given. margin: with m = p_given - max_{k != given} p_k in [-1, 1], log((1 + m) / (1 - m)),
    which ranks as m does without an end at -1 and 1; below 0 where the model predicts another class.
    With o that other class and r the sum of the remaining p it is log(2 p_given + r) - log(2 p_o + r).
    """
    rows = np.arange(len(log_p))
    own = log_p[rows, given]
    if name == "self_confidence":
        return own.astype(np.float32)
    other, top = rival(log_p, given)
    remaining = log_p.copy()
    remaining[rows, given] = remaining[rows, other] = -np.inf
    r = np.logaddexp.reduce(remaining, axis=1)
    odds = np.logaddexp(own + np.log(2), r) - np.logaddexp(top + np.log(2), r)
    return odds.astype(np.float32)  # type: ignore[no-any-return]


def rival(p: NDArray[Any], given: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """The likeliest class beside the given one (n,), the first of equals, and its p, or log p where those are given."""
    others = p.astype(np.float64)
    rows = np.arange(len(p))
    others[rows, given] = -np.inf
    best = others.argmax(1)
    return best, others[rows, best]


def auroc(scores: Floats, wrong: Flags) -> float | None:
    """Area under the ROC curve: the chance that a wrong label has a lower score than a right one, ties counting half.

    Exact: from ranks as integers (Mann & Whitney 1947). None where one of the two kinds is missing.
    """
    bad = int(wrong.sum())
    good = len(wrong) - bad
    if not bad or not good:
        return None
    _, which, count = np.unique(-scores, return_inverse=True, return_counts=True)
    below = count.cumsum() - count
    twice_rank = 2 * below + count + 1  # of each distinct value, its rank in the middle of its ties, doubled
    above = int(twice_rank[which[wrong]].sum()) - bad * (bad + 1)
    return above / (2 * bad * good)


def average_precision(scores: Floats, wrong: Flags) -> float | None:
    """Sum over distinct scores s of (recall step at s) x (precision of all samples with a score <= s).

    No interpolation, as scikit-learn's. None where no label is wrong.
    """
    bad = int(wrong.sum())
    if not bad:
        return None
    order = np.argsort(scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of the samples of each distinct score
    found = wrong[order].cumsum()[last]
    return float((np.diff(found, prepend=0) * (found / (last + 1))).sum() / bad)


def measure(scores: Mapping[str, Floats], wrong: Flags | None) -> dict[str, dict[str, float | None]]:
    """``auroc`` and ``ap`` of every score, for samples that are mislabelled (``wrong``) or not; None: not known."""
    if wrong is None:
        return {name: {"auroc": None, "ap": None} for name in scores}
    return {name: {"auroc": auroc(s, wrong), "ap": average_precision(s, wrong)} for name, s in scores.items()}


def of_pruned(kept: Flags, wrong: Flags | None) -> dict[str, float | None]:
    """precision: share of the pruned that are mislabelled; recall: share of the mislabelled that are pruned. Null where
    there is nothing to divide by, and where it is not known which samples are mislabelled (None)."""
    if wrong is None:
        return {"precision": None, "recall": None}
    caught, pruned, bad = int((~kept & wrong).sum()), int((~kept).sum()), int(wrong.sum())
    return {"precision": caught / pruned if pruned else None, "recall": caught / bad if bad else None}
