"""Label sets that authors have published, and files of labels as other code bases write them."""

import hashlib
import io
import json
import os
import pickle
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from noisygce import check, noise, settings
from noisygce.data import Cifar10
from noisygce.errors import ConfigError, DataError, MissingData
from noisygce.noise import digest, files, published
from noisygce.noise.from_file import FromFile
from noisygce.noise.published import SETS, LabelSet, Source

N, HELD_OUT = 200, 20
CIFAR10 = Cifar10.classes
LABELS = np.arange(N) % 10
NO_IMAGES = np.zeros((0, 1, 1, 1), dtype=np.uint8)
SOURCE = Source("owner/REPO", "0123abc")


def npy(labels):
    buffer = io.BytesIO()
    np.save(buffer, labels)
    return buffer.getvalue()


def table(noisy, clean=LABELS):
    return "\n".join(["label,label_noisy", *(f"{y},{z}" for y, z in zip(clean, noisy, strict=True)), ""]).encode()


NOISY = np.where(np.arange(N) < 50, (LABELS + 1) % 10, LABELS)  # a quarter of all is wrong
CONTENT = {"all.csv": table(NOISY), "first.npy": npy(NOISY[: N - HELD_OUT])}


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Two sets, called after their files, and the folder below which their files lie."""
    made_up = {
        name: LabelSet(SOURCE, f"labels/{name}", "cifar10", 0.25, hashlib.sha256(content).hexdigest())
        for name, content in CONTENT.items()
    }
    monkeypatch.setattr(published, "SETS", made_up)
    folder = tmp_path / "REPO" / "labels"
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


def drawn(root, name, labels=LABELS, classes=CIFAR10, rate=0.25):
    of = noise.Published(rate, name)
    of.bind(root, labels, classes)
    return of.draw(labels, NO_IMAGES, classes, 0)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("name", CONTENT)
def test_the_labels_are_those_of_the_file_and_true_where_it_has_none(tmp_path, name):
    assert np.array_equal(drawn(tmp_path, name), NOISY)
    assert noise.Published(0.25, name).files == (f"REPO/labels/{name}",)


@pytest.mark.parametrize("name", CONTENT)
def test_a_changed_file_is_refused_with_both_digests(made, tmp_path, name):
    content = bytearray(CONTENT[name])
    content[-2] ^= 1
    (made / name).write_bytes(content)
    with pytest.raises(DataError, match="is damaged or another file") as refused:
        drawn(tmp_path, name)
    digests = (hashlib.sha256(each).hexdigest() for each in (content, CONTENT[name]))
    for part in (*digests, f"owner/REPO/0123abc/labels/{name}"):
        assert part in str(refused.value)


@pytest.mark.usefixtures("made")
def test_labels_of_another_data_set_or_in_another_order_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not fit the data set"):
        drawn(tmp_path, "all.csv", labels=LABELS[::-1].copy())
    with pytest.raises(DataError, match=r"it changes 0\.2500 of the labels of data=cifar10, and 0\.9"):
        drawn(tmp_path, "first.npy", labels=(LABELS + 3) % 10)
    with pytest.raises(DataError, match="does not fit the data set"):
        drawn(tmp_path, "first.npy", labels=LABELS[:100])


@pytest.mark.usefixtures("made")
def test_only_the_rate_of_the_set_is_taken(tmp_path):
    with pytest.raises(
        check.Invalid, match=r"rate=0\.4: rate must be left out, or the 0\.2500 that noise\.set=all\.csv has"
    ):
        drawn(tmp_path, "all.csv", rate=0.4)


def test_a_missing_file_is_fetched_once_and_verified(made, tmp_path, monkeypatch):
    served = tmp_path / "served"
    (served / "owner/REPO/0123abc/labels").mkdir(parents=True)
    (served / "owner/REPO/0123abc/labels/all.csv").write_bytes(CONTENT["all.csv"])
    (served / "owner/REPO/0123abc/labels/first.npy").write_bytes(b"a page that says 404")
    monkeypatch.setattr(published, "HOST", served.as_uri())
    for name in CONTENT:
        (made / name).unlink()
    assert np.array_equal(drawn(tmp_path, "all.csv"), NOISY)
    assert (made / "all.csv").read_bytes() == CONTENT["all.csv"]
    (made / "plain").touch()
    assert (made / "all.csv").stat().st_mode == (made / "plain").stat().st_mode  # a group may share the data folder
    (made / "plain").unlink()
    with pytest.raises(MissingData, match="could not be fetched") as refused:
        drawn(tmp_path, "first.npy")
    assert len(str(refused.value).splitlines()) == 1
    assert os.listdir(made) == ["all.csv"]  # nothing that is not the file


def test_where_it_cannot_be_reached_one_line_says_what_to_put_where(made, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    (made / "all.csv").unlink()
    with pytest.raises(MissingData) as refused:
        drawn(tmp_path, "all.csv")
    said = str(refused.value)
    assert len(said.splitlines()) == 1
    assert str(made / "all.csv") in said
    assert "put https://raw.githubusercontent.com/owner/REPO/0123abc/labels/all.csv there" in said
    assert "clone https://github.com/owner/REPO into the data folder" in said


def test_every_set_has_its_rate_in_the_leaf_and_its_row_on_the_page():
    page = (settings.config_dir().parent / "docs" / "noise.md").read_text()
    rows = {found[1]: found[0] for found in re.finditer(r"^\| `(cifar[^`]*)` \|.*$", page, re.MULTILINE)}
    assert {*rows} == {*SETS}
    for name, known in SETS.items():
        e = settings.read(settings.compose([f"data={known.data}", "noise=published", f"noise.set={name}"]))
        assert (e.noise.rate, e.noise.set) == (known.rate, name)
        assert f"| {known.rate:.4f} |" in rows[name]
        assert f"`{known.sha256}`" in rows[name]
    chosen = [
        settings.read(settings.compose([f"data={data}", "noise=published"])).noise.set
        for data in ("cifar10", "cifar100")
    ]
    assert [SETS[name].data for name in chosen] == ["cifar10", "cifar100"]


@pytest.mark.parametrize(
    "words", ["data=digits noise=published", "data=cifar100 noise=published noise.set=cifar10-idn-0.1"]
)
def test_a_set_of_another_data_set_is_refused_before_anything_is_read(words):
    with pytest.raises(ConfigError, match="these are labels for data=cifar10; take another noise"):
        settings.read(settings.compose(words.split()))


@pytest.mark.real_data
@pytest.mark.parametrize("name", SETS)
def test_the_authors_file_has_the_rate_of_its_set(official, name):
    root = Path(os.environ.get("NOISYGCE_DATA", "data"))
    if not (root / SETS[name].path).is_file():
        pytest.skip(f"NOISYGCE_DATA has no {SETS[name].path}")
    _, arrays = official(SETS[name].data)
    found = drawn(root, name, arrays.train_labels, arrays.classes, SETS[name].rate)
    share = np.mean(found != arrays.train_labels)
    assert share == pytest.approx(SETS[name].rate, abs=5.1e-5)
    held_out = found[45_000:] == arrays.train_labels[45_000:]
    assert held_out.all() == ("pmd" in name)


# --- files of one's own -----------------------------------------------------------------------------------------------


def files_of(folder):
    """One file of each kind, with the name that its labels have."""
    (folder / "a.json").write_text(json.dumps(NOISY.tolist()))  # DivideMix, ELR+
    (folder / "named.json").write_text(json.dumps({"clean": LABELS.tolist(), "noisy": NOISY.tolist()}))
    (folder / "a.txt").write_text("\n".join(map(str, NOISY)) + "\n")
    (folder / "a.npy").write_bytes(npy(NOISY.astype(np.int32)))
    (folder / "a.csv").write_bytes(table(NOISY))  # IDN
    torch.save({"clean_label": LABELS, "worse_label": NOISY}, folder / "a.pt")  # CIFAR-N
    return {
        "a.json": None,
        "named.json": "noisy",
        "a.txt": None,
        "a.npy": None,
        "a.csv": "label_noisy",
        "a.pt": "worse_label",
    }


def test_files_of_other_code_bases_hold_the_same_labels(tmp_path):
    for name, key in files_of(tmp_path).items():
        of = FromFile(0.25, name, digest(NOISY), key=key)
        of.bind(tmp_path, LABELS, CIFAR10)
        found = of.draw(LABELS, NO_IMAGES, CIFAR10, 0)
        assert found.dtype == np.int64
        assert np.array_equal(found, NOISY), name


@pytest.mark.parametrize("column", ["file", "File ", "id"])
def test_lines_of_a_csv_are_joined_on_the_names_of_samples(tmp_path, column):
    names = [f"{i}.png" for i in range(N)]
    lines = [f"{name},{y}" for name, y in zip(names, NOISY, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join([f"{column},noisy", *lines[::-1]]))
    of = FromFile(0.25, "a.csv", digest(NOISY), key="noisy")
    of.sample_names = names
    of.bind(tmp_path, LABELS, CIFAR10)
    assert np.array_equal(of.draw(LABELS, NO_IMAGES, CIFAR10, 0), NOISY)
    for changed, says in (
        (lines[1:], r"a\.csv has no line for 1 of \d+ samples, (?i:id|file) 0\.png first"),
        ([*lines, lines[3]], rf"line {N + 2}: {column.strip()} 3\.png is in line 5 too"),
        (["other.png,1", *lines[1:]], r"line 2: .* 'other\.png' is the name of no sample; the first is 0\.png"),
    ):
        (tmp_path / "a.csv").write_text("\n".join([f"{column},noisy", *changed]))
        with pytest.raises(DataError, match=says):
            of.bind(tmp_path, LABELS, CIFAR10)


@pytest.mark.parametrize(
    ("lines", "labels"),
    [
        ("id,noisy\n3,0\n1,1\n0,2\n2,1", [0, 1, 2, 1]),  # ids that are numbers, in the order of the samples
        ("id,noisy\n0,2\n1,1\n2,1\n3,0", [0, 1, 2, 1]),
        ("id,file,noisy\n0,2,2\n1,0,1\n2,1,1\n3,3,0", [0, 1, 1, 2]),  # file comes first
    ],
)
def test_ids_that_are_numbers_are_names(tmp_path, lines, labels):
    (tmp_path / "a.csv").write_text(lines)
    assert files.labels(tmp_path / "a.csv", "noisy", ("3", "1", "0", "2")).tolist() == labels


@pytest.mark.parametrize("lines", ["id,noisy\n0,2\n1,1\n2,1\n3,0", "id, noisy\n1,2\n2,1\n3,1\n4,0"])
def test_an_id_that_counts_the_lines_joins_nothing(tmp_path, lines):
    (tmp_path / "a.csv").write_text(lines)
    assert files.labels(tmp_path / "a.csv", "noisy", ("a.png", "b.png", "c.png", "d.png")).tolist() == [2, 1, 1, 0]


def test_labels_by_name_are_asked_for_by_name_and_others_have_none(tmp_path):
    for name, key in files_of(tmp_path).items():
        if key:
            for wrong in (None, "typo"):
                with pytest.raises(DataError, match=f"noise.key={wrong or 'null'}: .*must be one of .*{key}"):
                    files.labels(tmp_path / name, wrong)
        else:
            with pytest.raises(DataError, match=r"noise.key=noisy: .* holds one list of labels; leave noise.key out"):
                files.labels(tmp_path / name, "noisy")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"[1, 2", "is not a JSON list of integers, or several by name: "),
        ("a.json", b"7", "it holds a int"),
        ("a.json", b"[[1, 2], [3]]", "is not a JSON list"),
        ("a.json", b"[1.0, 2.0]", "it holds float64 of shape"),
        ("a.json", b"[true, false]", "it holds bool of shape"),
        ("a.txt", b"1\nhorse\n", "is not text with an integer a line: .*'horse'"),
        ("a.txt", b"\xff", "is not text with an integer a line"),
        ("a.csv", b"", "is not a CSV with a header"),
        ("a.csv", b"a,b\n1,2\n3\n", r"a\.csv, line 3: it has 1 fields, and the first line 2"),
        ("a.csv", b"file,noisy\na,1\nb,3.0\n", r"a\.csv, line 3: its column noisy holds '3.0'"),
        ("a.csv", b"3\n1\n", "its first line must name the columns"),
        ("a.csv", b"a;b\n1;2\n", "its columns are parted by semicolons; save it with commas"),
        ("a.csv", b"a,b\n1,2\n\n3,4\n", r"a\.csv, line 3 is blank"),
        ("a.csv", b"index,noisy\n1,0\n0,1\n", "its column index has the images in another order; sort the lines by it"),
        ("a.csv", b"idx,noisy\n2,0\n1,1\n3,1\n", "its column idx has the images in another order; sort"),
        (
            "a.csv",
            b"index,noisy\n0,cat\n1,dog\n",
            r"a\.csv, line 2: its column noisy holds 'cat'; labels are the numbers of the classes",
        ),
        ("a.pt", b"no archive", "is not a dictionary of arrays of torch.save"),
        ("a.npy", b"", "is not an npy file of numbers: "),
    ],
)
def test_what_cannot_be_read_as_meant_is_refused_in_one_line(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    of = FromFile(0.25, name, None, key="noisy" if name == "a.csv" else None)
    with pytest.raises(DataError, match=says) as refused:
        of.bind(tmp_path, LABELS, CIFAR10)
    assert len(str(refused.value).splitlines()) == 1


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_nothing_that_a_file_of_torch_asks_for_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"worse_label": Evil()}, "a.pt")
    with pytest.raises(DataError, match=r"it asks for (posix|nt)\.mkdir"):
        files.labels(tmp_path / "a.pt", "worse_label")
    assert not (tmp_path / "evil").exists()
    (tmp_path / "a.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="is not an npy file of numbers"):
        files.labels(tmp_path / "a.npy", None)


def test_a_key_of_null_leaves_the_id_of_a_run_as_it_was():
    from noisygce import runs

    words = ["data=digits", "noise=file", "noise.file=a.npy", f"noise.sha256={'0' * 64}"]
    cfg = settings.resolved(settings.compose(words))
    assert "key" not in runs.identity(cfg)["noise"]
    assert runs.identity(settings.resolved(settings.compose([*words, "noise.key=y"])))["noise"]["key"] == "y"
