"""Probably wrong labels as a list and a page; predictions of pictures: on a trained run, and in a browser."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers_reliability import SMALL, Command, one_line, run_folder, train, trained
from PIL import Image

from noisygce import check, inputs, predict, results, settings, suspects
from noisygce.errors import ConfigError, DataError, NoisygceError
from noisygce.runs import artifacts
from noisygce.settings import arguments
from noisygce.settings.command import exit_code
from noisygce.settings.compose import parsed
from noisygce.training import detection
from noisygce.training.task import corrupted, prepare
from noisygce.view import gallery, ranking

COLUMNS = [
    "rank",
    "index",
    "file",
    "given",
    "suggested",
    "p_given",
    "p_suggested",
    "margin_log_odds",
    "kept",
    "verdict",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suspects")
    return trained(folder, *SMALL)


@pytest.fixture(scope="module")
def task():
    e = settings.read(settings.compose(["data=digits"]))
    return prepare(e.data, e.split, e.verdicts, e.noise, e.seed, e.paths.data)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def save(path: Path, rows: list[dict[str, str]]) -> None:
    suspects.write_csv(path, pd.DataFrame(rows))


def written(run: Path, out: Path, *words: str) -> list[dict[str, str]]:
    suspects.run(arguments.words(["--config-dir", str(out.parent), str(run), f"out={out}", *words]))
    score = [f"-{word.removeprefix('score=')}" for word in words if word.startswith("score=")]
    return table(out / f"{run.name}{''.join(score)}.csv")


def test_the_list_holds_every_sample_once_and_wrong_labels_first(run: Path, task, tmp_path: Path) -> None:
    rows = written(run, tmp_path)
    assert [*rows[0]] == COLUMNS
    index = np.array([int(row["index"]) for row in rows])
    assert np.array_equal(np.sort(index), np.arange(1500))
    assert [row["given"] for row in rows] == [str(y) for y in task.noisy[index]]
    assert all(row["given"] != row["suggested"] and row["verdict"] == "" for row in rows)
    scores = [float(row["margin_log_odds"]) for row in rows]
    assert scores == sorted(scores)
    wrong = task.noisy[index] != task.clean[index]
    assert wrong[: wrong.sum()].mean() > 0.8
    held_out = set(task.validation.tolist())
    assert all((row["kept"] == "") == (int(row["index"]) in held_out) for row in rows)


@pytest.mark.parametrize("score", ["self_confidence", "pruned"])
def test_other_scores_rank_otherwise(run: Path, tmp_path: Path, score: str) -> None:
    by_margin, rows = written(run, tmp_path), written(run, tmp_path, f"score={score}")
    assert table(tmp_path / f"{run.name}.csv") == by_margin, "each ranking has files of its own"
    if score == "pruned":
        pruned = [row["kept"] == "0" for row in rows]
        assert any(pruned)
        assert pruned == sorted(pruned, reverse=True)
    else:
        p = np.exp([float(row["log_p_given"]) for row in rows])
        assert p == pytest.approx([float(row["p_given"]) for row in rows], abs=2e-3)
        assert p.tolist() == sorted(p)
        assert [row["index"] for row in rows] != [row["index"] for row in by_margin]


@pytest.mark.parametrize("score", ["margin", "self_confidence"])
def test_the_list_is_the_ranking_that_the_manifest_measures(run: Path, task, score: str) -> None:
    found = results.of_folder(run)
    samples = ranking.samples_of(found)
    order, _ = ranking.ranked(samples, score)
    frame = samples.frame.iloc[order]
    trained = frame[frame["kept"] >= 0]
    index = trained["index"].to_numpy()
    ranks = np.arange(len(trained), dtype=float)
    auroc = detection.auroc(ranks, task.noisy[index] != task.clean[index])
    assert auroc == pytest.approx(found.manifest["detection"]["best"][score]["auroc"], abs=1e-7)


def test_confident_learning_is_that_of_cleanlab(run: Path, tmp_path: Path) -> None:
    cleanlab = pytest.importorskip("cleanlab")
    rows = written(run, tmp_path, "score=confident_learning")
    samples = ranking.samples_of(results.of_folder(run))
    given, p = samples.frame["given"].to_numpy(), samples.p / samples.p.sum(1, keepdims=True)
    found = cleanlab.filter.find_label_issues(given, p)
    assert {int(row["index"]) for row in rows[: found.sum()]} == {*samples.frame["index"][found]}


def test_several_runs_judge_what_each_has_held_out(run: Path, capsys, tmp_path: Path) -> None:
    others = [trained(tmp_path / str(held), *SMALL, f"data.validation={held}") for held in (300, 400)]
    suspects.run([str(others[0]), str(others[1]), f"out={tmp_path}"])
    rows = table(next(tmp_path.glob("*.csv")))
    each = [ranking.samples_of(results.of_folder(other)) for other in others]
    held = [{*one.frame["index"][one.frame["kept"] < 0]} for one in each]
    assert {int(row["index"]) for row in rows} == held[0] | held[1]
    both = next(row for row in rows if int(row["index"]) in held[0] & held[1])
    p = [one.p[one.frame["index"] == int(both["index"])][0] for one in each]
    label = each[0].classes.index(both["given"])
    assert float(both["p_given"]) == pytest.approx(np.mean(p, 0)[label], abs=1e-3)
    alone = next(row for row in rows if int(row["index"]) in held[1] - held[0])
    (kept,) = each[0].frame["kept"][each[0].frame["index"] == int(alone["index"])]
    assert alone["kept"] == str(kept)
    suspects.run([str(others[0]), str(run), f"out={tmp_path}"])
    assert len([*tmp_path.glob("*.csv")]) == 2, "another pair of runs has files of its own"
    saved = tmp_path / "saved.csv"
    save(saved, [rows[0] | {"verdict": "drop"}])
    capsys.readouterr()
    suspects.run([str(others[0]), str(others[1]), f"out={tmp_path}", f"verdicts={saved}"])
    clean = table(next(tmp_path.glob("*-cleaned.csv")))
    assert {int(row["index"]) for row in clean} == set(range(1500)) - {int(rows[0]["index"])}, "no sample is lost"
    assert f"{1500 - len(rows):,} of 1,500 samples were held out by none of these runs" in capsys.readouterr().out
    code, text = train(tmp_path / "other", *SMALL, "seed=1")
    assert code == 0, text
    with pytest.raises(ConfigError, match="other labels"):
        suspects.run([str(run), str(run_folder(tmp_path / "other")), f"out={tmp_path}"])


def test_folds_judge_each_sample_by_the_run_that_held_it_out(task, tmp_path: Path, capsys) -> None:
    short = ("data=digits", "schedule.epochs=1", "runtime.threads=1", "data.folds=3")
    folds = [trained(tmp_path / str(fold), *short, f"data.fold={fold}") for fold in range(3)]
    suspects.run([*map(str, folds), f"out={tmp_path}"])
    rows = table(next(tmp_path.glob("*.csv")))
    assert sorted(int(row["index"]) for row in rows) == [*range(1500)]
    assert "held out by none" not in capsys.readouterr().out
    each = [ranking.samples_of(results.of_folder(fold)) for fold in folds]
    held = [one.frame["kept"].to_numpy() < 0 for one in each]
    assert not (held[0] & held[1] | held[0] & held[2] | held[1] & held[2]).any()
    given = {int(row["index"]): (row["given"], float(row["p_given"])) for row in rows}
    for one, its in zip(each, held, strict=True):
        for i, p in zip(one.frame["index"][its], one.p[its], strict=True):
            label, share = given[i]
            assert label == one.classes[task.noisy[i]]
            assert share == pytest.approx(p[task.noisy[i]], abs=1e-3)


def page_of(run: Path, out: Path, *words: str) -> str:
    written(run, out, *words)
    return (out / f"{run.name}.html").read_text()


def test_the_page_holds_rows_and_pictures_and_needs_nothing_else(run: Path, task, tmp_path: Path) -> None:
    page = page_of(run, tmp_path, "top=150")
    rows = table(tmp_path / f"{run.name}.csv")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["rows"] == [list(row.values()) for row in rows[:150]]
    sprites = re.findall(r'class="sprite">(.*?)</script>', page)
    assert len(sprites) == 2
    for rank in (0, 7, 99, 100, 149):
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprites[rank // 100]))))
        line, column = divmod(rank % 100, 10)
        tile = sheet[8 * line : 8 * line + 8, 8 * column : 8 * column + 8]
        assert np.array_equal(tile[..., 0], task.arrays.train_images[int(rows[rank]["index"])][..., 0])
    assert not re.search(r"(src|href)=|https?:|@import", page), "nothing is fetched"


def test_names_of_people_cannot_become_code() -> None:
    name = "</script><script>alert(1)</script>"
    row = ["1", "0", name, name, "b", "0.1", "0.9", "-0.8", "1", ""]
    listed = pd.DataFrame([row], columns=["score" if name == "margin_log_odds" else name for name in COLUMNS])
    page = gallery.page(name, "margin", listed, [name, "b"], [np.zeros((8, 8, 1), np.uint8)])
    assert name not in page
    assert json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["rows"] == [row]


def test_verdicts_make_a_file_of_clean_labels(run: Path, task, tmp_path: Path, capsys) -> None:
    rows = written(run, tmp_path)
    judged = rows[:4]
    for row, verdict in zip(judged, ["relabel", "drop", "keep", ""], strict=True):
        row["verdict"] = verdict
    saved = tmp_path / "saved.csv"
    save(saved, judged)
    suspects.run([str(run), f"out={tmp_path}", f"verdicts={saved}"])
    labels = {int(row["index"]): row["label"] for row in table(tmp_path / f"{run.name}-cleaned.csv")}
    again = f"data.verdicts={saved} data.verdicts_sha256={hashlib.sha256(saved.read_bytes()).hexdigest()}"
    assert again in capsys.readouterr().out
    relabelled, dropped = int(judged[0]["index"]), int(judged[1]["index"])
    expected = {i: str(y) for i, y in enumerate(task.noisy)} | {relabelled: judged[0]["suggested"]}
    del expected[dropped]
    assert labels == expected
    for column, value, says in (
        ("given", judged[0]["suggested"], f"line 2: sample {judged[0]['index']} is labelled"),
        ("index", "9999", r"line 2: there is no sample '9999': an index is in 0\.\.1499"),
        ("verdict", "maybe", "line 2: verdict 'maybe' must be keep, relabel, drop or empty"),
        ("suggested", "cat", "line 2: 'cat' is none of the classes 0, 1"),
    ):
        save(saved, [judged[0] | {column: value}])
        with pytest.raises(DataError, match=says):
            suspects.run([str(run), f"out={tmp_path}", f"verdicts={saved}"])
    save(saved, [judged[0] | {"verdict": ""}])
    with pytest.raises(DataError, match="holds no verdict"):
        suspects.run([str(run), f"out={tmp_path}", f"verdicts={saved}"])
    saved.write_text("hello\n")
    with pytest.raises(DataError, match="has no column index"):
        suspects.run([str(run), f"out={tmp_path}", f"verdicts={saved}"])


def test_a_second_round_of_verdicts_keeps_the_first(run: Path, tmp_path: Path, capsys) -> None:
    """What both rounds decide on a run's labels is what their joined file decides on the labels as they came."""
    rows = written(run, tmp_path)[:5]
    for row, verdict in zip(rows, ("relabel", "drop", "keep", "relabel", "relabel"), strict=True):
        row["verdict"] = verdict
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    save(one, rows)
    second = trained(tmp_path, *SMALL, f"data.verdicts={one}", f"data.verdicts_sha256={inputs.sha256(one)}")
    listed = {row["index"]: row for row in written(second, tmp_path)}
    assert rows[1]["index"] not in listed
    back, gone, kept = (listed[rows[i]["index"]] for i in (0, 3, 4))
    assert back["given"] == rows[0]["suggested"]
    back.update(suggested=rows[0]["given"], verdict="relabel")  # as it was
    gone.update(verdict="drop")
    kept.update(verdict="keep")  # as the first round has it
    new = next(row for index, row in listed.items() if index not in {row["index"] for row in rows})
    new.update(suggested=str((int(new["given"]) + 1) % 10), verdict="relabel")
    save(two, [*listed.values()])
    alone = (f"data.verdicts={two}", f"data.verdicts_sha256={inputs.sha256(two)}")
    code, text = train(tmp_path / "alone", *SMALL, *alone)
    assert (code, "had changed before" in one_line(text)) == (2, True), text
    capsys.readouterr()
    suspects.run([str(second), f"out={tmp_path}", f"verdicts={two}"])
    (both,) = tmp_path.glob(f"{second.name}-joined-*.csv")
    words = [f"data.verdicts={both}", f"data.verdicts_sha256={inputs.sha256(both)}"]
    assert " ".join(words) in capsys.readouterr().out
    e = settings.read(settings.compose([*SMALL, *words]))
    task = prepare(e.data, e.split, e.verdicts, e.noise, e.seed, e.paths.data)
    used = {*task.train.tolist(), *task.validation.tolist()}
    cleaned = {int(row["index"]): row["label"] for row in table(tmp_path / f"{second.name}-cleaned.csv")}
    assert {i: str(task.noisy[i]) for i in used} == cleaned
    assert cleaned[int(back["index"])] == rows[0]["given"]
    assert cleaned[int(kept["index"])] == rows[4]["suggested"]
    two.rename(tmp_path / "three.csv")
    one.rename(tmp_path / "moved.csv")
    capsys.readouterr()
    there = [f"out={tmp_path}", f"verdicts={tmp_path / 'three.csv'}"]
    suspects.run([str(second), *there, f"data.verdicts={tmp_path / 'moved.csv'}"])
    assert words[1] in capsys.readouterr().out, "the same joined verdicts"
    with pytest.raises(ConfigError, match=r"data\.foldr=x: it names no file of the run; there are: data\.verdicts"):
        suspects.run([str(second), *there, "data.foldr=x"])
    (tmp_path / "three.csv").rename(two)
    one.write_text("lost")
    with pytest.raises(DataError, match=r"one\.csv has changed since"):
        suspects.run([str(second), f"out={tmp_path}", f"verdicts={two}"])


