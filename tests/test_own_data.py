"""A person's own labels, own pictures and own loss, from outside the repository."""

import csv
import hashlib
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from noisygce import inputs, models, results, runs, settings, suspects
from noisygce.data.verdicts import decisions, read
from noisygce.errors import ConfigError, DataError
from noisygce.noise import digest
from noisygce.sweep.plan import plan_of
from noisygce.training.task import prepare
from noisygce.view import ranking

ROOT = Path(__file__).resolve().parent.parent


def run(module: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", f"noisygce.{module}", *arguments],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{folder}",
            "OMP_NUM_THREADS": "1",
            "NOISYGCE_CACHE": os.environ["NOISYGCE_CACHE"],
        },
        capture_output=True,
        text=True,
    )


def task(*overrides: str, root: Path):
    e = settings.read(settings.compose(overrides))
    return prepare(e.data, e.split, e.verdicts, e.noise, e.seed, root)


def test_exported_labels_come_back_as_the_same_noise(tmp_path):
    done = run("labels", "out=mine.npy", "data=digits", "noise=pair", "rate=0.3", "seed=4", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    drawn = task("data=digits", "noise=pair", "rate=0.3", "seed=4", root=tmp_path).noisy
    assert np.array_equal(np.load(tmp_path / "mine.npy"), drawn)
    assert digest(drawn) in done.stdout
    again = shlex.split(done.stdout.splitlines()[-1].partition(" -m noisygce.train ")[2])
    assert np.array_equal(task(*again, root=tmp_path).noisy, drawn), "the line it prints can be used"


def test_a_label_file_must_be_the_one_that_was_meant(tmp_path):
    labels = task("data=digits", "noise=clean", root=tmp_path).clean
    np.save(tmp_path / "a.npy", labels)
    own = ["data=digits", "noise=file", "rate=0", "noise.file=a.npy"]
    with pytest.raises(DataError, match=f"noise.sha256={digest(labels)}"):
        task(*own, root=tmp_path)
    assert np.array_equal(task(*own, f"noise.sha256={digest(labels)}", root=tmp_path).noisy, labels)
    with pytest.raises(ConfigError, match=r"noise\.sha256=abc"):
        task(*own, "noise.sha256=abc", root=tmp_path)
    with pytest.raises(ConfigError, match=r"noise\.file=null"):
        task("data=digits", "noise=file", root=tmp_path)


def test_labels_of_classes_in_another_order_are_named_so_unless_they_are_meant(tmp_path):
    labels = (task("data=digits", "noise=clean", root=tmp_path).clean + 1) % 10
    np.save(tmp_path / "a.npy", labels)
    own = ["data=digits", "noise=file", "rate=0.99", "noise.file=a.npy"]
    with pytest.raises(DataError, match="are the classes numbered in another order"):
        task(*own, root=tmp_path)
    assert np.array_equal(task(*own, f"noise.sha256={digest(labels)}", root=tmp_path).noisy, labels)


def test_labels_lie_here_or_below_the_data_or_the_home_folder_and_one_message_has_all_values(tmp_path, monkeypatch):
    labels = task("data=digits", "noise=pair", "rate=0.3", root=tmp_path).noisy
    np.save(tmp_path / "a.npy", labels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError) as refused:
        task("data=digits", "noise=file", "noise.file=a.npy", root=tmp_path / "elsewhere")
    values = re.findall(r"noise\.sha256=[0-9a-f]{64}|rate=[0-9.]+[0-9]", str(refused.value))
    for file, root in (("a.npy", tmp_path / "elsewhere"), ("a.npy", tmp_path), ("'~/a.npy'", tmp_path / "elsewhere")):
        found = task("data=digits", "noise=file", f"noise.file={file}", *values, root=root).noisy
        assert np.array_equal(found, labels)
    with pytest.raises(DataError, match=r"noise\.file=b\.npy: there is no such file"):
        task("data=digits", "noise=file", "noise.file=b.npy", *values, root=tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.zeros(1499, dtype=np.int64), "must hold 1500 integers"),
        (np.zeros(1500), r"it holds float64 .*; save labels\.astype\(int\)"),
        (np.full(1500, 10), r"labels in 0\.\.9"),
        (np.full(1500, -1), r"labels in 0\.\.9"),
        (np.array([{}] * 1500, dtype=object), "not an npy file of numbers"),  # needs pickle, which is not run
    ],
)
def test_labels_of_another_length_type_or_range_are_refused(tmp_path, content, says):
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    with pytest.raises(DataError, match=says):
        task("data=digits", "noise=file", "noise.file=a.npy", root=tmp_path)


