"""A person's own vectors: read, checked, trained on, judged; an id stands for what files hold, wherever they lie."""

from __future__ import annotations

import csv
import re
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_reliability import one_line, run_folder, train
from PIL import Image

from noisygce import models, predict, results, runs, settings, suspects, verify
from noisygce.data import Digits, preprocessing
from noisygce.errors import ConfigError, DataError
from noisygce.runs import artifacts
from noisygce.runs.begin import training_of
from noisygce.sweep.plan import look, plan_of
from noisygce.training.task import Task, prepare

NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
WORDS = ("data=features", "data.features=X.npy", "data.labels=y.npy", "paths.data=.")


def write(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The digits' pixels as X.npy, their names as y.npy, one label in five wrong, ids.csv; true labels, which are."""
    arrays = Digits().load(folder)
    rng = np.random.default_rng(0)
    y = arrays.train_labels
    wrong = rng.random(len(y)) < 0.2
    noisy = np.where(wrong, (y + rng.integers(1, 10, len(y))) % 10, y)
    np.save(folder / "X.npy", arrays.train_images.reshape(len(y), -1) / 16)
    np.save(folder / "y.npy", NAMES[noisy])
    lines = [f"digit-{i:04}.png,{NAMES[label]}" for i, label in enumerate(noisy)]
    (folder / "ids.csv").write_text("\n".join(["id,label", *lines]) + "\n")
    return y, wrong


@pytest.mark.parametrize("model", ["convnet", "resnet8", "cnn8", "resnet18"])
def test_a_network_for_pictures_is_refused_for_vectors(model: str, tmp_path: Path) -> None:
    write(tmp_path)
    code, text = train(tmp_path, *WORDS, f"model={model}")
    assert code == 2
    assert "is a network for pictures; vectors need model=mlp or linear" in one_line(text)
    assert not [*tmp_path.glob("results/runs/*")]


def task(*overrides: str, root: Path) -> Task:
    e = settings.read(settings.compose([*WORDS, *overrides]))
    return prepare(e.data, e.split, e.verdicts, e.noise, e.seed, root)


def id_of(*overrides: str, root: Path) -> str:
    return runs.run_id(runs.identity(settings.resolved(settings.compose([*overrides, f"paths.data={root}"]))))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    folder = tmp_path_factory.mktemp("features")
    y, wrong = write(folder)
    code, text = train(folder, *WORDS, "data.ids=ids.csv", "loss=tgce", "schedule.epochs=20")
    assert code == 0, text
    return run_folder(folder), y, wrong


def listed(run: Path, out: Path, *words: str) -> list[dict[str, str]]:
    suspects.run([str(run), f"out={out}", f"paths.data={run.parents[2]}", *words])
    return list(csv.DictReader((out / f"{run.name}.csv").read_text().splitlines()))


def test_wrong_labels_of_vectors_are_found_and_named_by_their_ids(finished, tmp_path: Path) -> None:
    run, y, wrong = finished
    rows = listed(run, tmp_path)
    index = np.array([int(row["index"]) for row in rows])
    assert wrong[index][: wrong.sum()].mean() > 0.9
    assert all(row["file"] == f"digit-{i:04}.png" for i, row in zip(index, rows, strict=True))
    first = [row["suggested"] == NAMES[y[i]] for i, row in zip(index[:100], rows, strict=False)]
    assert np.mean(first) > 0.9
    page = (tmp_path / f"{run.name}.html").read_text()
    assert not re.findall(r'class="sprite">', page), "vectors have no pictures"
    assert verify.Verifier(run.parents[2]).faults(results.of_folder(run)) == ([], [])


def test_ids_that_are_files_bring_their_pictures_onto_the_page(finished, tmp_path: Path) -> None:
    run, _, _ = finished
    images = Digits().load(tmp_path).train_images
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"digit-{i:04}.png")
    with pytest.raises(DataError, match=r"there is no such picture; pictures is the folder below which the names"):
        listed(run, tmp_path, f"pictures={run}", "top=100")
    listed(run, tmp_path, f"pictures={tmp_path}", "top=100")
    assert len(re.findall(r'class="sprite">', (tmp_path / f"{run.name}.html").read_text())) == 1


