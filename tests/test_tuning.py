"""A search for hyper-parameters by Optuna's sweeper of Hydra: what it sees, what it chooses, how it goes on."""

from __future__ import annotations

import contextlib
import enum
import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers_reliability import one_line, train
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from noisygce import results, runs, settings
from noisygce.errors import ConfigError, NonFinite
from noisygce.runs import noisy_validation
from noisygce.settings import hints
from noisygce.sweep import tuning

SEARCH = ("-m", "data=digits", "data.subset=200", "schedule.epochs=3", "loss=gce", "runtime.threads=1")
SEARCH += ("hydra/sweeper=optuna", "loss.q=interval(0.1,1.0)")


def test_noisy_validation_is_that_of_the_best_and_of_the_last_epoch() -> None:
    rows = [{"val_accuracy": share} for share in ("0.5", "0.75", 0.25)]
    assert noisy_validation(rows) == {"best": 0.75, "last": 0.25}
    assert noisy_validation([{"val_accuracy": None}]) == {"best": None, "last": None}


def optuna(**values: Any) -> Any:
    """What Hydra is told of Optuna's sweeper: its defaults, and these values."""
    direction = enum.Enum("Direction", ["minimize", "maximize"]).minimize  # type: ignore[attr-defined]
    node = {"n_jobs": 2, "sampler": {"seed": None}, "max_failure_rate": 0.0, "storage": None}
    found = OmegaConf.create({"sweeper": {"_target_": "hydra_plugins.optuna", **node, **values}})
    found.sweeper.setdefault("direction", direction)
    return found


def test_a_sweep_over_a_grid_is_told_nothing() -> None:
    assert tuning.overrides(settings.compose(["data=digits"], with_hydra=True).hydra, ["loss.q=0.1,0.2"]) == []


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_what_the_command_line_says_of_a_search_is_not_said_again(plus: str) -> None:
    hydra = optuna()
    given = ("hydra.sweeper.n_jobs=4", "hydra.sweep.dir=there")
    said = tuning.overrides(hydra, ["-m", *(f"{plus}{word}" for word in given)])
    assert {word.lstrip("+").partition("=")[0] for word in said} == {
        *("hydra.sweeper.direction", "hydra.sweeper.sampler.seed", "hydra.callbacks.best._target_"),
        "hydra.sweeper.max_failure_rate",
    }


def test_what_a_config_file_says_of_a_search_is_not_said_again() -> None:
    said = tuning.overrides(optuna(n_jobs=4, sampler={"seed": 7}, max_failure_rate=0.5), [])
    assert [word for word in said if word.startswith("hydra.sweeper")] == ["hydra.sweeper.direction=maximize"]


@pytest.mark.parametrize("direction", ["minimize", ["maximize", "minimize"]])
def test_a_search_for_the_worst_run_is_refused(direction: Any) -> None:
    with pytest.raises(ConfigError, match="a run returns an accuracy; leave the direction out"):
        tuning.overrides(optuna(direction=direction), [])
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.direction=minimize: "):
        tuning.overrides(optuna(), ["hydra.sweeper.direction=minimize"])
    for accepted in ("maximize", ["maximize"]):
        assert tuning.overrides(optuna(direction=accepted), ["hydra.sweeper.direction=x"])


def test_a_trial_that_diverges_fails_alone_and_any_other_error_ends_the_search() -> None:
    cfg = settings.compose(["data=digits"])

    def raises(error: Exception) -> Any:
        def train(_: Any) -> float:
            raise error

        return train

    with pytest.raises(NonFinite):  # an Exception, which a sweeper catches
        tuning.trial(raises(NonFinite("diverged")), cfg)
    for error in (OSError("no space left"), ConfigError("wrong"), KeyError("a fault")):
        with pytest.raises(type(error)) as found, tuning.whole(), contextlib.suppress(Exception):  # as a sweeper does
            tuning.trial(raises(error), cfg)
        assert found.value is error


def test_a_trial_is_the_mean_over_its_seeds_and_each_run_has_the_id_of_its_seed() -> None:
    words = ["data=digits", "loss.q=0.5"]
    cfg = settings.compose([*words, "seed=7", "runtime.trial_seeds=[0,1,3]"])
    asked: list[str] = []

    def train(of_seed: Any) -> float:
        asked.append(runs.run_id(runs.identity(settings.resolved(of_seed))))
        return float(of_seed.seed)

    assert tuning.trial(train, cfg) == pytest.approx(4 / 3)
    alone = [settings.compose([*words, f"seed={seed}"]) for seed in (0, 1, 3)]
    assert asked == [runs.run_id(runs.identity(settings.resolved(each))) for each in alone]
    assert tuning.trial(train, settings.compose([*words, "seed=7"])) == 7
    for wrong in ("[]", "[1,1]", "[-1]", "3"):
        with pytest.raises(ConfigError, match=r"runtime\.trial_seeds"):
            settings.read(settings.compose([*words, f"runtime.trial_seeds={wrong}"]))


