import gzip
import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

import noisygce.data.published
from noisygce import settings
from noisygce.data import Arrays, Cifar10, Cifar100, Data, Digits, FashionMnist, Published, Split, Verdicts
from noisygce.data.split import shuffled, stratified
from noisygce.errors import ConfigError, DataError, UserCodeError
from noisygce.noise import Uniform
from noisygce.training.task import prepare

OFFICIAL = {
    "cifar10": (Cifar10, 32, 3, 10),
    "cifar100": (Cifar100, 32, 3, 100),
    "fashion_mnist": (FashionMnist, 28, 1, 10),
}


def leaf(*overrides):
    return settings.read(settings.compose(list(overrides))).data


def task_of(*overrides):
    e = settings.read(settings.compose(["data=digits", *overrides]))
    return prepare(e.data, e.split, e.verdicts, e.noise, e.seed, e.paths.data)


@pytest.fixture
def offline(monkeypatch):
    """No test fetches anything."""

    def refuse(*_args, **_kwargs):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def held_out(samples, seed, validation=5_000, folds=None, fold=None):
    return Split(None, validation, folds, fold)(np.zeros(samples, dtype=int), np.zeros(0, dtype=int), seed)[:2]


@pytest.mark.parametrize(
    ("samples", "validation", "sizes"),
    [(50_000, 5_000, (45_000, 5_000)), (10, 3, (7, 3)), (300, 0.1, (270, 30)), (4, 0.1, (3, 1))],
)
def test_split_is_a_partition_of_the_right_sizes(samples, validation, sizes):
    train, held = held_out(samples, 0, validation)
    assert (len(train), len(held)) == sizes
    assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(samples))


@pytest.mark.parametrize(("samples", "folds"), [(1500, 5), (11, 3), (4, 4)])
def test_folds_hold_out_each_sample_once(samples, folds):
    parts = [held_out(samples, 1, 1, folds, fold) for fold in range(folds)]
    assert sorted(np.concatenate([held for _, held in parts]).tolist()) == list(range(samples))
    assert {len(held) for _, held in parts} <= {samples // folds, samples // folds + 1}
    for train, held in parts:
        assert sorted([*train, *held]) == list(range(samples))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.folds=5"], r"data\.fold=null: data\.fold must be an integer in \[0, 4\]"),
        (["data.folds=5", "data.fold=5"], r"integer in \[0, 4\]"),
        (["data.fold=1"], "null where data.folds=null"),
        (["data.folds=1", "data.fold=0"], r"data\.folds=1: data\.folds must be an integer in \[2, 1500\]"),
        (["data.validation=1.5"], "data.validation must be an integer"),
    ],
)
def test_folds_that_cannot_be_are_refused(overrides, said):
    with pytest.raises(ConfigError, match=said):
        leaf("data=digits", *overrides)


def test_split_depends_on_the_seed_and_is_random():
    held = {seed: set(held_out(50_000, seed)[1].tolist()) for seed in (0, 1)}
    assert held[0] == set(held_out(50_000, 0)[1].tolist())
    # Two random tenths share a hundredth of all: 500, sigma about 20.
    assert 400 < len(held[0] & held[1]) < 600
    # Each tenth of the file gives about a tenth: 500, sigma about 20.
    assert all(400 < n < 600 for n in np.histogram(list(held[0]), bins=10, range=(0, 50_000))[0])


def test_split_of_a_seed_is_the_same_for_ever():
    assert np.array_equal(held_out(50_000, 0)[1], shuffled(50_000, 0)[45_000:])
    digest = hashlib.sha256(held_out(50_000, 0)[1].astype("<i8").tobytes()).hexdigest()
    assert digest == "c409e10ea87d9c78e87e27e868ab13912ec7b1bfa4f6f1e0b9c24dea6e1c2f15"


