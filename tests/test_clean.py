"""noisygce.clean finds wrong labels by the run that the settings it prints describe."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from noisygce import clean, runs, settings
from noisygce.errors import ConfigError, DataError

QUICK = ["schedule.epochs=8", "schedule.milestones=[6]", "data.size=8", "runtime.threads=1", "loss=gce"]


def shades(folder: Path, wrong: int) -> set[str]:
    """80 dark and bright pictures, of which the first few of each kind have the other's label: their files."""
    rng, named = np.random.default_rng(0), set()
    for kind, level in enumerate((60, 190)):
        for i in range(40):
            label = ("dark", "bright")[kind ^ (i < wrong)]
            file = folder / "train" / label / f"{kind}-{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(rng.normal(level, 20, (9, 12, 3)), 0, 255).astype(np.uint8)).save(file)
            if i < wrong:
                named.add(f"train/{label}/{file.name}")
    return named


def listed(folder: Path) -> list[dict[str, str]]:
    (path,) = folder.glob("*.csv")
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.slow
def test_wrong_labels_of_a_folder_come_first_and_the_printed_command_is_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = shades(tmp_path / "mine", 4)
    places = [f"out={tmp_path / 'found'}", f"paths.results={tmp_path / 'results'}"]
    clean.run([str(tmp_path / "mine"), *QUICK, *places])
    rows = listed(tmp_path / "found")
    assert {row["file"] for row in rows[: len(wrong)]} == wrong
    assert len(rows) == 80
    printed = capsys.readouterr().out.splitlines()
    assert any(line.endswith(f" {' '.join(places)} verdicts=FILE") for line in printed)
    words = shlex.split(printed[-1])[3:]
    run_id = runs.run_id(runs.identity(settings.resolved(settings.compose(words))))
    assert [path.name for path in (tmp_path / "results" / "runs").iterdir()] == [run_id]
    clean.run([str(tmp_path / "mine"), *QUICK, *places])  # the same run, not another one
    assert listed(tmp_path / "found") == rows
    (page,) = (tmp_path / "found").glob("*.html")
    before = page.read_bytes()
    page.unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine").rename(tmp_path / "elsewhere" / "mine")
    clean.run([str(tmp_path / "elsewhere" / "mine"), *QUICK, *places])  # of the same pictures in another place
    assert page.read_bytes() == before


@pytest.mark.slow
def test_wrong_labels_of_vectors_come_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    true = np.arange(200) % 4
    np.save(tmp_path / "X.npy", rng.normal(size=(200, 8)) + 6 * np.eye(8)[true])
    given = np.where(np.arange(200) < 20, (true + 1) % 4, true)
    np.save(tmp_path / "y.npy", given)
    files = [str(tmp_path / "X.npy"), str(tmp_path / "y.npy")]
    clean.run([*files, "runtime.threads=1", f"out={tmp_path / 'found'}", f"paths.results={tmp_path / 'results'}"])
    assert {int(row["index"]) for row in listed(tmp_path / "found")[:20]} == set(range(20))


def test_a_folder_whose_name_looks_like_a_setting_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a=b").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"a=b.* has no pictures"):
        clean.run(["a=b", "seed=1"])


@pytest.mark.parametrize(("shape", "kind"), [((6, 4), "features"), ((6, 4, 4), "arrays"), ((6, 4, 4, 3), "arrays")])
def test_arrays_are_vectors_or_images_by_their_dimensions(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    np.save(tmp_path / "my X.npy", np.zeros(shape, dtype=np.uint8))
    np.save(tmp_path / "y.npy", np.zeros(6, dtype=int))
    (tmp_path / "y.CSV").write_text("label\n" + "0\n" * 6)
    for labels in ("y.npy", "y.CSV"):
        first, *rest = clean._data([str(tmp_path / "my X.npy"), str(tmp_path / labels)])
        assert first == f"data={kind}"
        assert rest[-1] == "data.name=my_X"


@pytest.mark.parametrize(("samples", "epochs"), [(300, None), (2000, None), (4000, 30), (10**6, 15)])
def test_more_pictures_are_seen_fewer_times(samples: int, epochs: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Data:
        def load(self, _: object) -> object:
            return type("Arrays", (), {"train_labels": range(samples)})

    class Experiment:
        data, paths = Data(), type("Paths", (), {"data": Path()})
        split = type("Split", (), {"subset": None})

    monkeypatch.setattr(settings, "compose", lambda words: words)
    monkeypatch.setattr(settings, "read", lambda _: Experiment())
    expected = ["model=resnet8", "schedule=folder"]
    if epochs:
        expected += [f"schedule.epochs={epochs}", f"schedule.milestones=[{epochs * 2 // 3},{epochs * 5 // 6}]"]
    assert clean._schedule(["data=folder"]) == expected
    Experiment.split.subset = 300
    assert clean._schedule(["data=folder"]) == expected[:2]
    assert clean._schedule(["data=folder", "model=cnn8", "schedule.epochs=3"]) == ["schedule=folder"]
    assert clean._schedule(["data=features"]) == []


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["nowhere"], "nowhere: there is no such file or folder"),
        ([], "name a folder of pictures, or two files"),
        ([__file__], "name a folder of pictures, or two files"),
    ],
)
def test_what_is_no_data_is_refused(named: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        clean.run(named)


@pytest.mark.parametrize(("folder", "name"), [("2024", "2024"), ("b" * 60, "b" * 40), ("é", "data"), ("null", "null")])
def test_a_folder_of_any_name_has_a_data_set_s_name(folder: str, name: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    assert settings.read(settings.compose(clean._data([str(tmp_path / folder)]))).data.folder.endswith(folder)
    assert settings.compose(clean._data([str(tmp_path / folder)])).data.name == name


@pytest.mark.parametrize(
    ("best", "given", "said"),
    [
        (0.95, "ab" * 10, "Most labels with which it disagrees are probably wrong."),
        (0.85, "ab" * 10, "The model may be wrong where it disagrees"),
        (0.95, "a" * 19 + "b", "Always saying a would be right for 95 %. The model may be wrong where it disagrees"),
        (0.99, "a" * 19 + "b", "Most labels"),
    ],
)
def test_how_far_to_trust_a_model_is_told_by_what_the_largest_class_alone_would_give(best, given, said, capsys) -> None:
    clean._how_far_to_trust(best, pandas.Series([*given]))
    assert said in capsys.readouterr().out