def test_a_run_on_labels_from_a_file_can_be_verified(tmp_path):
    labels = task("data=digits", "noise=pair", "rate=0.3", root=tmp_path).noisy
    np.save(tmp_path / "a.npy", labels)
    own = [
        "data=digits",
        "noise=file",
        "rate=0.3",
        "noise.file=a.npy",
        f"noise.sha256={digest(labels)}",
        "paths.data=.",
    ]
    done = run("train", *own, "schedule.epochs=1", "schedule.milestones=[]", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    checked = run("verify", "results", "paths.data=.", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "could not" not in checked.stdout, checked.stdout
    (tmp_path / "a.npy").rename(tmp_path / "b.npy")  # a file of labels may move: the run is found, and judged
    (folder,) = (tmp_path / "results/runs").iterdir()
    assert run("suspects", str(folder), "paths.data=.", folder=tmp_path).returncode == 0
    assert (tmp_path / f"results/suspects/{folder.name}.html").stat().st_size > 10_000
    np.save(tmp_path / "a.npy", labels[::-1])
    assert "noise.sha256" in run("verify", "results", "paths.data=.", folder=tmp_path).stdout


def pictures(folder: Path, rng: np.random.Generator) -> None:
    """Two kinds of picture: dark ones and bright ones, of several sizes."""
    for part, each in (("train", 40), ("test", 10)):
        for name, level in (("dark", 60), ("bright", 190)):
            (folder / part / name).mkdir(parents=True)
            for i in range(each):
                pixels = np.clip(rng.normal(level, 20, (9 + i % 5, 12, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{i:03}.png")


FOLDER = ["data=folder", "data.folder=mine", "data.size=8", "data.validation=16", "data.padding=0", "noise=clean"]


def test_a_folder_of_pictures_trains(tmp_path):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    done = run(
        *["train", *FOLDER, "data.name=light", "model=convnet", "precision=fp32", "schedule.batch_size=8"],
        *["schedule.epochs=4", "schedule.milestones=[]", "paths.data=."],
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "val 100.00" in done.stdout, "dark and bright can be told apart"
    assert next((tmp_path / "results" / "runs").iterdir()).name.startswith("light-convnet-clean-0-gce-s0-")


def test_pictures_are_resized_sorted_by_name_and_labelled_by_folder_or_csv(tmp_path):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    by_folder = task(*FOLDER, root=tmp_path).arrays
    assert by_folder.classes == ("bright", "dark")
    assert by_folder.train_images.shape == (80, 8, 8, 3)
    assert np.array_equal(by_folder.train_labels, [0] * 40 + [1] * 40)
    assert (by_folder.train_images[:40].mean((1, 2, 3)) > by_folder.train_images[40:].mean((1, 2, 3)).max()).all()
    for part in ("train", "test"):
        rows = [
            f"{path.relative_to(tmp_path / 'mine')},{path.parent.name}"
            for path in (tmp_path / "mine").glob(f"{part}/*/*")
        ]
        (tmp_path / "mine" / f"{part}.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    by_csv = task(*FOLDER, root=tmp_path).arrays
    assert np.array_equal(by_csv.train_images, by_folder.train_images)
    assert np.array_equal(by_csv.train_labels, by_folder.train_labels)
    grey = task(*FOLDER, "data.channels=1", "data.mean=[0.5]", "data.std=[0.25]", root=tmp_path).arrays
    assert grey.train_images.shape == (80, 8, 8, 1)


def test_a_folder_that_cannot_be_used_is_refused_with_what_to_change(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.folder=null"):
        task("data=folder", root=tmp_path)
    with pytest.raises(DataError, match="there is no such folder"):
        task(*FOLDER, root=tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="no pictures to train on"):
        task(*FOLDER, root=tmp_path)
    pictures(tmp_path / "mine", np.random.default_rng(0))
    with pytest.raises(DataError, match=r"data\.validation=80: there are 80 training samples"):
        task(*FOLDER, "data.validation=80", root=tmp_path)
    (tmp_path / "mine" / "train.csv").write_text("train/dark/001.png,dark\n/etc/nowhere.png,bright\n")
    with pytest.raises(DataError, match=r"train\.csv, line 2: there is no file '/etc/nowhere\.png' below .*; remove"):
        task(*FOLDER, root=tmp_path)


def test_pictures_and_vectors_that_are_more_than_the_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    np.save(tmp_path / "X.npy", np.zeros((100, 16)))
    np.save(tmp_path / "y.npy", np.arange(100) % 2)
    vectors = ["data=features", "data.features=X.npy", "data.labels=y.npy", f"paths.data={tmp_path}"]
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 4, "SC_PAGE_SIZE": 4096}.get)  # 100 pictures are 19,200 bytes
    monkeypatch.setattr(inputs, "sha256", lambda _: pytest.fail("read"))
    with pytest.raises(DataError, match=r"data\.folder=mine: 100 pictures of 8x8x3 take 0\.0 GB.*lower data\.size"):
        task(*FOLDER, root=tmp_path)
    with pytest.raises(DataError, match=r"data\.folder=mine: 100 pictures of 8x8x3"):
        runs.identity(settings.resolved(settings.compose([*FOLDER, f"paths.data={tmp_path}"])))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 3, "SC_PAGE_SIZE": 4096}.get)  # 12,800 bytes and a header
    with pytest.raises(DataError, match=r"data\.features=X\.npy: the vectors take"):
        runs.identity(settings.resolved(settings.compose(vectors)))


def test_a_picture_that_cannot_be_read_is_named_and_left_out(tmp_path, caplog):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    (tmp_path / "mine" / "train" / "dark" / "000.png").write_bytes(b"not a picture")
    arrays = task(*FOLDER, root=tmp_path).arrays
    assert "000.png" in caplog.text
    assert len(arrays.train_images) == len(arrays.train_labels) == len(arrays.train_names) == 79
    assert "train/dark/000.png" not in arrays.train_names


def test_hidden_pictures_are_none_and_those_in_no_class_are_counted(tmp_path, caplog):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    some = (tmp_path / "mine" / "train" / "dark" / "000.png").read_bytes()
    for place in (".ipynb_checkpoints/000-checkpoint.png", "dark/._000.png", "dark/deeper/x.png", "above.png"):
        path = tmp_path / "mine" / "train" / place
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(some)
    arrays = task(*FOLDER, root=tmp_path).arrays
    assert arrays.classes == ("bright", "dark")
    assert len(arrays.train_names) == 80
    assert "left out: pictures that are not train/CLASS/FILE: 2" in caplog.text


def test_a_list_of_labels_may_come_from_a_spreadsheet_and_names_each_picture_once(tmp_path):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    lines = [f"train/dark/{i:03}.png,{'nuit' if i % 2 else 'jour'}" for i in range(40)]
    table = tmp_path / "mine" / "train.csv"
    (tmp_path / "mine" / "test.csv").write_text("file,label\n")
    table.write_text("\n".join(["file,label", *lines]), encoding="utf-8-sig")
    assert task(*FOLDER, root=tmp_path).arrays.classes == ("jour", "nuit")
    table.write_text("\n".join([*lines, "train/dark/003.png,été"]), encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.csv has train/dark/003\.png twice, as nuit and as été"):
        task(*FOLDER, root=tmp_path)
    table.write_text("\n".join(["train/dark/000.png,3", "train/dark/000.png,3", "train/dark/001.png,4"]))
    with pytest.raises(DataError, match=r"train\.csv has train/dark/000\.png twice, as 3 and as 3"):
        task(*FOLDER, root=tmp_path)
    table.write_text("\n".join([*lines[1:], "train/dark/000.png,été"]), encoding="latin-1")
    with pytest.raises(DataError, match=r"train\.csv, line 40: its label b'\\xe9t\\xe9' is not UTF-8"):
        task(*FOLDER, root=tmp_path)


def test_pictures_of_16_bits_are_read_whatever_their_format(tmp_path):
    deep = Image.fromarray(np.array([[0, 257 * 200]], dtype=np.uint16))
    for name in ("a.png", "a.pgm", "a.tiff"):
        deep.save(tmp_path / name)
        assert inputs.picture(tmp_path / name, 2, 1, 1).ravel().tolist() == [0, 200]
        assert inputs.picture(Image.open(tmp_path / name).copy(), 2, 1, 1).ravel().tolist() == [0, 200]


def test_a_tiff_of_signed_numbers_is_refused(tmp_path):
    deep = Image.fromarray(np.array([[0, 400]], dtype=np.uint16))
    deep.save(tmp_path / "a.tiff", tiffinfo={339: 1})
    assert inputs.picture(tmp_path / "a.tiff", 2, 1, 1).ravel().tolist() == [0, 1]
    content = (tmp_path / "a.tiff").read_bytes()
    tag = struct.pack("<HHI", 339, 3, 1)  # SampleFormat, one number of 16 bits
    assert content.count(tag) == 1
    at = content.index(tag) + len(tag)
    (tmp_path / "a.tiff").write_bytes(content[:at] + struct.pack("<H", 2) + content[at + 2 :])
    with pytest.raises(ValueError, match="signed"):
        inputs.picture(tmp_path / "a.tiff", 2, 1, 1)


def test_pictures_of_few_bits_in_a_file_of_16_are_told(tmp_path, caplog):
    for i in range(40):
        path = tmp_path / "mine" / "train" / ("dark", "bright")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 4095 - i, dtype=np.uint16)).save(path)
    task(*FOLDER, root=tmp_path)
    assert "the lightest pixel of all training pictures is 15 of 255" in caplog.text


def test_pictures_beside_a_table_that_no_line_names_are_counted(tmp_path, caplog):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    base = tmp_path / "mine"
    files = sorted(base.glob("train/*/*.png"))
    for i, path in enumerate(files):
        path.rename(base / f"{i}.png")
    shutil.rmtree(base / "train")
    shutil.rmtree(base / "test", ignore_errors=True)
    labels = [f"{i}.png,{path.parent.name}" for i, path in enumerate(files)]
    (base / "train.csv").write_text("\n".join(labels[2:]))
    task(*FOLDER, root=tmp_path)
    assert "left out: pictures in no line of train.csv: 2" in caplog.text


def test_pictures_that_a_table_leaves_out_are_counted_and_none_is_in_both_tables(tmp_path, caplog):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    base = tmp_path / "mine"
    (base / "train").rename(base / "scans")
    files = sorted(path.relative_to(base).as_posix() for path in base.glob("scans/*/*.png"))
    lines = [f"{file},{file.split('/')[1]}" for file in files]
    (base / "train.csv").write_text("\n".join(lines[::2]))
    shutil.rmtree(base / "test", ignore_errors=True)
    task(*FOLDER, root=tmp_path)
    assert f"left out: pictures in no line of train.csv: {len(lines[1::2])}" in caplog.text
    caplog.clear()
    (base / "test.csv").write_text("\n".join(lines[1::2]))
    task(*FOLDER, root=tmp_path)
    assert "left out" not in caplog.text
    (base / "test.csv").write_text("\n".join(lines[-3:]))
    with pytest.raises(DataError, match=f"{files[-2]} is both a training and a test picture"):
        task(*FOLDER, root=tmp_path)


def test_a_file_here_and_below_the_data_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "X.npy", np.zeros(3))
    assert inputs.located(Path("data"), "X.npy") == inputs.located(Path("."), "X.npy") == Path("X.npy")
    np.save(tmp_path / "data" / "X.npy", np.zeros(3))
    assert inputs.located(Path("data"), "X.npy") == Path("data") / "X.npy"  # the same content
    np.save(tmp_path / "data" / "X.npy", np.ones(3))
    with pytest.raises(DataError, match=r"X\.npy is both .* and .*data.X\.npy; give the whole path of one"):
        inputs.located(Path("data"), "X.npy")
    assert inputs.located(Path("data"), str(tmp_path / "X.npy")) == tmp_path / "X.npy"


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pictures_of_no_known_range_are_refused(tmp_path, kind):
    Image.fromarray(np.ones((8, 8), dtype=kind)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="no known range; save it in 8 or 16 bits"):
        inputs.picture(tmp_path / "a.tiff", 8, 8, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_names_of_files_that_are_no_utf_8_are_listed_as_they_are(tmp_path):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    odd = b"train/dark/caf\xe9.png"
    os.rename(tmp_path / "mine" / "train" / "dark" / "000.png", os.fsencode(tmp_path / "mine") + b"/" + odd)
    words = [*FOLDER, "model=convnet", "precision=fp32", "schedule.epochs=1", "schedule.milestones=[]", "paths.data=."]
    assert run("train", *words, folder=tmp_path).returncode == 0
    (folder,) = (tmp_path / "results/runs").iterdir()
    done = run("suspects", str(folder), "paths.data=.", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert odd in (tmp_path / f"results/suspects/{folder.name}.csv").read_bytes()
    done = run("predict", str(folder), "mine/train/dark", "out=said.csv", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert odd in (tmp_path / "said.csv").read_bytes()


def test_pictures_of_any_mode_are_what_a_person_sees(tmp_path):
    left = np.zeros((8, 8, 3), dtype=np.uint8)
    left[:, :4] = 200  # bright on the left
    plain = Image.fromarray(left)
    turned, exif = plain.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[0x0112] = 6  # as stored it lies on its side: turn it clockwise
    alpha = Image.merge("RGBA", (*plain.split(), Image.fromarray(np.full((8, 8), 255, dtype=np.uint8))))
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    deep = Image.fromarray(left[..., 0].astype(np.uint16) * 257)
    for name, picture, more in (
        *(("a_plain", plain, {}), ("b_turned", turned, {"exif": exif}), ("c_alpha", alpha, {}), ("d_deep", deep, {})),
        *(("e_palette", plain.quantize(2), {}), ("f_grey", plain.convert("L"), {}), ("g_clear", clear, {})),
    ):
        for label in ("x", "y"):
            (tmp_path / "mine" / "train" / label).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / "mine" / "train" / label / f"{name}.png", **more)
    found = task(*FOLDER, "data.validation=1", root=tmp_path).arrays.train_images[:7]
    assert all((image == found[0]).all() for image in found[:6])
    assert (found[6] == 255).all()  # what can be looked through is on white
    as_kept = models.Preprocess((8, 8, 3), torch.zeros(3), torch.ones(3))  # a kept model reads them in the same way
    for image, path in zip(found, sorted((tmp_path / "mine" / "train" / "x").glob("*")), strict=True):
        assert (as_kept.pixels(path) == image).all()
    tiles = object.__new__(suspects.Tiles)  # and so does the page on which labels are judged
    tiles.files = sorted((tmp_path / "mine" / "train" / "x").glob("*"))
    for index, image in enumerate(found):
        assert (tiles(index) == image).all()
    tiles.files[0].write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"a_plain\.png cannot be read as a picture any more"):
        tiles(0)


def test_without_a_test_set_or_known_truth_numbers_that_need_them_are_not_there(tmp_path):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    shutil.rmtree(tmp_path / "mine" / "test")
    own = ["schedule.epochs=3", "schedule.milestones=[]", "prune.start=1", "prune.every=1", "schedule.batch_size=8"]
    words = [*FOLDER, "data.validation=0.2", "model=convnet", "precision=fp32", "loss=tgce", "paths.data=.", *own]
    done = run("train", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("results/runs/*")
    best, last = (100 * results.of_folder(folder).noisy_validation[when] for when in ("best", "last"))
    assert f"no test set; accuracy on noisy validation in %: best {best:.2f}, last {last:.2f}; " in done.stdout
    command = done.stdout.rstrip().rpartition(": python -m noisygce.")[2].split()
    assert run(*command, "paths.data=.", folder=tmp_path).returncode == 0
    table = run("table", *words, folder=tmp_path)
    assert "Noisy validation accuracy in %" in table.stdout
    assert f"{best:.2f}" in table.stdout
    assert "0.0 % mislabelled" not in done.stderr
    (path,) = tmp_path.glob("results/runs/*/manifest.json")
    manifest = json.loads(path.read_text())
    assert set(manifest["results"].values()) == {None}
    assert {(row["precision"], row["recall"]) for row in manifest["pruning"]} == {(None, None)}
    (row, *_) = csv.DictReader((path.parent / "metrics.csv").read_text().splitlines())
    assert row["val_accuracy"]
    assert row["val_clean_accuracy"] == row["test_accuracy"] == row["mislabelled_as_true"] == ""
    assert run("verify", "results", "paths.data=.", folder=tmp_path).returncode == 0


def test_noise_on_one_s_own_pictures_is_known(tmp_path):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    assert not task(*FOLDER, root=tmp_path).arrays.truth
    assert task(*FOLDER[:-1], "noise=uniform", root=tmp_path).arrays.truth
    labels = np.arange(80) % 2
    np.save(tmp_path / "a.npy", labels)
    words = ["noise=file", "rate=0.5", "noise.file=a.npy", f"noise.sha256={digest(labels)}"]
    assert not task(*FOLDER[:-1], *words, root=tmp_path).arrays.truth, "which of the two is wrong, nobody has said"


def test_labels_that_people_have_changed_are_not_called_wrong_where_the_truth_is_unknown(tmp_path):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    said = verdicts(tmp_path, [f"{i},{i},train/bright/{i:03}.png,bright,dark,0.1,relabel" for i in range(9)])
    words = [*FOLDER, *said, "model=convnet", "precision=fp32", "schedule.epochs=1", "schedule.milestones=[]"]
    done = run("train", *words, "paths.data=.", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("results/runs/*/metrics.csv")
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert {row[key] for key in row if key.startswith("mislabelled")} == {""}


def verdicts(root: Path, rows: list[str]) -> list[str]:
    """The words that bring back a file of verdicts with these lines: index, file, given, suggested, verdict."""
    text = "\n".join(["rank,index,file,given,suggested,p_given,verdict", *rows]) + "\n"
    (root / "said.csv").write_text(text)
    return ["data.verdicts=said.csv", f"data.verdicts_sha256={hashlib.sha256(text.encode()).hexdigest()}"]


def test_verdicts_relabel_and_drop_samples_and_change_nothing_else(tmp_path):
    before = task("data=digits", "noise=pair", "rate=0.3", root=tmp_path)
    a, b, c = before.train[:3].tolist()
    out = int(before.validation[0])
    name = before.noisy.tolist()
    rows = [f"1,{a},,{name[a]},9,0.1,relabel", f"2,{b},,{name[b]},9,0.1,drop", f"3,{c},,{name[c]},9,0.1,keep"]
    words = verdicts(tmp_path, [*rows, f"4,{out},,{name[out]},9,0.1,drop"])
    after = task("data=digits", "noise=pair", "rate=0.3", *words, root=tmp_path)
    assert after.noisy[a] == 9
    assert (np.delete(after.noisy, a) == np.delete(before.noisy, a)).all()
    assert (after.clean == before.clean).all()
    assert after.train.tolist() == [i for i in before.train if i != b]
    assert after.validation.tolist() == before.validation[1:].tolist()
    words = verdicts(tmp_path, [f"{i},{i},,{name[i]},9,0.1,drop" for i in before.validation])
    with pytest.raises(DataError, match="drops every validation sample"):
        task("data=digits", "noise=pair", "rate=0.3", *words, root=tmp_path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,0,,7,9,0.1,drop", "line 2: sample 0 is labelled 0 here, not 7"),
        ("1,5000,,0,9,0.1,drop", r"there is no sample '5000': an index is in 0\.\.1499"),
        ("1,0,,0,ten,0.1,relabel", "'ten' is none of the classes 0, 1"),
        ("1,0,,0,9,0.1,maybe", "verdict 'maybe' must be keep, relabel, drop or empty"),
    ],
)
def test_verdicts_on_other_samples_are_refused_with_their_line(tmp_path, row, said):
    with pytest.raises(DataError, match=said):
        task("data=digits", "noise=clean", *verdicts(tmp_path, [row]), root=tmp_path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["0,0,a,bright,dark,0.1,"], "holds no verdict: judge samples on the page"),
        ([], "holds no verdict"),
        (["0,0,a,bright,dark,0.1,drop", "0,0,a,bright,dark,0.1,keep"], "line 3: sample 0 is judged in line 2 too"),
        (["0,0,a,bright,dark,drop"], "line 2: it has 6 fields, and the first line 7"),
    ],
)
def test_a_file_of_verdicts_is_read_alike_by_training_and_by_the_list_of_clean_labels(tmp_path, rows, said):
    pictures(tmp_path / "mine", np.random.default_rng(0))
    words = verdicts(tmp_path, rows)
    with pytest.raises(DataError, match=said):
        task(*FOLDER, *words, root=tmp_path)
    frame = pd.DataFrame({"index": [0], "name": ["a"], "given": [0]})
    samples = ranking.Samples(frame, np.ones((1, 2)), ("bright", "dark"))
    with pytest.raises(DataError, match=said):
        ranking.cleaned([samples], tmp_path / "said.csv")


def test_verdicts_on_a_file_of_the_same_last_name_in_another_folder_are_refused(tmp_path):
    content = b"index,file,given,suggested,verdict\n0,cam1/1.png,a,b,relabel\n"
    decided, _ = decisions(tmp_path / "v.csv", content, {0: "a"}, {0: "cam1/1.png"}, ("a", "b"))
    assert decided == {0: "b"}
    with pytest.raises(DataError, match=r"sample 0 is cam0/1\.png here; the verdicts are on another data set"):
        decisions(tmp_path / "v.csv", content, {0: "a"}, {0: "cam0/1.png"}, ("a", "b"))


def test_a_browser_saves_a_name_that_is_not_utf_8_with_its_own_sign(tmp_path):
    content = "index,file,given,suggested,verdict\n0,caf\ufffd.png,a,b,relabel\n".encode()
    decided, _ = decisions(tmp_path / "v.csv", content, {0: "a"}, {0: "caf\udce9.png"}, ("a", "b"))
    assert decided == {0: "b"}
    with pytest.raises(DataError, match="on another data set"):
        decisions(tmp_path / "v.csv", content, {0: "a"}, {0: "cafe.png"}, ("a", "b"))


def test_the_command_that_labels_prints_trains_one_run_of_an_experiment(tmp_path):
    done = run("labels", "out=mine.npy", "experiment=demo", "noise=pair", "rate=0.3", "seed=4", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout.splitlines()[-1].partition(" -m noisygce.train ")[2])
    assert len(plan_of(words).runs) == 1


def test_names_of_files_may_hold_any_sign_in_verdicts(tmp_path):
    header = "index,file,given,suggested,verdict"
    content = f'{header}\n0,"a\nb.png",x,y,drop\n1,"c\u2028d.png",x,y,keep\n'.encode()
    assert [(row.line, row.file) for row in read(tmp_path, content)] == [(3, "a\nb.png"), (4, "c\u2028d.png")]
    with pytest.raises(DataError, match="line 2: this is not CSV: field larger than field limit"):
        read(tmp_path, f"{header}\n0,{'a' * 200_000},x,y,drop\n".encode())


def test_semicolons_of_a_spreadsheet_are_named(tmp_path):
    (tmp_path / "said.csv").write_text("rank;index;file;given;suggested;verdict\n")
    with pytest.raises(DataError, match="parted by semicolons; save it with commas"):
        read(tmp_path / "said.csv", (tmp_path / "said.csv").read_bytes())


def test_verdicts_must_be_the_ones_that_were_meant(tmp_path):
    file, digest_ = verdicts(tmp_path, ["1,0,,0,9,0.1,drop"])
    with pytest.raises(DataError, match=digest_):
        task("data=digits", "noise=clean", file, root=tmp_path)
    ids = {
        runs.run_id(runs.identity(settings.resolved(settings.compose(["data=digits", *words]))))
        for words in ([], [file, digest_], [file, f"{digest_[:-1]}0"])
    }
    assert len(ids) == 3
    with pytest.raises(DataError, match=r"nowhere\.csv: there is no such file here"):
        task("data=digits", "data.verdicts=nowhere.csv", root=tmp_path)


def example(page):
    """Class and leaf of a page's worked example."""
    text = (ROOT / "docs" / page).read_text()
    return [text.split(f"```{language}\n")[1].split("```")[0] for language in ("python", "yaml")]


def test_the_worked_noise_of_the_docs_is_drawn(tmp_path):
    code, leaf = example("own_noise.md")
    (tmp_path / "my_noise.py").write_text(code)
    (tmp_path / "conf" / "noise").mkdir(parents=True)
    (tmp_path / "conf" / "noise" / "neighbour.yaml").write_text(leaf)
    done = run(
        *["train", "--config-dir", "conf", "data=digits", "noise=neighbour", "rate=0.3", "schedule.epochs=1"],
        "schedule.milestones=[]",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (manifest,) = (
        json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*-neighbour-0.3-*/manifest.json")
    )
    drawn = np.array(manifest["noise"]["transition"])
    one = np.eye(10)
    expected = 0.7 * one + 0.15 * (np.roll(one, 1, axis=1) + np.roll(one, -1, axis=1))
    assert ((drawn > 0) == (expected > 0)).all()
    assert abs(drawn - expected).max() < 0.12  # 150 images a class: three standard deviations


def test_the_worked_model_of_the_docs_trains(tmp_path):
    code, leaf = example("own_model.md")
    (tmp_path / "my_models.py").write_text(code)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "wide.yaml").write_text(leaf)
    words = ["data=digits", "model=wide", "noise=clean", "loss=ce", "schedule.epochs=8", "schedule.milestones=[]"]
    done = run("train", "--config-dir", "conf", *words, "schedule.lr=0.02", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (manifest,) = (json.loads(path.read_text()) for path in tmp_path.glob("results/runs/*-wide-*/manifest.json"))
    assert manifest["results"]["last"] > 0.7


def test_the_worked_example_of_the_docs_trains_and_enters_a_table(tmp_path):
    """docs/own_loss.md, its two files taken from the page itself."""
    code, leaf = example("own_loss.md")
    (tmp_path / "my_losses.py").write_text(code)
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "poly1.yaml").write_text(leaf)
    done = run(
        *["train", "--config-dir", "conf", "-m", "data=digits", "loss=ce,poly1", "schedule.epochs=2"],
        "schedule.milestones=[]",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = sorted(path.name.split("-")[4] for path in (tmp_path / "results" / "runs").iterdir())
    assert found == ["ce", "poly1"]
    command = shlex.split(done.stderr.partition("their table: python -m noisygce.")[2])
    assert command[:3] == ["table", "--config-dir", "conf"]
    told = run(*command, folder=tmp_path)
    assert "Complete: all 2 runs are done" in told.stdout, told.stderr
    refused = run("train", "--config-dir", "conf", "data=digits", "loss=poly1", "loss.e=-1", folder=tmp_path)
    assert refused.returncode == 2
    assert "loss.e=-1: loss.e must be a number in [0, 10]" in refused.stderr

    source = tmp_path / "my_losses.py"
    source.write_text(source.read_text().replace("-log_py +", "-2 * log_py +"))
    edited = run("train", "--config-dir", "conf", "data=digits", "loss=poly1", "schedule.epochs=1", folder=tmp_path)
    assert edited.returncode == 0
    source.write_text(code)
    first = run("train", "--config-dir", "conf", "data=digits", "loss=poly1", "schedule.epochs=1", folder=tmp_path)
    ids = [done.stdout.partition(":")[0] for done in (edited, first)]
    assert ids[0] != ids[1], "an edited loss is another run"