@pytest.mark.slow
def test_verdicts_are_saved_as_csv_by_the_page(run: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium here")
    page = page_of(run, tmp_path)
    acts = """<script>
    for (const key of ["r", "k", "d"]) document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    judge(3, "relabel", D.classes.find(c => c !== D.rows[3][C.given] && c !== D.rows[3][C.suggested]));
    document.body.textContent = csv();
    </script>"""
    path = tmp_path / "acted.html"
    path.write_text(page.replace("</body>", f"{acts}</body>"))
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([browser, *words, path.as_uri()], capture_output=True, text=True, timeout=600)
    text = re.search(r"<body[^>]*>(.*)</body>", done.stdout, re.DOTALL)[1]
    saved, rows = list(csv.DictReader(text.strip().splitlines())), table(tmp_path / f"{run.name}.csv")
    assert [row["verdict"] for row in saved[:5]] == ["relabel", "keep", "drop", "relabel", ""]
    for column in [*rows[0]][:-1]:
        same = [a[column] == b[column] for a, b in zip(saved, rows, strict=True)]
        assert all(same[:3] + same[4:]), column
    assert saved[3]["suggested"] not in (rows[3]["given"], rows[3]["suggested"])


@pytest.mark.slow
def test_a_page_of_fewer_samples_keeps_the_verdicts_on_the_others_and_a_card_offers_every_class(
    run: Path, tmp_path: Path
) -> None:
    if not (browser := shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        pytest.skip("no Chromium here")
    page = page_of(run, tmp_path, "top=3")
    before = """<script>const kept = new Map();
    const stored = {getItem: k => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v)};
    Object.defineProperty(window, "localStorage", {value: stored});
    </script>"""
    acts = """<script>
    kept.set(store, JSON.stringify([["no such index here", "drop", ""], [D.rows[1][C.index], "keep", ""]]));
    verdicts.clear(); recall();
    const third = D.classes.find(c => c !== D.rows[0][C.given] && c !== D.rows[0][C.suggested]);
    judge(0, "relabel", third);
    const again = card(0), select = again.querySelector("select");
    select.dispatchEvent(new Event("focus"));
    const found = [JSON.parse(kept.get(store)), select.options.length, select.value === third];
    document.body.textContent = JSON.stringify(found);
    </script>"""
    path = tmp_path / "acted.html"
    path.write_text(page.replace("<head>", f"<head>{before}").replace("</body>", f"{acts}</body>"))
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done = subprocess.run([browser, *words, path.as_uri()], capture_output=True, text=True, timeout=600)
    stored, options, chosen = json.loads(re.search(r"<body[^>]*>(.*)</body>", done.stdout, re.DOTALL)[1])
    rows = table(tmp_path / f"{run.name}.csv")
    assert sorted(verdict[:2] for verdict in stored) == sorted(
        [["no such index here", "drop"], [rows[1]["index"], "keep"], [rows[0]["index"], "relabel"]]
    )
    assert (options, chosen) == (9, True)  # all but the given one


def test_a_list_with_verdicts_of_a_person_is_not_written_over(run: Path, tmp_path: Path, capsys) -> None:
    rows = written(run, tmp_path)
    written(run, tmp_path)
    assert [path.name for path in tmp_path.glob("*.csv")] == [f"{run.name}.csv"]
    rows[0]["verdict"] = "drop"
    save(tmp_path / f"{run.name}.csv", rows)
    judged = (tmp_path / f"{run.name}.csv").read_bytes()
    capsys.readouterr()
    written(run, tmp_path, "top=5")
    (kept,) = tmp_path.glob("*-judged-*.csv")
    assert kept.read_bytes() == judged
    assert f"the list that was there holds verdicts, and is {kept} now" in capsys.readouterr().out
    assert {row["verdict"] for row in table(tmp_path / f"{run.name}.csv")} == {""}


def test_the_words_that_train_on_verdicts_are_read_as_one_file_whatever_its_name(run: Path, tmp_path, capsys) -> None:
    rows = written(run, tmp_path)
    rows[0]["verdict"] = "drop"
    path = tmp_path / "müller, a (1).csv"
    save(path, rows)
    suspects.run([str(run), f"out={tmp_path}", f"verdicts={path}"])
    words = shlex.split(capsys.readouterr().out.rpartition("themselves: ")[2])
    assert parsed(words)[0].value() == str(path)


@pytest.fixture
def pictures(task, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        image = Image.fromarray(task.arrays.test_images[i, :, :, 0])
        image = image.resize((40, 30)).convert("RGBA") if i == 5 else image
        image.save(folder / f"{i}-{task.arrays.test_labels[i]}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_pictures_get_their_likeliest_classes(run: Path, pictures: Path, capsys, tmp_path: Path) -> None:
    predict.run(arguments.words([str(run), "--config-dir", str(tmp_path), str(pictures)]))
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [Path(row["file"]).name for row in rows] == sorted(path.name for path in pictures.glob("*.png"))
    found = artifacts.predictions(run, results.of_folder(run).manifest)
    p_of_run = found.p[found.split == "test"][:5]  # the sixth has another size
    assert [row["class"] for row in rows[:5]] == [found.classes[y] for y in p_of_run.argmax(1)]
    assert [float(row["p"]) for row in rows[:5]] == pytest.approx(p_of_run.max(1).tolist(), abs=1e-3)
    for row in rows:
        p = [float(row[key]) for key in ("p", "p_2", "p_3", "p_4")]
        assert p == sorted(p, reverse=True)
        assert sum(p) <= 1.0002
    predict.run([str(run), str(pictures), f"out={tmp_path / 'said.csv'}"])
    assert [row["class"] for row in table(tmp_path / "said.csv")] == [row["class"] for row in rows]
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((run / "model.safetensors").read_bytes())
    capsys.readouterr()
    predict.run([str(alone), str(next(pictures.glob("0-*")))])
    assert capsys.readouterr().out.splitlines()[1].split(",")[1] == rows[0]["class"]
    (pictures / "0-broken.png").write_bytes(b"not a picture")
    predict.run([str(run), str(pictures)])
    out, err = capsys.readouterr()
    (broken,) = [row for row in csv.DictReader(out.splitlines()) if not row["class"]]
    assert Path(broken["file"]).name == "0-broken.png"
    assert {value for key, value in broken.items() if key != "file"} == {""}
    assert [row["class"] for row in csv.DictReader(out.splitlines()) if row["class"]] == [row["class"] for row in rows]
    assert "0-broken.png cannot be read as a picture" in one_line(err)
    (pictures / "0-broken.png").unlink()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "cat").symlink_to(pictures, target_is_directory=True)
    assert len([*predict.listed([str(tmp_path / "linked")])]) == len(rows)  # as data=folder reads them


@pytest.mark.parametrize("shape", [(8, 8, 4), (8, 8, 2), (200, 100, 1), (300, 200, 3)])
def test_the_page_shows_images_of_any_number_of_channels_small(shape: tuple[int, ...]) -> None:
    tiles = object.__new__(suspects.Tiles)
    tiles.files, tiles.images = [], np.arange(np.prod(shape), dtype=np.uint8).reshape(1, *shape)
    found = tiles(0)
    assert found.shape[2] in (1, 3)
    assert max(found.shape) <= 128
    if max(shape) <= 128:
        assert np.array_equal(found[..., 0], tiles.images[0, ..., 0])
    assert gallery.sprite([found], max(found.shape))


@pytest.mark.parametrize("layout", [lambda x: x, lambda x: x[..., 0], lambda x: x.transpose(0, 3, 1, 2)])
def test_images_of_an_array_get_the_classes_of_the_run(run: Path, task, layout, tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "test.npy", layout(task.arrays.test_images))
    predict.run([str(run), str(tmp_path / "test.npy")])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["row"] for row in rows] == [*map(str, range(len(task.arrays.test_images)))]
    found = artifacts.predictions(run, results.of_folder(run).manifest)
    assert [row["class"] for row in rows] == [found.classes[y] for y in found.predicted[found.split == "test"]]


def test_what_cannot_be_predicted_or_listed_is_told_in_one_line(
    run: Path, pictures: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "floats.npy", np.zeros((2, 8, 8)))
    np.save(tmp_path / "large.npy", np.zeros((2, 9, 9), dtype=np.uint8))
    bare = trained(tmp_path / "bare", *SMALL, "runtime.keep_model=none", "runtime.keep_predictions=false")
    copy = tmp_path / "changed" / run.name
    shutil.copytree(run, copy)
    for name in ("model.safetensors", "predictions.npz"):
        (copy / name).write_bytes((copy / name).read_bytes()[:-1] + b"\0\0")
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "metrics.csv").touch()
    picture = str(next(pictures.glob("0-*")))
    reference = results.reference() / "demo"
    published = next(results.of_archive(reference)).id
    told = {
        ("predict", str(run)): "name a finished run, then pictures",
        ("predict", "nowhere", picture): "there is no finished run",
        ("predict", str(run), str(tmp_path / "none.png")): "is not there",
        ("predict", str(run), str(tmp_path / "broken.png")): "cannot be read as a picture",
        ("predict", str(run), str(tmp_path / "empty")): "there is no picture below this folder",
        (
            "predict",
            str(run),
            "floats.npy",
        ): "holds float64 of shape (2, 8, 8); the run's images are uint8 (n, 8, 8, 1)",
        ("predict", str(run), "large.npy"): "holds uint8 of shape (2, 9, 9); the run's images are uint8 (n, 8, 8, 1)",
        ("predict", str(run), "large.npy", picture): "name one .npy file, and nothing beside it",
        ("predict", str(bare), picture): "holds no model",
        ("predict", str(copy), picture): "is damaged or was changed",
        ("suspects",): "name a finished run",
        ("suspects", published): f"python -m noisygce.reproduce {published} paths.results=again trains this run once",
        ("predict", published, picture): f"python -m noisygce.reproduce {published} paths.results=again",
        ("suspects", str(reference)): "this is an archive of runs; name one of the reference by its id",
        ("suspects", str(run), "score=best"): "score=best: score must be one of margin",
        ("suspects", str(run), "top=0"): "top=0: top must be an integer in [1, 100000]",
        ("suspects", str(run), "tpo=5"): "tpo: there is no such key; did you mean top?",
        (
            "suspects",
            str(run),
            "foo=1",
        ): "foo: there is no such key; there are score, top, out, verdicts, pictures, paths",
        ("suspects", str(run), "out=list.csv"): "out=list.csv: a list and a page are written; name a folder for both",
        ("suspects", str(run), "pictures=none"): "pictures=none: there is no such folder",
        ("suspects", str(run), f"pictures={pictures}"): "this is for vectors; the samples of",
        ("suspects", str(begun)): "this run is not finished: it was stopped; start the same train command again",
        ("predict", str(begun), picture): "this run is not finished: it was stopped",
        ("predict", str(run), picture, "top=2"): "top: there is no such key; there are out",
        ("predict", str(run), picture, "out=none/x.csv"): "out=none/x.csv: there is no folder none",
        ("predict", str(run), picture, f"out={tmp_path}"): "this is a folder; name a file",
        ("suspects", str(bare)): "holds no predictions",
        ("suspects", str(copy)): "is damaged or was changed",
    }
    for (module, *words), says in told.items():
        with pytest.raises((NoisygceError, check.Invalid)) as caught:
            {"predict": predict, "suspects": suspects}[module].run(words)
        assert says in str(caught.value)
        assert exit_code(caught.value) == 2


def test_the_page_needs_neither_the_module_of_the_loss_nor_of_the_model(run: Path) -> None:
    found = results.of_folder(run)
    config = {**found.manifest["config"], "loss": {"_target_": "not_here.Loss"}, "model": {"_target_": "not_here.Net"}}
    tiles = suspects.Tiles(dataclasses.replace(found, manifest={**found.manifest, "config": config}), [])
    assert tiles(0).shape == (8, 8, 1)


def test_a_data_set_that_has_changed_is_refused(run: Path, monkeypatch, tmp_path: Path) -> None:
    def other(*given):
        arrays, drawn, *rest = corrupted(*given)
        drawn[0] = (drawn[0] + 1) % 10  # what the manifest's digest is of
        return arrays, drawn, *rest

    monkeypatch.setattr(suspects, "corrupted", other)
    with pytest.raises(DataError, match="its labels have changed"):
        suspects.run([str(run), f"out={tmp_path}"])


@pytest.mark.slow
def test_the_worked_example_of_the_docs_finds_the_wrong_labels(tmp_path: Path) -> None:
    """docs/wrong_labels.md, its command taken from the page itself."""
    docs = settings.config_dir().parent / "docs"
    page = (docs / "wrong_labels.md").read_text()
    subprocess.run([sys.executable, docs / "shapes.py"], cwd=tmp_path, check=True)
    command = page.split("python -m noisygce.train ")[1].split("\n\n")[0].replace("\\\n", " ")
    training = Command(tmp_path, *shlex.split(command))
    assert training.wait() == 0, training.text()
    rows = written(run_folder(tmp_path), tmp_path, f"paths.data={tmp_path / 'data'}")
    true = dict(csv.reader((tmp_path / "wrong.csv").read_text().splitlines()))
    doubted = [row for row in rows if float(row["margin_log_odds"]) < 0]
    found = [row for row in doubted if row["file"] in true]
    assert len(found) > 0.9 * max(len(doubted), len(true))
    assert sum(row["suggested"] == true[row["file"]] for row in found) > 0.9 * len(found)