def test_a_kept_model_says_of_vectors_what_it_said(finished, capsys, tmp_path) -> None:
    run, _, _ = finished
    found = artifacts.predictions(run, results.of_folder(run).manifest)
    file = run.parents[2] / "X.npy"
    network, preprocess, classes = models.load(run)
    with torch.no_grad():
        p = network(preprocess(np.load(file))).softmax(1).numpy()
    assert np.abs(p - found.p).max() < 1e-3
    capsys.readouterr()
    predict.run([str(run), str(file)])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["row"] for row in rows] == [str(i) for i in range(1500)]
    assert [row["class"] for row in rows] == [classes[k] for k in found.predicted]
    with pytest.raises(DataError, match=r"is not an \.npy file"):
        predict.run([str(run), str(run / "config.yaml")])
    with pytest.raises(ValueError, match="a vector must be of 64 numbers"):
        preprocess([np.zeros(63)])
    np.save(tmp_path / "narrow.npy", np.load(file)[:, :63])
    with pytest.raises(DataError, match="has 63 columns, and the run was trained on 64"):
        predict.run([str(run), str(tmp_path / "narrow.npy")])


def test_the_network_gets_each_value_with_mean_0_and_deviation_1(tmp_path: Path) -> None:
    write(tmp_path)
    x = np.load(tmp_path / "X.npy") * 1e3 + 1e5
    x[:, 7] = 0.1
    np.save(tmp_path / "X.npy", x)
    words = (*WORDS[:3], f"paths.data={tmp_path}", "model=linear")
    fed = training(*words).images.plain(torch.arange(1500))
    assert fed.shape == (1500, 64, 1, 1)
    flat = fed.flatten(1).double()
    spread = torch.from_numpy(x.std(0) > 1e-9)
    assert flat.mean(0).abs().max() < 1e-3
    assert (flat[:, spread].std(0, correction=0) - 1).abs().max() < 1e-3
    assert 0 < (~spread).sum() < 64
    assert flat[:, ~spread].abs().max() < 1e-3, "what never changes becomes 0"
    as_they_are = training(*words, "data.normalise=none").images.plain(torch.arange(1500)).flatten(1)
    assert torch.equal(as_they_are, torch.from_numpy(x.astype(np.float32)))


def training(*words: str):
    return training_of(settings.read(settings.compose(words)), "cpu")


def fed_and_kept(folder: Path, *words: str) -> tuple[np.ndarray, np.ndarray]:
    """What the network is trained on, and what its kept model makes of the same file: (N, D) each."""
    t = training(*WORDS[:3], f"paths.data={folder}", "model=linear", *words)
    images = t.images
    mean, std = images.units or (images.mean, images.std)
    preprocess = models.Preprocess((1, 1, images.pixels.shape[-1]), mean, std, vectors=True)
    vectors = np.load(folder / "X.npy")
    return images.plain(torch.arange(len(vectors))).flatten(1).numpy(), preprocess(vectors).flatten(1).numpy()


