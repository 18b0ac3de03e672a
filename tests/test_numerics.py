"""The numbers themselves, as committed: who changes one by a change of code raises runs.NUMERICS."""

import pytest

from noisygce import runs
from noisygce.training.fit import fit

# Digits, four channels, float32, three epochs of eleven steps (tgce: pruned after epoch 2): train loss, train accuracy,
# noisy validation accuracy, test accuracy and kept samples of each epoch. Under each NUMERICS what it computes; seen
# the same to 1e-5 with one thread and two, with AVX512, AVX2 and neither.
EXPECTED = {
    1: {
        "ce": [
            (2.254831, 0.186667, 0.246667, 0.336700, 1350),
            (2.072988, 0.317778, 0.373333, 0.498316, 1350),
            (2.001083, 0.376296, 0.453333, 0.602694, 1350),
        ],
        "gce": [
            (1.142240, 0.102963, 0.106667, 0.144781, 1350),
            (1.132035, 0.211111, 0.153333, 0.225589, 1350),
            (1.129212, 0.230370, 0.186667, 0.279461, 1350),
        ],
        "tgce": [
            (1.142240, 0.102963, 0.106667, 0.144781, 1350),
            (1.132035, 0.211111, 0.153333, 0.225589, 1350),
            (1.083531, 0.560241, 0.160000, 0.232323, 498),
        ],
        "tgce mask": [
            (1.142240, 0.102963, 0.106667, 0.144781, 1350),
            (1.132035, 0.211111, 0.153333, 0.225589, 1350),
            (0.401000, 0.224444, 0.166667, 0.252525, 498),
        ],
        "augmented": [
            (1.145045, 0.080000, 0.106667, 0.114478, 1350),
            (1.139797, 0.113333, 0.086667, 0.050505, 1350),
            (1.139858, 0.128148, 0.120000, 0.087542, 1350),
        ],
        "elr": [
            (2.159235, 0.183704, 0.220000, 0.340067, 1350),
            (1.889067, 0.307407, 0.333333, 0.451178, 1350),
            (1.733038, 0.356296, 0.413333, 0.521886, 1350),
        ],
        "mixup": [
            (2.293906, 0.125185, 0.206667, 0.319865, 1350),
            (2.235270, 0.195556, 0.266667, 0.350168, 1350),
            (2.209665, 0.232593, 0.326667, 0.461279, 1350),
        ],
        "jocor": [
            (0.479425, 0.119259, 0.113333, 0.097643, 1350),
            (0.462365, 0.146667, 0.120000, 0.134680, 1350),
            (0.458394, 0.151852, 0.133333, 0.164983, 1350),
        ],
        "drawn": [
            (2.241976, 0.174815, 0.213333, 0.144781, 1350),
            (2.109732, 0.235556, 0.226667, 0.195286, 1350),
            (2.062168, 0.237778, 0.246667, 0.242424, 1350),
        ],
        "cosine": [
            (2.254831, 0.186667, 0.120000, 0.144781, 1350),
            (2.009976, 0.351852, 0.373333, 0.575758, 1350),
            (1.840572, 0.472593, 0.500000, 0.730640, 1350),
        ],
    },
}
RUNS = {
    "ce": ["loss=ce"],
    "gce": ["loss=gce"],
    "tgce": ["loss=tgce", "loss.k=0.11", "prune.start=2"],
    "tgce mask": ["loss=tgce", "loss.k=0.11", "prune.start=2", "prune.mode=mask"],
    "augmented": ["loss=gce", "data.padding=1", "data.flip=true", "data.normalise=pixel_mean", "noise=pair"],
    "elr": ["loss=elr"],
    "mixup": ["loss=mixup"],
    "jocor": ["loss=jocor"],
    "drawn": ["loss=ce", "data.randaugment=[2,9]", "data.cutout=3", "noise=instance"],
    "cosine": [
        "loss=ce",
        "schedule.annealing=cosine",
        "schedule.milestones=[]",
        "schedule.clip_norm=1",
        "schedule.ema=0.9",
    ],
}


def measured(make, overrides):
    keys = "train_loss", "train_accuracy", "val_accuracy", "test_accuracy", "kept"
    whole = ["data.subset=null", "schedule.batch_size=128", "schedule.epochs=3", "schedule.milestones=[1]"]
    rows = fit(make(*whole, *overrides), lambda *_: None)
    return [tuple(row[key] for key in keys) for row in rows]


@pytest.mark.parametrize("name", RUNS)
def test_numbers_are_those_of_this_version(make, name):
    hint = "a number has changed: raise NUMERICS in noisygce/runs/ids.py and put the new numbers here under it"
    assert runs.NUMERICS in EXPECTED, hint
    found = measured(make, RUNS[name])
    assert len(found) == 3
    for row, expected in zip(found, EXPECTED[runs.NUMERICS][name], strict=True):
        assert row == pytest.approx(expected, rel=0, abs=1e-4), f"{hint}: {found}"
