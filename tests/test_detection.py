"""Measures of how well wrong labels are found: against scikit-learn, by hand, and at their edges."""

import numpy as np
import pytest
from sklearn import metrics

from noisygce.training import detection


def drawn(seed, n=400, k=5, digits=None):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 0.3), n)
    given = rng.integers(0, k, n)
    wrong = rng.random(n) < 1 - p[np.arange(n), given] ** 0.2
    return np.log((p.round(digits) if digits else p).clip(1e-12)), given, wrong


@pytest.mark.parametrize("digits", [None, 3, 1])  # 1: hardly a score without a tie
@pytest.mark.parametrize("name", detection.SCORES)
def test_auroc_and_ap_are_those_of_scikit_learn(name, digits):
    for seed in range(5):
        log_p, given, wrong = drawn(seed, digits=digits)
        scores = detection.score(name, log_p, given)
        found = detection.measure({name: scores}, wrong)[name]
        assert found["auroc"] == pytest.approx(metrics.roc_auc_score(wrong, -scores), abs=1e-12)
        assert found["ap"] == pytest.approx(metrics.average_precision_score(wrong, -scores), abs=1e-12)


def test_auroc_counts_pairs():
    scores, wrong = np.array([0.1, 0.4, 0.4, 0.9]), np.array([True, True, False, False])
    assert detection.auroc(scores, wrong) == 3.5 / 4  # 0.1 below both, 0.4 ties one and is below the other
    assert detection.average_precision(scores, wrong) == 0.5 * 1 + 0.5 * 2 / 3


def test_scores_by_hand():
    p, given = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.5, 0.5, 0.0]]), np.array([0, 2, 1])
    log_p = np.log(p.clip(1e-300))
    assert np.exp(detection.score("self_confidence", log_p, given)) == pytest.approx([0.7, 0.1, 0.5])
    assert np.tanh(detection.score("margin", log_p, given) / 2) == pytest.approx([0.5, -0.6, 0.0])
    assert detection.rival(p, given)[0].tolist() == [1, 0, 0]


def test_the_margin_ranks_as_itself_and_has_no_end():
    log_p, given, _ = drawn(0)
    p = np.exp(log_p)
    margin = p[np.arange(len(p)), given] - detection.rival(p, given)[1]
    assert np.tanh(detection.score("margin", log_p, given).astype(float) / 2) == pytest.approx(margin, abs=1e-6)
    sure = np.array([[-gap, 0.0, -gap - 1] for gap in (10.0, 20, 40, 80, 800)])  # m = -1 in float64 from the third on
    scores = detection.score("margin", sure, np.zeros(5, dtype=int))
    assert (np.diff(scores) < 0).all()
    assert np.isfinite(scores).all()


def test_where_nothing_is_wrong_there_is_nothing_to_find():
    log_p, given, _ = drawn(0)
    nothing, scores = np.zeros(len(log_p), dtype=bool), {"margin": detection.score("margin", log_p, given)}
    assert detection.measure(scores, nothing)["margin"] == {"auroc": None, "ap": None}
    assert detection.measure(scores, ~nothing)["margin"] == {"auroc": None, "ap": 1.0}
    assert detection.of_pruned(~nothing, nothing) == {"precision": None, "recall": None}


def test_precision_and_recall_of_the_pruned_set():
    kept, wrong = np.array([False, False, False, True, True]), np.array([True, False, True, True, False])
    assert detection.of_pruned(kept, wrong) == {"precision": 2 / 3, "recall": 2 / 3}