@pytest.mark.parametrize(("shift", "scale"), [(1.7e9, 1), (1.7e18, 1e9), (-3, 1e-12), (0, 1e6)])
def test_a_value_is_scaled_before_it_is_cast_wherever_it_lies(shift: float, scale: float, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(-500, 500, size=(300, 2)).astype(float)  # exact after shift and scale
    np.save(tmp_path / "y.npy", np.arange(300) % 3)
    moved = shift + scale * x
    if scale < 1:
        moved = moved.round(12)
    np.save(tmp_path / "X.npy", moved)
    fed, kept_ = fed_and_kept(tmp_path)
    assert np.array_equal(fed, kept_), "a kept model has the very values of training"
    exact = (x - x.mean(0)) / x.std(0)
    assert np.abs(fed - exact).max() < 1e-3
    assert len(np.unique(fed[:, 0])) == len(np.unique(x[:, 0])), "no two values become one"


@pytest.mark.parametrize("kind", ["float16", "float32", ">f8", "int8", "uint8", "int64"])
def test_vectors_of_any_type_are_numbers_that_stand_for_themselves(kind: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 100, size=(60, 3))
    np.save(tmp_path / "X.npy", x.astype(kind))
    np.save(tmp_path / "y.npy", np.arange(60) % 2)
    fed, kept_ = fed_and_kept(tmp_path)
    assert np.array_equal(fed, kept_)
    assert np.abs(fed - (x - x.mean(0)) / x.std(0)).max() < 1e-6
    as_they_are, kept_ = fed_and_kept(tmp_path, "data.normalise=none")
    assert np.array_equal(as_they_are, x)
    assert np.array_equal(as_they_are, kept_)


def test_only_a_value_that_never_changes_is_a_constant(tmp_path: Path) -> None:
    x = np.column_stack([np.full(100, 0.1), np.full(100, 1e9), 1e9 + np.arange(100), 0.1 + 1e-12 * np.arange(100)])
    np.save(tmp_path / "X.npy", x)
    np.save(tmp_path / "y.npy", np.arange(100) % 2)
    spread = fed_and_kept(tmp_path)[0].std(0)
    assert spread[:2].tolist() == [0, 0]
    assert np.abs(spread[2:] - 1).max() < 1e-3


def test_vectors_need_little_more_memory_than_their_file_and_what_the_network_gets() -> None:
    x = np.ones((50_000, 64), dtype=np.float32)
    x[::2] = 3
    tracemalloc.start()
    try:
        centre, spread = preprocessing.units(x)
        ready = preprocessing.scaled(x, centre, spread)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.8 * ready.nbytes
    assert (centre.tolist(), spread.tolist()) == ([2] * 64, [1] * 64)
    assert ready[:2, 0].tolist() == [1, -1]


def test_values_that_float32_cannot_tell_apart_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    x[:, 1] += 1.7e9
    np.save(tmp_path / "X.npy", x)
    np.save(tmp_path / "y.npy", np.arange(300) % 2)
    words = (*WORDS, "schedule.epochs=1", "schedule.milestones=[]")
    assert "become equal in float32" not in train(tmp_path, *words)[1]
    text = train(tmp_path, *words, "data.normalise=none", "schedule.lr=1e-30", "model=linear")[1]
    assert "1 of 3 columns of data.features, column 1 first: different values become equal in float32" in text
    x[0, 2] = 1e30
    np.save(tmp_path / "X.npy", x)
    assert "column 2 first: different values become equal in float32 (some lie too far" in train(tmp_path, *words)[1]


def test_labels_may_be_numbers_names_or_a_column(tmp_path: Path) -> None:
    write(tmp_path)
    by_name = task(root=tmp_path)
    assert by_name.arrays.classes == tuple(sorted(NAMES))
    assert not by_name.arrays.truth
    column = task("data.labels=ids.csv", root=tmp_path)
    assert np.array_equal(column.noisy, by_name.noisy)
    body = (tmp_path / "ids.csv").read_text().split("\n", 1)[1]
    (tmp_path / "bare.csv").write_text(body)  # without a header
    bare = task("data.labels=bare.csv", "data.ids=bare.csv", root=tmp_path)
    assert np.array_equal(bare.noisy, by_name.noisy)
    assert bare.arrays.train_names[:2] == ("digit-0000.png", "digit-0001.png")
    assert by_name.arrays.train_names == ()
    numbers = np.array([[*NAMES].index(name) for name in np.load(tmp_path / "y.npy")]) * 5 + 1  # 1, 6, 11, ...
    for labels in (numbers, numbers.astype(float), numbers.astype("S")):
        np.save(tmp_path / "y.npy", labels)
        found = task(root=tmp_path)
        assert found.arrays.classes == tuple(str(5 * k + 1) for k in range(10)), "in the order of numbers"
        assert np.array_equal(found.noisy, (numbers - 1) // 5)


def test_a_test_set_of_vectors_is_read(tmp_path: Path) -> None:
    write(tmp_path)
    x, y = np.load(tmp_path / "X.npy"), np.load(tmp_path / "y.npy")
    np.save(tmp_path / "Xt.npy", x[:30].astype(np.float16))
    np.save(tmp_path / "yt.npy", y[:30])
    words = ("data.test_features=Xt.npy", "data.test_labels=yt.npy")
    found = task(*words, root=tmp_path)
    assert found.arrays.test_images.shape == (30, 1, 1, 64)
    assert np.array_equal(found.arrays.test_labels, found.arrays.train_labels[:30])
    np.save(tmp_path / "yt.npy", np.full(30, "ten"))
    with pytest.raises(DataError, match="no training sample is labelled ten"):
        task(*words, root=tmp_path)
    with pytest.raises(ConfigError, match=r"data\.test_features"):
        task(words[0], root=tmp_path)


X, Y = np.ones((6, 3)), np.array(["a", "b"] * 3)


@pytest.mark.parametrize(
    ("x", "y", "ids", "says"),
    [
        (
            np.ones((6, 8, 8)),
            Y,
            "",
            r"holds images, float64 of shape \(6, 8, 8\): data=arrays data.images=FILE",
        ),
        (np.ones((6, 8, 8, 3), dtype=np.uint8), Y, "", "holds images, uint8 of shape"),
        (X[0], Y, "", r"X\.npy must hold N x D numbers; it holds float64 of shape \(3,\)"),
        (X.astype(str), Y, "", "must hold N x D numbers; it holds <U"),
        (
            np.where(np.arange(18).reshape(6, 3) == 7, np.nan, X),
            Y,
            "",
            "1 of 6 rows hold NaN or infinity, row 2 first",
        ),
        (X * 1e300, Y, "", "6 of 6 rows hold NaN or infinity"),
        (X, Y[:5], "", r"y\.npy must hold 6 labels, one for each sample; its shape is \(5,\)"),
        (X, np.arange(6) / 2, "", "labels are integers or names, not float64"),
        (X, np.array([1e19, 2e19, 3, 4, 5, 6]), "", "labels are integers or names, not float64"),
        (X, np.array([{}] * 6, dtype=object), "", "it holds objects; save names by np.save"),
        (X, np.array([b"\xe9t\xe9", b"\xe8t\xe8"] * 3), "", r"y\.npy, sample 0: its label b'\\xe9t\\xe9' is not UTF-8"),
        (X, np.array(["a", " "] * 3), "", r"y\.npy, sample 1: its label is empty"),
        (X, Y[:1].repeat(6), "", "there must be at least two classes; there is a"),
        (X, Y, "a\nb\n", r"ids\.csv has 2 lines and no header .*; there are 6 samples"),
        (X, Y, "a\nb\nc\nd\ne\na\n", "each sample needs an id of its own; a comes 2 times"),
        (X, Y, "a,1\nb,2\n,3\nd,4\ne,5\nf,6\n", r"ids\.csv, line 3: the name of its sample is empty"),
    ],
)
def test_vectors_labels_and_ids_that_cannot_be_used_are_told(x, y, ids: str, says: str, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", x)
    np.save(tmp_path / "y.npy", y, allow_pickle=True)
    (tmp_path / "ids.csv").write_text(ids)
    with pytest.raises(DataError, match=says):
        task(*(["data.ids=ids.csv"] if ids else []), root=tmp_path)


def test_missing_files_are_told_in_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", X)
    code, text = train(tmp_path, *WORDS)
    assert code == 2
    assert "data.labels=y.npy: there is no such file here" in one_line(text)
    with pytest.raises(ConfigError, match=r"data\.features=null: data\.features must be an \.npy file"):
        settings.read(settings.compose(["data=features"]))


def test_an_id_stands_for_what_files_hold_wherever_they_lie(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    write(here)
    shutil.copytree(here, there)
    (there / "X.npy").rename(there / "other.npy")
    first = id_of(*WORDS[:3], root=here)
    assert id_of("data=features", f"data.features={there}/other.npy", "data.labels=y.npy", root=there) == first
    np.save(here / "y.npy", np.roll(np.load(here / "y.npy"), 1))
    changed = id_of(*WORDS[:3], root=here)
    assert changed != first
    assert id_of(*WORDS[:3], "data.ids=ids.csv", root=here) not in (changed, first)


def test_data_that_are_not_there_give_training_no_id_and_a_plan_its_stored_one_or_one_that_no_run_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path)
    words = [*WORDS[:3], f"paths.data={tmp_path}"]
    there = id_of(*WORDS[:3], root=tmp_path)
    assert next(iter(plan_of([*words, "seed=0,1"]).runs)).id == there
    (tmp_path / "y.npy").unlink()
    with pytest.raises(DataError, match=r"data\.labels=y\.npy: there is no such file"):
        id_of(*WORDS[:3], root=tmp_path)
    assert next(iter(plan_of([*words, "seed=0,1"]).runs)).id == there  # as the plan was stored
    (record,) = caplog.records
    assert record.getMessage().endswith("the runs are those of the stored plan")
    caplog.clear()
    plan = plan_of([*words, "seed=0,1,2"])
    assert [result.state for result in look(plan)] == ["missing"] * 3
    assert there not in [run.id for run in plan.runs]
    (record,) = caplog.records
    assert re.search(
        r"data\.labels=y\.npy: there is no such file .*; the runs that need it have no ID here", record.getMessage()
    )


def test_an_id_of_pictures_stands_for_what_they_hold(tmp_path: Path) -> None:
    for name in ("one/a/train/x", "one/a/train/y"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("L", (9, 9), len(name)).save(tmp_path / name / "1.png")
    shutil.copytree(tmp_path / "one" / "a", tmp_path / "b")
    words = ("data=folder", "noise=clean")
    first = id_of(*words, "data.folder=a", root=tmp_path / "one")
    assert id_of(*words, f"data.folder={tmp_path}/b", root=tmp_path) == first
    Image.new("L", (9, 9), 77).save(tmp_path / "b" / "train" / "y" / "1.png")
    assert id_of(*words, "data.folder=b", root=tmp_path) != first
    (tmp_path / "one" / "a" / "train" / "y" / "1.png").rename(tmp_path / "one" / "a" / "train" / "x" / "2.png")
    assert id_of(*words, "data.folder=a", root=tmp_path / "one") != first, "a label is content too"


def test_the_path_of_verdicts_is_no_part_of_an_id(tmp_path: Path) -> None:
    words = ("data=digits", f"data.verdicts_sha256={'0' * 64}")
    assert len({id_of(*words, f"data.verdicts={name}.csv", root=tmp_path) for name in "ab"}) == 1
    assert len({id_of("data=digits", f"data.verdicts={name}.csv", root=tmp_path) for name in "ab"}) == 2


def test_the_path_of_a_file_of_labels_is_no_part_of_an_id_but_their_digest_is(tmp_path: Path) -> None:
    words = ("data=digits", "noise=file")
    digests = [f"noise.sha256={digit * 64}" for digit in "01"]
    assert len({id_of(*words, f"noise.file={name}.npy", digests[0], root=tmp_path) for name in "ab"}) == 1
    assert len({id_of(*words, "noise.file=a.npy", digest, root=tmp_path) for digest in digests}) == 2
    assert len({id_of(*words, f"noise.file={name}.npy", root=tmp_path) for name in "ab"}) == 2


def test_data_that_has_changed_since_is_told(finished, tmp_path: Path) -> None:
    run, _, _ = finished
    copy = tmp_path / "results" / "runs" / run.name
    shutil.copytree(run, copy)
    for name in ("X.npy", "y.npy", "ids.csv"):
        shutil.copy(run.parents[2] / name, tmp_path / name)
    np.save(tmp_path / "X.npy", np.load(tmp_path / "X.npy") + 1)
    found = results.of_folder(copy)
    verifier = verify.Verifier(tmp_path)
    verifier.drawn[verify._labels({**found.manifest["config"], "contents": "of now"})] = ({"labels_sha256": "0"}, None)
    assert verifier.faults(found) == verify.Verifier(tmp_path).faults(found), "what other contents draw is not its own"
    assert verify.Verifier(tmp_path).faults(found) == ([], ["data.features=X.npy holds something else now"])
    with pytest.raises(DataError, match=r"data\.features=X\.npy is not the one of"):
        suspects.Tiles(found, [f"paths.data={tmp_path}"])


def test_a_run_of_an_older_reader_is_not_checked_by_this_one(finished) -> None:
    found = results.of_folder(finished[0])
    config = {key: value for key, value in found.manifest["config"].items() if key != "revisions"}
    older = replace(found, manifest={**found.manifest, "config": config})
    with pytest.raises(verify.Unchecked, match=r"made with revision 1 of noisygce\.data\.Features, this code has 2"):
        next(verify.Verifier(finished[0].parents[2]).noise(older))
    assert not [*verify.Verifier(finished[0].parents[2]).noise(found)]
    assert not runs.older({**config, "data": {"_target_": "noisygce.data.Digits"}}, "data", "noise")


def test_pictures_of_samples_that_are_only_numbers_cannot_be_shown(finished, tmp_path: Path) -> None:
    found = results.of_folder(finished[0])
    config = runs.given(found.manifest["config"])
    bare = replace(found, manifest={**found.manifest, "config": {**config, "data": {**config["data"], "ids": None}}})
    root = f"paths.data={finished[0].parents[2]}"
    assert not suspects.Tiles(bare, [root]).there
    with pytest.raises(ConfigError, match=r"have no names; train with data\.ids"):
        suspects.Tiles(bare, [root], str(tmp_path))


@pytest.mark.parametrize("noise", ["uniform", "instance", "instance noise.pixels=normalised"])
def test_noise_on_vectors_is_drawn(noise: str, tmp_path: Path) -> None:
    write(tmp_path)
    found = task(*f"noise={noise} rate=0.3".split(), root=tmp_path)
    assert found.arrays.truth
    assert (found.noisy != found.clean).mean() == pytest.approx(0.3, abs=0.05)