def test_noisy_labels_do_not_depend_on_split_subset_loss_or_model():
    changes = [], ["data.subset=100"], ["data.validation=300"], ["loss=tgce"], ["model.width=3"]
    labels = [task_of(*overrides).noisy for overrides in changes]
    assert all(np.array_equal(labels[0], other) for other in labels)


def test_a_share_that_leaves_nothing_to_train_on_is_refused_by_its_name():
    with pytest.raises(
        ConfigError, match=r"data\.validation=0\.9999: data\.validation must be a share that leaves some"
    ):
        settings.read(settings.compose(["data=digits", "data.validation=0.9999"]))
    with pytest.raises(DataError, match=r"data\.validation=0\.9: there are 4 training samples in all"):
        held_out(4, 0, 0.9)


def test_validation_labels_are_noisy_and_test_labels_clean():
    task = task_of("rate=0.6")
    changed = task.noisy != task.clean
    assert changed[task.train].mean() == pytest.approx(0.6, abs=0.06)
    assert changed[task.validation].mean() == pytest.approx(0.6, abs=0.16)  # 4 sigma of 150
    assert np.array_equal(task.arrays.test_labels, leaf("data=digits").load(Path()).test_labels)
    assert len(task.test) == 297


def test_stratified_is_nested_and_in_proportion_to_within_one():
    generator = np.random.default_rng(0)
    labels = generator.choice(3, size=600, p=[0.5, 0.3, 0.2])
    indices = generator.permutation(600)[:500]
    whole = np.bincount(labels[indices])
    before: set[int] = set()
    for size in (1, 2, 10, 37, 100, 250, 499, 500):
        chosen = stratified(indices, labels, size)
        assert len(set(chosen.tolist())) == size
        assert before <= set(chosen.tolist()) <= set(indices.tolist())
        assert (abs(np.bincount(labels[chosen], minlength=3) - size * whole / 500) <= 1).all()
        before = set(chosen.tolist())


def test_a_subset_cuts_training_validation_and_test_in_proportion():
    task, whole = task_of("data.subset=270"), task_of()
    # A fifth of 1,350, of 150, and of 297.
    assert (len(task.train), len(task.validation), len(task.test)) == (270, 30, 59)
    assert set(task.train) <= set(whole.train)
    assert set(task.validation) <= set(whole.validation)
    counts = np.bincount(task.clean[task.train])
    assert abs(counts - np.bincount(whole.clean[whole.train]) / 5).max() <= 1


def test_digits_are_those_of_the_package_and_their_writers_are_kept_apart():
    data = leaf("data=digits")
    arrays = data.load(Path())
    assert arrays.train_images.shape == (1500, 8, 8, 1)
    assert arrays.test_images.shape == (297, 8, 8, 1)
    assert arrays.train_images.dtype == np.uint8
    assert (arrays.train_images.min(), arrays.train_images.max()) == (0, 255)
    assert np.bincount(arrays.train_labels).min() >= 145
    packed = Path(noisygce.data.__file__).parent / "digits.csv.gz"
    # The last row of the file is the last test image: pixels 0..16, then the label.
    last = [float(x) for x in gzip.decompress(packed.read_bytes()).decode().split()[-1].split(",")]
    assert arrays.test_labels[-1] == last[-1]
    np.testing.assert_allclose(arrays.test_images[-1].ravel(), np.array(last[:-1]) * 255 / 16, atol=0.5)


def test_damaged_digits_are_refused_with_both_hashes(monkeypatch):
    monkeypatch.setattr(Digits, "sha256", "0" * 64)
    monkeypatch.setattr(Data, "_kept", (None, None))
    with pytest.raises(
        DataError, match=f"09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22, not {'0' * 64}"
    ):
        leaf("data=digits").load(Path())


def test_mean_and_std_of_the_digits_leaf_are_those_of_its_training_images():
    e = settings.read(settings.compose(["data=digits"]))
    values = e.data.load(Path()).train_images / 255
    assert e.preprocessing.mean == pytest.approx([values.mean()], abs=5.1e-5)
    assert e.preprocessing.std == pytest.approx([values.std()], abs=5.1e-5)


