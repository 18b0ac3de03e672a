"""A search for hyper-parameters by Optuna's sweeper of Hydra: what it sees, what it chooses, how it goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers_reliability import train
from omegaconf import OmegaConf

from noisygce import results, settings
from noisygce.runs import noisy_validation
from noisygce.sweep import tuning

SEARCH = ("-m", "data=digits", "data.subset=200", "schedule.epochs=3", "loss=gce", "runtime.threads=1")
SEARCH += ("hydra/sweeper=optuna", "loss.q=interval(0.1,1.0)")


def test_noisy_validation_is_that_of_the_best_and_of_the_last_epoch() -> None:
    rows = [{"val_accuracy": share} for share in ("0.5", "0.75", 0.25)]
    assert noisy_validation(rows) == {"best": 0.75, "last": 0.25}
    assert noisy_validation([{"val_accuracy": None}]) == {"best": None, "last": None}


def test_a_sweep_over_a_grid_is_told_nothing() -> None:
    assert tuning.overrides(settings.compose(["data=digits"], with_hydra=True).hydra, ["loss.q=0.1,0.2"]) == []


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_what_the_command_line_says_of_a_search_is_not_said_again(plus: str) -> None:
    node = {"_target_": "hydra_plugins.optuna", "direction": "minimize", "n_jobs": 2, "sampler": {"seed": None}}
    hydra = OmegaConf.create({"sweeper": node})
    given = ("hydra.sweeper.n_jobs=4", "hydra.sweep.dir=there")
    said = tuning.overrides(hydra, ["-m", *(f"{plus}{word}" for word in given)])
    assert {word.lstrip("+").partition("=")[0] for word in said} == {
        *("hydra.sweeper.direction", "hydra.sweeper.sampler.seed", "hydra.callbacks.best._target_")
    }


@pytest.mark.slow
def test_a_search_by_optuna_chooses_by_noisy_validation_and_goes_on_with_the_same_trials(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs noisygce[tuning]")
    code, text = train(tmp_path, *SEARCH, "hydra.sweeper.n_trials=2")
    assert code == 0, text
    code, text = train(tmp_path, *SEARCH, "hydra.sweeper.n_trials=4")
    assert code == 0, text
    assert text.count("images on cpu") == 2  # the first two trials are the same runs, which are finished
    found = results.found(tmp_path / "results")
    assert [run.state for run in found] == ["done"] * 4
    shares = {run.id: run.manifest["noisy_validation"]["best"] for run in found}
    for run in found:
        assert shares[run.id] == max(float(row["val_accuracy"]) for row in run.rows())
    best = re.search(r"best of 4 by noisy validation, ([0-9.]+) %: loss\.q=(\S+) \((\S+)\)", text)
    assert best
    assert shares[best[3]] == max(shares.values()) == pytest.approx(float(best[1]) / 100, abs=1e-4)
    chosen = json.loads((tmp_path / "results" / "runs" / best[3] / "manifest.json").read_text())
    assert chosen["config"]["loss"]["q"] == float(best[2])
