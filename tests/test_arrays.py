"""Images as arrays, .npy and .npz; and a folder of class folders."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import noisygce
from noisygce import losses, runs, settings
from noisygce.check import Invalid
from noisygce.data import Arrays, Folder, ImageArrays, base
from noisygce.errors import ConfigError, DataError
from noisygce.runs.begin import training_of
from noisygce.training.images import Images

N, H, W = 12, 9, 8
LABELS = np.arange(N) % 3


def pictures(channels: int = 3, count: int = N) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, H, W, channels), dtype=np.uint8)


def load(folder: Path, layout: str | None = None, **arrays: Any) -> Arrays:
    """The data set of arrays that are saved as .npy files."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    keys = ("images", "labels", "test_images", "test_labels")
    return ImageArrays(*(f"{key}.npy" if key in arrays else None for key in keys), layout).load(folder)


@pytest.mark.parametrize(
    ("channels", "layout", "saved"),
    [
        (1, "NHW", lambda x: x[..., 0]),
        (1, "NHWC", lambda x: x),
        (3, "NHWC", lambda x: x),
        (3, "NCHW", lambda x: x.transpose(0, 3, 1, 2)),
        (1, "NCHW", lambda x: x.transpose(0, 3, 1, 2)),
    ],
)
def test_every_layout_gives_the_same_images_and_is_told(
    channels: int, layout: str, saved: Callable[[Any], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "noisygce"):
        found = load(tmp_path, images=saved(pictures(channels)), labels=LABELS)
    np.testing.assert_array_equal(found.train_images, pictures(channels))
    kind = "colour" if channels == 3 else "grey"
    assert caplog.messages == [f"images.npy: 12 images of 9 x 8 in {kind}, read as {layout}"]
    assert found.classes == ("0", "1", "2")
    assert found.train_labels.tolist() == LABELS.tolist()
    assert not found.truth


def test_a_shape_that_fits_both_layouts_needs_to_be_told_which(tmp_path: Path) -> None:
    both = np.zeros((N, 3, 8, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"shape \(12, 3, 8, 3\): either layout fits; data\.layout=NHWC or NCHW says"):
        load(tmp_path, images=both, labels=LABELS)
    assert load(tmp_path, "NHWC", images=both, labels=LABELS).train_images.shape == (N, 3, 8, 3)
    assert load(tmp_path, "NCHW", images=both, labels=LABELS).train_images.shape == (N, 8, 3, 3)


def test_labels_may_be_names_and_a_test_set_may_be_there(tmp_path: Path) -> None:
    names = np.array(["plum", "apple", "pear"])
    test = {"test_images": pictures(3, 2), "test_labels": names[[2, 0]]}
    found = load(tmp_path, images=pictures(), labels=names[LABELS], **test)
    assert found.classes == ("apple", "pear", "plum")
    assert found.train_labels[:3].tolist() == [2, 0, 1]
    assert found.test_labels.tolist() == [1, 2]
    assert found.test_images.shape == (2, H, W, 3)
    (tmp_path / "y.csv").write_text("label\n" + "\n".join(names[LABELS]))
    csv = ImageArrays("images.npy", "y.csv", None, None, None).load(tmp_path)
    assert csv.train_labels.tolist() == found.train_labels.tolist()


@pytest.mark.parametrize(
    "names",
    [
        ("images", "labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_an_npz_is_a_whole_data_set(names: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = (pictures(), LABELS[:, None], pictures(3, 3), LABELS[:3, None])  # labels (N, 1), as of MedMNIST
    np.savez(tmp_path / "all.npz", **dict(zip(names, parts, strict=True)), val_images=pictures(3, 1))
    found = ImageArrays("all.npz", None, None, None, None).load(tmp_path)
    assert (len(found.train_labels), len(found.test_labels)) == (N, 3)
    np.testing.assert_array_equal(found.test_images, parts[2])
    assert "all.npz: left out: val_images" in caplog.text


def npz(**arrays: Any) -> Callable[[Path], object]:
    def make(folder: Path) -> object:
        np.savez(folder / "all.npz", **arrays)
        return ImageArrays("all.npz", None, None, None, None).load(folder)

    return make


REFUSED: dict[str, Callable[[Path], object]] = {
    "must hold uint8 images .* it holds float64 .*save \\(255 \\* X\\)": lambda f: load(
        f, images=pictures() / 255, labels=LABELS
    ),
    "must hold uint8 images": lambda f: load(f, images=pictures()[0, 0], labels=LABELS),
    "C must be 1 or 3": lambda f: load(f, images=pictures(4), labels=LABELS),
    "must hold 12 labels, one for each sample": lambda f: load(f, images=pictures(), labels=LABELS[1:]),
    "there must be at least two classes": lambda f: load(f, images=pictures(), labels=0 * LABELS),
    "no training sample is labelled 5, 6, 7": lambda f: load(
        f, images=pictures(), labels=LABELS, test_images=pictures(), test_labels=LABELS + 5
    ),
    "test images are of 9 x 8 in grey, training images of 9 x 8 in colour": lambda f: load(
        f, images=pictures(), labels=LABELS, test_images=pictures(1), test_labels=LABELS
    ),
    "none of labels, train_labels, y_train is there for its labels": npz(images=pictures()),
    "all.npz is not an .npz file of arrays": lambda f: (
        np.save(f / "all.npy", pictures()),
        (f / "all.npy").rename(f / "all.npz"),
        ImageArrays("all.npz", None, None, None, None).load(f),
    ),
    "images and x_train may be its images": npz(images=pictures(), x_train=pictures(), labels=LABELS),
    "test images and test labels go together": npz(images=pictures(), labels=LABELS, x_test=pictures()),
    "there is no such file": lambda f: ImageArrays("nowhere.npy", "y.npy", None, None, None).load(f),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_arrays_that_cannot_be_meant_are_refused_in_one_line(reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason) as refused:
        REFUSED[reason](tmp_path)
    assert "\n" not in str(refused.value)


def test_values_that_do_not_go_together_are_refused() -> None:
    for key, values in {
        "images": (None, None, None, None, None),
        "labels": ("x.npy", None, None, None, None),
        "test_images": ("x.npy", "y.npy", None, "z.npy", None),
        "layout": ("x.npy", "y.npy", None, None, "HWCN"),
    }.items():
        with pytest.raises(Invalid, match=f"^{key}="):
            ImageArrays(*values)
    with pytest.raises(Invalid, match=r"labels=y\.npy: labels must be null where data.images is an \.npz"):
        ImageArrays("x.npz", "y.npy", None, None, None)


def test_a_mean_of_other_channels_is_refused() -> None:
    fed = settings.read(settings.compose(["data=arrays", "data.images=x.npz", "data.mean=[0.5,0.5]"])).preprocessing
    with pytest.raises(ConfigError, match=r"data\.mean=\[0\.5, 0\.5\]: must be a list of 3, one for each channel, or"):
        Images(pictures(), fed, pictures(), "cpu")


def test_the_id_is_of_the_contents_wherever_the_files_lie(tmp_path: Path) -> None:
    def id_of(folder: str, seed: int) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        np.savez(tmp_path / folder / "mine.npz", images=pictures(), labels=np.roll(LABELS, seed))
        cfg = settings.compose(["data=arrays", "data.images=mine.npz", f"paths.data={tmp_path / folder}"])
        return runs.run_id(runs.identity(settings.resolved(cfg)))

    assert id_of("a", 0) == id_of("b", 0)
    assert id_of("a", 0) != id_of("a", 1)


def test_a_run_trains_on_arrays_that_a_program_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.concatenate([np.full((40, 8, 8), 40, np.uint8), np.full((40, 8, 8), 200, np.uint8)])
    np.savez("mine.npz", images=images, labels=np.repeat(["dark", "light"], 40))
    small = {"schedule.epochs": 8, "schedule.milestones": [], "data.name": "shades", "model": "linear"}
    run = noisygce.run(data="arrays", loss="ce", **{"data.images": "mine.npz", **small})
    assert run.metrics["val_accuracy"].iloc[-1] == 1
    _, preprocess, classes = run.model()
    assert (preprocess.shape, classes) == ((8, 8, 1), ("dark", "light"))


def test_a_folder_of_class_folders_is_taken_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("apple", "pear"):
        (tmp_path / "fruit" / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(pictures()[i]).save(tmp_path / "fruit" / name / f"{i}.png")
    (tmp_path / "fruit" / "notes.txt").write_text("mine")
    data = Folder("fruit", 8, 3)
    found = data.load(tmp_path)
    assert found.classes == ("apple", "pear")
    assert found.train_names[:2] == ("apple/0.png", "apple/1.png")
    assert len(found.test_labels) == 0
    assert "files that are no pictures by their ending: 1" in caplog.text
    before = data.contents(tmp_path)
    (tmp_path / "fruit" / "pear" / "0.png").rename(tmp_path / "fruit" / "apple" / "9.png")
    assert data.contents(tmp_path) != before
    (tmp_path / "fruit" / "test").mkdir()  # then it is a data set that lacks its train
    with pytest.raises(DataError, match="has no pictures to train on"):
        data.load(tmp_path)


def test_without_known_labels_no_loss_receives_a_true_t_nor_is_an_estimate_of_t_compared_with_one(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "x.npy", pictures(1, 60))
    np.save(tmp_path / "y.npy", np.arange(60) % 3)

    def bound(*words: str) -> losses.Loss:
        own = ["data=arrays", "data.images=x.npy", "data.labels=y.npy", f"paths.data={tmp_path}", "model=convnet"]
        return training_of(settings.read(settings.compose([*own, *words])), "cpu").loss

    for loss in ("forward", "backward", "co_teaching", "co_teaching_plus", "jocor"):
        with pytest.raises(ConfigError, match="needs the true T, and which labels of this data set are wrong is not"):
            bound(f"loss={loss}")
    assert "error" not in bound("loss=volminnet").report()["transition_hat"]
    assert "error" in bound("loss=volminnet", "noise=uniform", "rate=0.2").report()["transition_hat"]
    for words in (["loss.forget_rate=0.2"], ["noise=uniform", "rate=0.2"]):
        loss = bound("loss=co_teaching", *words)
        loss.start_epoch(10)
        assert loss.state()["forgotten"].item() == pytest.approx(0.2)


def test_a_damaged_npz_is_refused_in_one_line_wherever_the_damage_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "all.npz"
    np.savez_compressed(path, images=rng.integers(0, 9, (40, 8, 8), dtype=np.uint8), labels=np.arange(40) % 2)
    whole = path.read_bytes()
    for at in range(100, len(whole) - 200, 150):
        path.write_bytes(whole[:at] + bytes(8) + whole[at + 8 :])
        with pytest.raises(DataError):
            ImageArrays("all.npz", None, None, None, None).load(tmp_path)


def test_the_size_of_an_npz_is_that_of_its_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "all.npz", images=np.zeros((1000, 8, 8), dtype=np.uint8), labels=np.arange(1000) % 2)
    monkeypatch.setattr(base, "memory_of_machine", lambda: 20_000.0)
    assert (tmp_path / "all.npz").stat().st_size < 20_000
    with pytest.raises(DataError, match=r"data\.images=all\.npz: the images take .* save smaller images"):
        ImageArrays("all.npz", None, None, None, None).contents(tmp_path)
