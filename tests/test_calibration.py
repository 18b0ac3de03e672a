"""Calibration, against scikit-learn, scipy, plain loops and numbers that can be checked by head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from noisygce import verify
from noisygce.results import Result
from noisygce.training import calibration
from noisygce.training.fit import fit
from noisygce.training.predictions import calibrate

K = 7


@pytest.fixture
def sample():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(1003, K)) * 3
    return logits, np.where(generator.random(1003) < 0.6, logits.argmax(1), generator.integers(0, K, 1003))


def plain_ece(bins, p, labels):
    total = 0.0
    for members in bins:
        right = [p[i].argmax() == labels[i] for i in members]
        confident = [p[i].max() for i in members]
        total += len(members) / len(p) * abs(np.mean(right) - np.mean(confident)) if members else 0.0
    return total


def test_measures_are_those_of_scikit_learn_and_of_plain_loops(sample):
    logits, labels = sample
    log_p = calibration.log_softmax(logits)
    p = np.exp(log_p)
    found = calibration.measure(log_p, labels)
    assert found["nll"] == pytest.approx(log_loss(labels, p, labels=range(K)), rel=1e-12)
    brier = brier_score_loss(labels, p, labels=range(K), scale_by_half=False)
    assert found["brier"] == pytest.approx(brier, rel=1e-12)
    by_width = [[i for i in range(len(p)) if b / 15 < p[i].max() <= (b + 1) / 15] for b in range(15)]
    assert found["ece_equal_width"] == pytest.approx(plain_ece(by_width, p, labels), rel=1e-12)
    ranked = sorted(range(len(p)), key=lambda i: p[i].max())
    by_mass = [part.tolist() for part in np.array_split(np.array(ranked), 15)]
    assert found["ece"] == pytest.approx(plain_ece(by_mass, p, labels), rel=1e-12)
    assert [b["count"] for b in found["bins"]] == [len(part) for part in by_mass]
    bins, p, labels = calibration.measure(log_p[:900], labels[:900])["bins"], p[:900], labels[:900]  # 60 in each
    accuracy, confidence = calibration_curve(p.argmax(1) == labels, p.max(1), n_bins=15, strategy="quantile")
    np.testing.assert_allclose([b["accuracy"] for b in bins], accuracy, atol=1e-6)
    np.testing.assert_allclose([b["confidence"] for b in bins], confidence, atol=1e-6)


def test_two_samples_by_head():
    """p = (0.8, 0.2) twice, right and wrong: both are right in half of the cases, in one bin or in two."""
    found = calibration.measure(np.log([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1]))
    assert found["brier"] == pytest.approx((0.08 + 1.28) / 2)
    assert found["ece"] == pytest.approx(abs(0.5 - 0.8))
    assert found["ece_equal_width"] == pytest.approx(abs(0.5 - 0.8))


def test_the_order_of_samples_does_not_matter_where_confidences_are_equal():
    """A network that says the same of all images is right for a third of them, though the test set is sorted."""
    log_p = calibration.log_softmax(np.tile([1.0, 0.0, 0.0], (150, 1)))
    sorted_labels = np.repeat([0, 1, 2], 50)
    found = calibration.measure(log_p, sorted_labels)
    assert found["ece"] == pytest.approx(abs(1 / 3 - np.exp(log_p[0, 0])), rel=1e-12)
    assert found["ece"] == pytest.approx(found["ece_equal_width"], rel=1e-12)
    labels = np.random.default_rng(0).permutation(sorted_labels)
    assert calibration.measure(log_p, labels)["ece"] == pytest.approx(found["ece"], rel=1e-12)


def test_the_temperature_minimises_the_nll(sample):
    logits, labels = sample

    def nll(t):
        return log_loss(labels, np.exp(calibration.log_softmax(logits / t)), labels=range(K))

    best = minimize_scalar(nll, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10})
    found = calibration.temperature(logits, labels)
    assert found == pytest.approx(best.x, rel=1e-6)
    assert found == pytest.approx(calibration.temperature(logits * 4, labels) / 4, rel=1e-12)
    assert calibration.temperature(logits, logits.argmax(1)) == pytest.approx(1e-3)  # always right: as sure as can be
    assert calibration.temperature(logits, logits.argmin(1)) == pytest.approx(1e3)


def test_both_models_are_measured_on_the_test_set_and_scaled_by_validation_labels(make):
    t = make("noise=uniform", "rate=0.4")
    for _ in fit(t, lambda *_: None):
        pass
    before = {name: tensor.clone() for name, tensor in t.tensors().items()}
    found = calibrate(t)
    assert all(torch.equal(tensor, before[name]) for name, tensor in t.tensors().items())
    last, labels = t.test_logits(t.test).double().numpy(), t.test_labels[t.test].numpy()
    noisy = t.logits(t.validation).double().numpy(), t.noisy[t.validation].numpy()
    assert found["last"]["plain"] == calibration.measure(calibration.log_softmax(last), labels)
    assert found["last"]["temperature"] == calibration.temperature(*noisy)
    assert found["best"]["plain"]["nll"] != found["last"]["plain"]["nll"]
    scaled = calibration.measure(calibration.log_softmax(last / found["last"]["temperature"]), labels)
    assert found["last"]["scaled"]["ece"] == scaled["ece"]


def test_without_validation_or_test_samples_there_is_nothing_to_scale_by_or_to_measure(make):
    t = make("data.validation=0")
    found = calibrate(t)
    assert found["best"] is None
    assert (found["last"]["scaled"], found["last"]["temperature"]) == (None, None)
    assert found["last"]["plain"]["nll"] > 0
    t.test = t.test[:0]
    assert calibrate(t) == {"best": None, "last": None}


def test_a_changed_calibration_error_is_not_what_its_bins_give(sample):
    logits, labels = sample
    plain = calibration.measure(calibration.log_softmax(logits), labels)

    def faults(ece):
        manifest = {"calibration": {"best": None, "last": {"plain": {**plain, "ece": ece}}}}
        return list(verify.calibration(Result("run", Path(), "done", {}, manifest)))

    assert faults(plain["ece"]) == []
    assert "its bins give" in faults(plain["ece"] + 0.001)[0]