@pytest.mark.parametrize("how", ["words", "params"])
@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("seed=0,1", r"the luckiest seed; runtime\.trial_seeds"),
        ("seed=range(0,3)", r"the luckiest seed; runtime\.trial_seeds"),
        ("rate=0.2,0.4", "the easiest of them; search under one"),
        ("noise=uniform,pair", "the easiest of them"),
        ("noise.seed=0,1", "the easiest of them"),
        ("data=digits,cifar10", "the easiest of them"),
        ("data.fold=choice(0,1)", "the easiest of them"),
        ("data.labels=a.npy,b.npy", "the easiest of them"),
    ],
)
def test_seeds_noises_and_data_sets_are_not_searched(how: str, word: str, says: str) -> None:
    key, _, value = word.partition("=")
    hydra = optuna(params={key: value}) if how == "params" else optuna()
    with pytest.raises(ConfigError, match=rf"^{re.escape(word)}: a search would choose {says}"):
        tuning.overrides(hydra, ["-m", "loss.q=interval(0.1,1.0)", *([word] if how == "words" else [])])


def test_preprocessing_and_values_that_are_fixed_belong_to_a_search() -> None:
    hydra = optuna(params={"seed": 3, "rate": 0.4, "loss.q": "interval(0.1, 1.0)", "data.padding": "choice(0,2,4)"})
    assert tuning.overrides(hydra, ["-m", "", "data.flip=true,false", "noise=pair"])


def test_a_search_has_neither_grid_nor_name_of_a_plan() -> None:
    with pytest.raises(ConfigError, match=r"^name=mine: it names the plan of a grid"):
        tuning.overrides(optuna(), ["-m", "hydra.job.name=mine"])
    cfg = settings.compose(["experiment=demo"])
    with pytest.raises(ConfigError, match="does not train the grid of an experiment; grid=null"), tuning.whole():
        tuning.trial(lambda _: 0.5, cfg)
    assert tuning.trial(lambda _: 0.5, settings.compose(["experiment=demo", "grid=null"])) == 0.5


def test_a_study_in_a_database_has_no_seed_that_each_start_would_repeat() -> None:
    def seeded(hydra: Any) -> bool:
        return any(word.startswith("hydra.sweeper.sampler.seed=") for word in tuning.overrides(hydra, ["-m"]))

    assert seeded(optuna())
    pytest.importorskip("optuna", reason="needs noisygce[tuning]")
    assert not seeded(optuna(storage="sqlite://"))


def test_seeds_of_trials_are_refused_where_nothing_searches() -> None:
    words = ["-m", "runtime.trial_seeds=[0,1]"]
    assert tuning.overrides(optuna().copy(), [*words, "paths.results=absent"])
    hydra = settings.compose(["data=digits"], with_hydra=True).hydra
    with pytest.raises(ConfigError, match=r"runtime\.trial_seeds=\[0,1\]: only a search trains these seeds"):
        tuning.overrides(hydra, words)


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


DIVERGES = ("-m", "hydra/sweeper=optuna", "data=digits", "loss=ce", "schedule.epochs=2")
DIVERGES += ("schedule.milestones=[]", "runtime.threads=1", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=4")


@pytest.mark.slow
def test_a_search_goes_on_after_a_trial_that_diverged_also_when_it_is_started_again(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs noisygce[tuning]")
    for _ in range(2):
        code, text = train(tmp_path, *DIVERGES, "schedule.lr=choice(0.05,100.0)")
        assert code == 0, text
        best = re.search(r"best of (\d) by noisy validation, .*schedule\.lr=0\.05 .*; (\d) more failed", text)
        assert best, text
        assert int(best[1]) + int(best[2]) == 4
        assert text.count("failed trial: ") == int(best[2]) > 0


@pytest.mark.slow
def test_a_search_of_which_each_trial_diverges_ends_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs noisygce[tuning]")
    code, text = train(tmp_path, *DIVERGES, "schedule.lr=choice(100.0,100.0)")
    assert (code, one_line(text).partition(": search")[0]) == (3, "noisygce: each trial of the search diverged"), text


@pytest.mark.slow
def test_a_study_is_kept_in_a_database_and_one_that_cannot_be_opened_is_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs noisygce[tuning]")
    words = (*SEARCH, "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=mine")
    for start in (1, 2):
        code, text = train(tmp_path, *words, "hydra.sweeper.storage=sqlite:///x.db")
        assert code == 0, text
        assert f"best of the {start} trials of the study mine, " in text
    assert (tmp_path / "x.db").is_file()
    assert len(results.found(tmp_path / "results")) == 2  # the second start has drawn another point
    for url in ("sqlite:////nowhere/x.db", "nonsense"):
        code, text = train(tmp_path, *words, f"hydra.sweeper.storage={url}")
        assert code == 2
        assert one_line(text).startswith(f"noisygce: hydra.sweeper.storage={url}: cannot be opened (")


@pytest.mark.parametrize(
    ("choice", "package"),
    [
        ("hydra/sweeper/optuna", "'noisygce[tuning]'"),
        ("hydra/launcher/submitit_slurm", "hydra-submitit-launcher"),
        ("hydra/launcher/joblib", "hydra-joblib-launcher"),
    ],
)
def test_a_sweeper_or_launcher_that_is_not_installed_has_the_command_that_installs_it(
    choice: str, package: str
) -> None:
    line = hints.explain(MissingConfigException("", choice, ["basic"]))
    assert re.fullmatch(rf"hydra.*={choice.rpartition('/')[2]} .* install .*{re.escape(package)}", line)