def test_tables_of_md5_are_torchvision_s():
    for ours, theirs in ((Cifar10, CIFAR10), (Cifar100, CIFAR100)):
        table = dict([*theirs.train_list, *theirs.test_list, (theirs.meta["filename"], theirs.meta["md5"])])
        assert ours.files == {f"{theirs.base_folder}/{name}": md5 for name, md5 in table.items()}
    # torchvision's sums for Fashion-MNIST are of the packed files: only the names can be compared.
    names = {name.removesuffix(".gz") for name, _ in FashionMNIST.resources}
    assert set(FashionMnist.files) == {f"FashionMNIST/raw/{name}" for name in names}


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.usefixtures("offline")
def test_missing_files_without_a_network_are_named_at_once(name, tmp_path):
    cls = OFFICIAL[name][0]
    with pytest.raises(DataError) as caught:
        leaf(f"data={name}").load(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in (cls.__name__, str(tmp_path), "paths.data=", "NOISYGCE_DATA", *cls.files))


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {"one bit": flip, "cut": lambda content: content[:-1], "longer": lambda content: content + b"\0"}
DAMAGE["empty"] = lambda _: b""


def refused(data, root, file, content):
    """That a file with this content is refused in one line, with its path and both sums."""
    published = type(data).files[file]
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    with pytest.raises(DataError) as caught:
        data.load(root)
    message = str(caught.value)
    assert message.startswith(f"{root / file} is damaged or another file: its MD5 is {found}, the published one ")
    assert published in message
    assert "delete it and start again to fetch it" in message
    assert "\n" not in message


