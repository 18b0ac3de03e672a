"""The protocol of the robust-loss papers: values as in their code, and which of their numbers may be compared."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from helpers_reliability import EACH_STEP, Command, train

from noisygce import results, settings
from noisygce.sweep.plan import identities, jobs_of
from noisygce.view import published
from noisygce.view.published import Number, flat


@pytest.mark.parametrize(
    ("data", "epochs", "lr", "weight_decay", "rotation"),
    [("cifar10", 120, 0.01, 1e-4, 0), ("cifar100", 200, 0.1, 1e-5, 20)],
)
def test_values_are_those_of_the_papers_code(data: str, epochs: int, lr: float, weight_decay: float, rotation) -> None:
    """github.com/cswjl/eps-softmax, main.py, config.py and transformers.py; APL's and ALFs' code have the same."""
    e = settings.read(settings.compose([f"experiment=robust_losses_{data}"]))
    s = e.schedule
    assert (s.epochs, s.lr, s.weight_decay, s.momentum, s.batch_size) == (epochs, lr, weight_decay, 0.9, 128)
    assert (s.annealing, s.clip_norm) == ("cosine", 5)
    assert not e.split.holds_out
    assert e.model.init == "he_uniform"
    assert (e.preprocessing.padding, e.preprocessing.flip, e.preprocessing.rotation) == (4, True, rotation)
    assert e.preprocessing.normalise == "channel"


# What get_ce_and_lc and get_eps_softmax of their config.py give: noise, rate -> delta; a, b, m.
DELTA = {
    "cifar10": lambda noise, rate: 2.5 if noise == "class_map" else 1.0 if rate < 0.5 else 1.5,
    "cifar100": lambda noise, _: 2.5 if noise == "index_block" else 0.5,
}
EPS = {
    "cifar10": lambda noise, _: (0.02, 5, 1e3) if noise == "class_map" else (0.01, 5, 1e5),
    "cifar100": lambda noise, rate: (
        ({0.1: 0.015, 0.2: 0.007, 0.3: 0.005, 0.4: 0.004}[rate], 1, 1e2)
        if noise == "index_block"
        else ({0: 0.1, 0.2: 0.05, 0.4: 0.03, 0.6: 0.00125, 0.8: 0.0075}[rate], 1, 1e4)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_every_setting_of_the_table_has_its_published_number_and_the_values_of_the_code(data: str) -> None:
    jobs = jobs_of([f"experiment=table_robust_losses_{data}"])
    assert Counter(override for job in jobs for override in job if override.startswith("seed=")) == Counter(
        {f"seed={seed}": 117 for seed in range(3)}
    )
    with open(Path(published.__file__).with_name("published_robust_losses.csv"), newline="") as file:
        rows = {(r["loss"], r["noise"], float(r["rate"])): r for r in csv.DictReader(file) if r["dataset"] == data}
    assert len(rows) == 126
    seen = set()
    for config in (flat(made) for made, _ in identities([job for job in jobs if "seed=0" in job])):
        loss, noise, rate = (config[key] for key in ("loss.name", "noise.name", "rate"))
        found = published.number(config, "last")
        assert isinstance(found, Number), (loss, noise, rate, found)
        row = rows[loss, noise, rate]
        assert (100 * found.mean, 100 * (found.std or 0)) == pytest.approx((float(row["mean"]), float(row["std"])))
        assert isinstance(published.number(config, "val"), str)
        if loss == "ce_lc":
            delta = DELTA[data](noise, rate)
            assert (config["loss.delta"], config["loss.above"]) == pytest.approx((delta, 1 / delta))
        if loss == "ce_eps_mae":
            assert (config["loss.a"], config["loss.b"], config["loss.first.m"]) == EPS[data](noise, rate)
        seen.add((loss, noise, rate))
    assert {key for key in rows if key not in seen} == {key for key in rows if key[0] == "nlnl"}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("noise.exact=false", "noise.exact"),
        ("data.validation=5000", "data.validation"),
        ("schedule.clip_norm=null", "schedule.clip_norm"),
        ("model.init=torch", "model.init"),
        ("loss.clip=1e-7", "loss.clip"),
        ("precision=fp32", ""),
    ],
)
def test_a_run_is_compared_only_where_all_of_the_protocol_is_equal(other: str, said: str) -> None:
    job = ["experiment=robust_losses_cifar10", "loss=ce", "noise=uniform", "noise.exact=true", "rate=0.4"]
    ((made, _),) = identities([[*job, other]])
    config = flat(made)
    found = published.number(config, "last")
    assert found == f"not comparable: protocol ({said})" if said else isinstance(found, Number)
    if isinstance(found, Number):
        assert published.named([(config, found)]) == "precision=fp32 (the paper: fp32)"


@pytest.mark.slow
def test_a_killed_run_of_the_protocol_goes_on_to_the_same_bits(official, tmp_path: Path) -> None:
    official("cifar10")  # or it is skipped
    words = ("experiment=robust_losses_cifar10", "loss=nce_rce", "noise=class_map", "noise.sequential=true")
    words += ("noise.exact=true", "data.subset=200", "schedule.epochs=3", "runtime.threads=1", "rate=0.4")
    words += ("model.channels=[8,8,8]", "model.width=16")  # for time
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(whole, *words)[0] == 0
    command = Command(killed, *words, EACH_STEP)
    command.until(lambda: any(path.read_text().count("\n") > 1 for path in killed.glob("results/runs/*/metrics.csv")))
    command.kill()
    code, text = train(killed, *words)
    assert code == 0, text
    assert "resumes at epoch" in text
    first, second = (results.found(folder / "results")[0] for folder in (whole, killed))
    assert first.state == second.state == "done"
    assert first.manifest["state_sha256"] == second.manifest["state_sha256"]
    assert first.rows() == second.rows()
    assert first.manifest["noise"]["realised_rate"] == pytest.approx(0.184, abs=0.002)
