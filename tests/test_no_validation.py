"""The protocol of the robust-loss papers, on digits: all images, cosine, clipping, CNN. What such a run shows."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_reliability import EACH_STEP, Command, run_folder, train
from PIL import Image

from noisygce import figure, models, predict, report, results, settings, status, suspects, table, verify
from noisygce.errors import ConfigError
from noisygce.runs import artifacts
from noisygce.sweep import tuning
from noisygce.training.fit import digest, fit
from noisygce.view.measures import MEASURES

ALL = ("data=digits", "data.validation=0", "loss=ce", "runtime.threads=1")
COSINE = ("schedule.annealing=cosine", "schedule.milestones=[]", "schedule.clip_norm=0.5", "schedule.epochs=4")
CNN8 = ("model=cnn8", "model.channels=[4,8,8]", "model.width=16", "data.padding=1", "data.rotation=20")
RUN = (*ALL, *COSINE, *CNN8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("all")
    code, text = train(folder, *RUN)
    assert code == 0, text
    assert "nothing is held out for validation" in text
    assert "val -, last " in text
    return run_folder(folder)


def test_every_training_image_is_trained_on_and_rules_that_need_validation_have_no_number(run: Path) -> None:
    found = results.of_folder(run)
    assert {row["kept"] for row in found.rows()} == {"1500"}
    assert {row["val_accuracy"] for row in found.rows()} == {row["val_clean_accuracy"] for row in found.rows()} == {""}
    numbers = found.manifest["results"]
    assert {rule for rule, number in numbers.items() if number is None} == {"val", "val_clean"}
    assert numbers["last"] == float(found.rows()[-1]["test_accuracy"])
    assert found.number("gap") is None
    assert found.manifest["noisy_validation"] == {"best": None, "last": None}
    assert "transition_hat_sha256" not in found.manifest  # of which the best-validation model would have been asked
    detection = found.manifest["detection"]
    assert detection["best"]["margin"] == {"auroc": None, "ap": None}
    assert detection["last"]["margin"]["auroc"] > 0.5
    assert (MEASURES["auroc"].read(found, "val"), MEASURES["ap"].read(found, "last")) == (
        None,
        detection["last"]["margin"]["ap"],
    )


def test_the_model_that_is_kept_is_the_last_one(make, run: Path) -> None:
    t = make("data.validation=0", "loss=gce")
    assert len(t.train) == 200
    assert len(t.validation) == 0
    for row in fit(t, lambda *_: None):
        assert t.progress.best_epoch == row["epoch"]
    assert digest(t.best) == digest(dict(t.network.state_dict()))
    found = artifacts.predictions(run, results.of_folder(run).manifest)
    test = found.split == "test"
    last = results.of_folder(run).manifest["results"]["last"]
    assert (found.predicted[test] == found.given[test]).mean() == pytest.approx(last)
    assert set(found.split) == {"train", "test"}
    assert found.kept.all()


def test_a_killed_run_goes_on_to_the_same_bits(run: Path, tmp_path: Path) -> None:
    command = Command(tmp_path, *RUN, EACH_STEP)
    path = tmp_path / "results" / "runs" / run.name
    command.until(lambda: (path / "metrics.csv").is_file() and path.joinpath("metrics.csv").read_text().count("\n") > 2)
    command.kill()
    assert not (path / "manifest.json").exists()
    code, text = train(tmp_path, *RUN)
    assert code == 0, text
    assert "resumes at epoch" in text
    assert (path / "metrics.csv").read_bytes() == (run / "metrics.csv").read_bytes()
    first, second = (results.of_folder(each).manifest for each in (run, path))
    assert first["state_sha256"] == second["state_sha256"]
    assert first["files"] == second["files"]


def test_commands_that_show_results_know_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parents[2])
    last = 100 * results.of_folder(run).manifest["results"]["last"]
    table.run([*RUN])
    text = capsys.readouterr().out
    assert re.search(r"Rule `val`.*\| ce +\| - \(1\)", text, re.DOTALL)
    assert re.search(rf"\| ce +\| \*\*{last:.2f}\*\* \(1\)", text)
    assert "initial weights he_uniform; annealing cosine; gradients clipped to 0.5; rotation 20; validation 0." in text
    table.run([*RUN, "measure=per_class"])
    text = capsys.readouterr().out
    assert "Rule `val`" not in text
    assert re.search(r"those that the model at the end is right about.*\| ce +\| \*\*\d", text, re.DOTALL)
    figure.run([*RUN])
    assert "confusion" in capsys.readouterr().out
    report.run([*RUN])
    status.run([*RUN])
    assert "1 done" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        verify.run(["results"])
    assert end.value.code == 0, capsys.readouterr().out
    assert "1 of 1 finished runs below results are what they say" in capsys.readouterr().out


def test_suspects_are_listed_and_pictures_predicted_by_it(run: Path, tmp_path: Path, capsys) -> None:
    suspects.run([str(run), f"out={tmp_path}"])
    rows = list(csv.DictReader((tmp_path / f"{run.name}.csv").read_text().splitlines()))
    assert len(rows) == 1500
    assert {row["kept"] for row in rows} == {"1"}
    trained = models.load(run)
    Image.fromarray(np.full((8, 8), 7, dtype=np.uint8)).save(tmp_path / "grey.png")
    capsys.readouterr()
    predict.run([str(run), str(tmp_path / "grey.png")])
    (said,) = csv.DictReader(capsys.readouterr().out.splitlines())
    with torch.no_grad():
        p = trained.network(trained.preprocess([tmp_path / "grey.png"])).softmax(1)[0]
    assert said["class"] == trained.classes[int(p.argmax())]


@pytest.mark.parametrize("loss", ["tgce", "forward_hat"])
def test_a_loss_that_needs_the_best_validation_model_is_refused(loss: str) -> None:
    words = ["data=digits", "data.validation=0", f"loss={loss}"]
    with pytest.raises(ConfigError, match=f"^data.validation=0: loss={loss} needs the model that is best on noisy"):
        settings.read(settings.compose(words))
    settings.read(settings.compose([*words, "data.folds=5", "data.fold=0"]))  # a fold is held out


def test_a_search_has_nothing_to_look_at_and_ends() -> None:
    said = "a search looks at accuracy on noisy validation labels alone"
    with pytest.raises(ConfigError, match=said), tuning.whole():
        tuning.trial(lambda _: 0.5, settings.compose([*ALL]))
    assert tuning.trial(lambda _: 0.5, settings.compose(["data=digits"])) == 0.5