DOT, LABEL = np.zeros((1, 1, 1, 1), dtype=np.uint8), np.zeros(1, dtype=int)
NOTHING = Arrays(DOT, LABEL, DOT, LABEL, ("no", "thing"))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Small files in place of the published ones, with sums of their own; reading them comes to nothing."""

    def make(name):
        cls = OFFICIAL[name][0]
        content = {file: f"{name} {file}".encode() * 20 for file in cls.files}
        for file, text in content.items():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_bytes(text)
        monkeypatch.setattr(cls, "files", {file: hashlib.md5(text).hexdigest() for file, text in content.items()})
        monkeypatch.setattr(cls, "_arrays", lambda *_: NOTHING)
        return leaf(f"data={name}")

    return make


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", OFFICIAL)
def test_damage_to_any_file_is_refused_with_both_sums(stand_in, tmp_path, name, how):
    data = stand_in(name)
    for file in data.files:
        whole = (tmp_path / file).read_bytes()
        assert data.load(tmp_path).classes == NOTHING.classes
        damaged = DAMAGE[how](whole)
        (tmp_path / file).write_bytes(damaged)
        refused(data, tmp_path, file, damaged)
        (tmp_path / file).write_bytes(whole)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", OFFICIAL)
def test_any_one_missing_file_is_named_alone(stand_in, tmp_path, name):
    data = stand_in(name)
    for file in data.files:
        whole = (tmp_path / file).read_bytes()
        (tmp_path / file).unlink()
        with pytest.raises(DataError, match="could not be fetched") as caught:
            data.load(tmp_path)
        assert str(caught.value).endswith(f" or NOISYGCE_DATA: {file}")
        (tmp_path / file).write_bytes(whole)
        noisygce.data.published._failed.clear()


def test_a_fetch_that_failed_is_not_tried_again_at_once_and_is_later(tmp_path, monkeypatch):
    data, tried = leaf("data=cifar100"), []
    (tmp_path / "elsewhere").mkdir()

    def fetch(_self, root):
        tried.append(root)
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(Cifar100, "_fetch", fetch)
    said = []
    for root in (tmp_path, tmp_path, tmp_path / "elsewhere"):
        with pytest.raises(DataError) as caught:
            data.require(root)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert tried == [tmp_path, tmp_path / "elsewhere"]
    monkeypatch.setattr(noisygce.data.published, "_RETRY", 0.0)
    with pytest.raises(DataError):
        data.require(tmp_path)
    assert len(tried) == 3


@pytest.mark.real_data
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files_have_the_published_shape(official, name):
    data, arrays = official(name)
    _, side, channels, classes = OFFICIAL[name]
    n = data.full
    assert arrays.train_images.shape == (n, side, side, channels)
    assert arrays.test_images.shape == (10_000, side, side, channels)
    assert arrays.train_images.dtype == arrays.test_images.dtype == np.uint8
    assert arrays.train_labels.dtype == arrays.test_labels.dtype == np.int64
    assert len(arrays.classes) == classes
    assert np.bincount(arrays.train_labels).tolist() == [n // classes] * classes
    assert np.bincount(arrays.test_labels).tolist() == [10_000 // classes] * classes


@pytest.mark.real_data
@pytest.mark.parametrize("name", OFFICIAL)
def test_mean_and_std_of_a_leaf_are_those_of_the_official_training_images(official, name):
    _, arrays = official(name)
    fed = settings.read(settings.compose([f"data={name}"])).preprocessing
    counts = [np.bincount(arrays.train_images[..., c].ravel(), minlength=256) for c in range(len(fed.mean))]
    values = np.arange(256) / 255
    mean = [np.average(values, weights=n) for n in counts]
    std = [np.average((values - m) ** 2, weights=n) ** 0.5 for m, n in zip(mean, counts, strict=True)]
    assert fed.mean == pytest.approx(mean, abs=5.1e-5)  # four digits, rounded
    assert fed.std == pytest.approx(std, abs=5.1e-5)


@pytest.mark.real_data
def test_published_split_of_cifar10(official):
    data, arrays = official("cifar10")
    task = prepare(
        data,
        Split(None, 5_000, None, None),
        Verdicts(None, None),
        Uniform(0.4, None, False, False),
        0,
        Path(os.environ["NOISYGCE_DATA"]),
    )
    assert (len(task.train), len(task.validation), len(task.test)) == (45_000, 5_000, 10_000)
    assert np.array_equal(task.clean, arrays.train_labels)


class TwoFiles(Published):
    """As small as a data set with files can be."""

    files = {name: hashlib.md5(name.encode()).hexdigest() for name in ("one", "two")}

    def __init__(self, value=0):
        self.value = value

    def _arrays(self, content):
        letters = np.array([list(part) for part in content.values()], dtype=np.uint8)
        images, labels = letters[:, None, None], np.array([0, 1], dtype=np.uint8)
        return Arrays(images, labels, images, 1 - labels, ("a", "b"))


def test_a_data_set_is_read_once_for_the_runs_of_a_sweep_and_again_when_a_file_changes(tmp_path):
    for name in TwoFiles.files:
        (tmp_path / name).write_text(name)
    data = TwoFiles()
    first = data.load(tmp_path)
    assert first.train_images[0].tolist() == [[[ord(letter) for letter in "one"]]]
    assert first.train_labels.dtype == np.int64
    assert data.load(tmp_path).train_images is first.train_images
    first.train_labels[:] = 0
    assert data.load(tmp_path).train_labels.tolist() == [0, 1]  # labels are the caller's own
    assert TwoFiles(1).load(tmp_path).train_images is not first.train_images  # whose values may shape what is read
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in TwoFiles.files:
        (other / name).write_text(name)
    assert data.load(other).train_images is not first.train_images
    (other / "two").write_text("owt")
    with pytest.raises(DataError, match="two is damaged"):
        data.load(other)
    assert np.array_equal(data.load(tmp_path).train_images, first.train_images)


X, Y = np.zeros((4, 2, 2, 1), dtype=np.uint8), np.array([0, 1, 2, 0])
MADE = {"train_images": X, "train_labels": Y, "test_images": X[:2], "test_labels": Y[:2], "classes": ("a", "b", "c")}


class Own(Data):
    """A data set of one's own: the arrays of ``MADE``, some of them replaced."""

    def __init__(self, **made):
        self.made = made

    def _read(self, root):
        return Arrays(**MADE | self.made)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"train_images": X[..., 0]}, r"train_images must be an array \(N, H, W, C\) .*, not uint8 \(4, 2, 2\)"),
        ({"train_images": X.astype(np.int64)}, "train_images must be .* not int64"),
        ({"train_images": X.astype(bool)}, "train_images must be .* not bool"),
        ({"train_images": [0] * 4}, "train_images must be .* not list"),
        ({"train_images": np.full(X.shape, np.nan)}, "train_images must be finite"),
        ({"train_labels": Y[:3]}, r"train_labels must be an array of 4 integers, .* not int64 \(3,\)"),
        ({"train_labels": Y.astype(float)}, "train_labels must be .* not float64"),
        ({"train_labels": Y > 0}, "train_labels must be .* not bool"),
        ({"train_labels": Y.tolist()}, "train_labels must be .* not list"),
        ({"train_labels": Y + 1}, r"train_labels must be in 0\.\.2, .* go from 1 to 3"),
        ({"test_labels": Y[:2] - 1}, r"test_labels must be in 0\.\.2, .* go from -1 to 0"),
        ({"test_labels": Y[:1]}, "test_labels must be an array of 2 integers"),
        ({"test_images": X[:2, 1:]}, r"test_images must be of the size and kind .* not uint8 \(2, 1, 2, 1\)"),
        (
            {"test_images": X[:2] / 1.0},
            r"test_images of floats must be vectors \(N, 1, 1, D\), not float64 \(2, 2, 2, 1\)",
        ),
        (
            {"train_images": X.reshape(4, 1, 1, 4), "test_images": X[:2].reshape(2, 1, 1, 4) / 1.0},
            r"test_images must be of the size and kind .* not float64",
        ),
        ({"train_names": ("one",)}, "train_names must be none or 4, one for each image, not 1"),
        ({"classes": ("a", "b", "a")}, "classes must be at least two different names"),
        ({"classes": (0, 1, 2)}, "classes must be a tuple of texts"),
        ({"classes": ("a",)}, "classes must be at least two different names"),
        ({"classes": None}, "classes must be a tuple of texts, not NoneType"),
        ({"train_names": np.array(["a"] * 4)}, "train_names must be a tuple of texts, not <U1"),
        ({"train_images": np.full(X.shape, 1e300)}, "train_images must be finite numbers in float32"),
        ({"train_images": X[:0], "train_labels": Y[:0]}, "there is no training image"),
    ],
)
def test_what_an_own_data_set_gives_is_refused_where_no_run_could_be_trained_or_judged_by_it(made, says, tmp_path):
    with pytest.raises(UserCodeError, match=rf"test_data\.py:\d+: Own: {says}"):
        Own(**made).load(tmp_path)


def test_a_data_set_without_a_reader_is_named(tmp_path):
    class Bare(Data):
        pass

    with pytest.raises(UserCodeError, match=r"Bare has no _read\(root\)"):
        Bare().load(tmp_path)


def test_a_reader_that_gives_no_arrays_is_named(tmp_path):
    class Nothing(Data):
        def _read(self, root):
            return None

    with pytest.raises(UserCodeError, match=r"Nothing: _read must give noisygce\.data\.Arrays, not NoneType"):
        Nothing().load(tmp_path)


def test_an_own_data_set_may_have_labels_of_any_integer_type_and_no_test_images(tmp_path):
    found = Own(train_labels=Y.astype(np.int8), test_images=np.zeros((0, 2, 2, 1)), test_labels=Y[:0]).load(tmp_path)
    assert found.train_labels.dtype == np.int64
    assert found.train_labels.tolist() == Y.tolist()
    assert not len(found.test_labels)
