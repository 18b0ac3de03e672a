"""bf16 arithmetic costs no accuracy."""

import statistics

import pytest

from noisygce import settings
from noisygce.train import training_of
from noisygce.training import device
from noisygce.training.fit import fit

SEEDS = range(5)


def accuracies(precision: str) -> list[float]:
    """Test accuracy after the last epoch, in %, of each seed."""
    found = []
    for seed in SEEDS:
        words = ["data=digits", "loss=gce", "noise=uniform", "rate=0.4", f"seed={seed}", f"precision={precision}"]
        training = training_of(settings.read(settings.compose(words)), device.prepare("cpu", 1))
        found.append(100 * list(fit(training, lambda *_: None))[-1]["test_accuracy"])
    return found


@pytest.mark.slow
def test_bf16_is_as_accurate_as_fp32_within_the_noise_of_five_seeds():
    exact, rounded = accuracies("fp32"), accuracies("bf16")
    differences = [a - b for a, b in zip(exact, rounded, strict=True)]
    assert any(differences)  # it did round
    spread = statistics.stdev(exact)
    assert abs(statistics.mean(differences)) < 2 * spread / len(SEEDS) ** 0.5
    assert statistics.mean(exact) > 85  # which a network that learned nothing would not
