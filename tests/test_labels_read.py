"""Labels and pictures that people bring: each label goes to its own sample, or a line says what to do."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from helpers_reliability import one_line, train
from PIL import Image

from noisygce import runs, settings
from noisygce.data import label_table, listing, remarks
from noisygce.data.base import Arrays
from noisygce.data.own_files import labels_of
from noisygce.errors import ConfigError, DataError
from noisygce.training.task import Task, prepare

NAMES = ["ant", "bee", "cat", "bee", "ant", "cat"]


def task(*overrides: str, root: Path) -> Task:
    e = settings.read(settings.compose([*overrides, "noise=clean"]))
    return prepare(e.data, e.split, e.verdicts, e.noise, e.seed, root)


@pytest.fixture
def meant(tmp_path: Path):
    """Whether the lines of a labels.csv give each of six vectors the label that is meant; further words as settings."""
    np.save(tmp_path / "X.npy", np.random.default_rng(0).normal(size=(6, 3)))

    def read(lines: list[str], *words: str) -> bool:
        (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
        found = task(
            *("data=features", "data.features=X.npy", "data.labels=labels.csv", *words),
            root=tmp_path,
        ).arrays
        return [found.classes[y] for y in found.train_labels] == NAMES

    return read


@pytest.mark.parametrize("header", ["label", "Labels", "id,class", "x,TARGET ", "text,y", "file,species", "id,species"])
def test_a_first_line_that_names_columns_is_no_sample(header: str, meant) -> None:
    first = "1," if "," in header else ""
    assert meant([header, *(first + name for name in NAMES)])
    with pytest.raises(DataError, match=r"labels\.csv has 5 lines below its header .*; there are 6 samples"):
        meant([header, *(first + name for name in NAMES[:-1])])


def test_a_first_line_is_a_header_where_it_alone_is_no_integer(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.eye(3))
    (tmp_path / "y.csv").write_text("species\n2\n-1\n2\n")
    words = ("data=features", "data.features=X.npy", "data.labels=y.csv", "data.validation=1")
    assert task(*words, root=tmp_path).arrays.train_labels.tolist() == [1, 0, 1]
    (tmp_path / "y.csv").write_text("2\n-1\n2\n")
    assert task(*words, root=tmp_path).arrays.train_labels.tolist() == [1, 0, 1]


def test_no_line_is_taken_for_a_header_because_there_is_one_too_many(meant) -> None:
    assert meant(NAMES)
    with pytest.raises(DataError, match=r"labels\.csv has 7 lines and no header .*; there are 6 samples"):
        meant([*NAMES, "ant"])
    with pytest.raises(DataError, match="7 lines and no header"):
        meant(["species", *NAMES])


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["label", *NAMES[:3], "", *NAMES[4:]], r"labels\.csv, line 5 is blank"),
        ([*NAMES[:3], "  ", *NAMES[4:]], r"labels\.csv, line 4 is blank"),
        (["id,label", *(f"{i},{name}" for i, name in enumerate([*NAMES[:5], " "]))], "line 7: its label is empty"),
        ([f"{i};{name}" for i, name in enumerate(NAMES)], "parted by semicolons; save it with commas"),
        ([f"{i}\t{name}" for i, name in enumerate(NAMES)], "parted by tabs; save it with commas"),
        ([*NAMES[:5], "cat,dog"], "line 6: it has 2 fields, and the first line 1"),
        ([*NAMES[:5], '"cat'], "line 6: this is not CSV"),
        (["label,text", *(f"{name},x{i}" for i, name in enumerate(NAMES))], "labels are the last column"),
        (["index,label", "0,ant", "1,bee", "2,cat", "3,bee", "4,ant", "4,cat"], "line 7: index 4 is in line 6 too"),
        (["index,label", *(f"{i + 1},{name}" for i, name in enumerate(NAMES))], r"line 7: index '6' must be in 0\.\.5"),
    ],
)
def test_a_table_that_is_not_as_it_should_be_is_refused_with_its_line(lines: list[str], says: str, meant) -> None:
    with pytest.raises(DataError, match=says):
        meant(lines)


def test_blank_lines_at_the_end_are_no_samples(meant) -> None:
    assert meant(["label", *NAMES, "", " "])


def test_lines_are_joined_on_the_index_whatever_their_order(meant) -> None:
    lines = [f"{i},{name}" for i, name in enumerate(NAMES)]
    assert meant(["index,label", *lines[::-1]])
    assert meant(["Index,score,label", *(line.replace(",", ",0.5,") for line in lines[3:] + lines[:3])])


def test_lines_are_joined_on_the_file_where_samples_have_names(tmp_path: Path, meant) -> None:
    (tmp_path / "ids.csv").write_text("\n".join(["index,file", *(f"{i},{i}.png" for i in (5, 1, 2, 3, 4, 0))]))
    lines = [f"{i}.png,{name}" for i, name in enumerate(NAMES)]
    assert meant(["file,label", *lines[::-1]], "data.ids=ids.csv")
    with pytest.raises(DataError, match=r"line 7: file '9\.png' is the name of no sample"):
        meant(["file,label", *lines[:5], "9.png,cat"], "data.ids=ids.csv")


def test_an_id_that_counts_the_lines_and_names_that_are_numbers(tmp_path: Path, meant) -> None:
    (tmp_path / "ids.csv").write_text("\n".join(["file", *(f"{i}.png" for i in range(6))]))
    assert meant(["id,label", *(f"{i},{name}" for i, name in enumerate(NAMES, start=1))], "data.ids=ids.csv")
    order = (5, 1, 2, 3, 4, 0)
    (tmp_path / "ids.csv").write_text("\n".join(["id,source", *(f"{i},web" for i in order)]))
    assert meant(["label", *NAMES], "data.ids=ids.csv")
    assert meant(
        ["id,label", *(f"{i},{name}" for i, name in sorted(zip(order, NAMES, strict=True)))], "data.ids=ids.csv"
    )


def test_a_joined_table_that_lacks_samples_says_how_to_train_without_them(meant) -> None:
    with pytest.raises(DataError, match=r"no line for 1 of 6 samples, index 3 first; .* add data\.verdicts=FILE"):
        meant(["index,label", *(f"{i},{name}" for i, name in enumerate(NAMES) if i != 3)])


def test_labels_have_no_space_around_them(meant) -> None:
    assert meant([name + " " * (i % 2) for i, name in enumerate(NAMES)])
    assert meant(["id,label", *(f"1, {name}" for name in NAMES)])


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (("Ant", "ant", "bee"), "differ only by case, space, leading zeros or a final .0: 'Ant' and 'ant';"),
        (("a b", "ab"), "'a b' and 'ab'"),
        (("1", "1.0", "2"), "'1' and '1.0'"),
        (("0", "00", "01", "1", "10"), "'0' and '00'; '01' and '1'; if"),
        (("-1", "0", "1"), "a class -1"),
        (tuple(f"{i}" for i in range(51)), "51 classes for 100 samples"),
        (("0", "1", "10", "11", "2", "3"), "alphabetical order (0, 1, 10, 11, ...), which noise=pair, matrices and"),
    ],
)
def test_labels_that_look_odd_are_named(classes: tuple[str, ...], says: str) -> None:
    labels = np.arange(100) % len(classes)
    empty = np.empty((100, 1, 1, 1), dtype=np.uint8)
    (line,) = remarks.odd(Arrays(empty, labels, empty[:0], labels[:0], classes))
    assert says in line


def test_labels_that_were_meant_are_not_called_odd() -> None:
    labels, empty = np.arange(100) % 50, np.empty((100, 1, 1, 1), dtype=np.uint8)
    classes = tuple(f"{i}.5" if i % 2 else f"{i}" for i in range(50))
    assert not [*remarks.odd(Arrays(empty, labels, empty[:0], labels[:0], classes))]


def test_a_run_says_how_it_understood_labels_and_what_a_validation_sample_is_worth(tmp_path: Path) -> None:
    y = np.array(["ant"] * 150 + ["Ant"] * 50 + ["bee"] * 70 + ["cat"] * 30)
    np.save(tmp_path / "X.npy", np.random.default_rng(0).normal(size=(300, 4)))
    np.save(tmp_path / "y.npy", y)
    words = ("data=features", "data.features=X.npy", "data.labels=y.npy", "paths.data=.", "schedule.epochs=1")
    code, text = train(tmp_path, *words, "schedule.milestones=[]")
    assert code == 0
    assert "4 classes, the smallest: cat (30), Ant (50), bee (70)" in text
    assert "names differ only by case, space, leading zeros or a final .0: 'Ant' and 'ant'" in text
    assert "60 validation samples: one is 1.7 points" in text, "a fifth is held out"


def picture(path: Path, level: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level, level, level)).save(path, "PNG" if path.suffix == "" else None)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of two classes, ten pictures each."""
    for i in range(20):
        picture(tmp_path / "mine" / "train" / ("bee" if i % 2 else "ant") / f"{i:02}.png", 60 + i)
    return tmp_path / "mine"


WORDS = ("data=folder", "data.folder=mine", "data.size=8")


def id_of(root: Path, *words: str) -> str:
    cfg = settings.compose([*WORDS, "noise=clean", f"paths.data={root}", *words])
    return runs.run_id(runs.identity(settings.resolved(cfg)))


def test_every_picture_that_pillow_opens_is_one(mine: Path) -> None:
    for ending in ("jfif", "ppm", "pgm", "webp", "TIF"):
        picture(mine / "train" / "ant" / f"x.{ending}")
    names = task(*WORDS, root=mine.parent).arrays.train_names
    assert {Path(name).suffix for name in names} == {".png", ".jfif", ".ppm", ".pgm", ".webp", ".TIF"}
    assert len(names) == 25


def test_all_that_is_left_out_is_counted_in_one_warning(
    mine: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mine / "train" / "ant" / "00.png").write_bytes(b"no picture")
    (mine / "train" / "ant" / "gone.png").symlink_to(mine / "nowhere.png")
    (mine / "train" / "ant" / "notes.txt").touch()
    picture(mine / "train" / "ant" / "deeper" / "a.png")
    (mine / "train" / "empty").mkdir()
    picture(mine / "train" / "locked" / "a.png")
    picture(mine / "valid" / "ant" / "a.png")
    for module in (os, listing.os):  # root may read every folder
        listed = module.scandir

        def scandir(path, listed=listed):
            if Path(path).name == "locked":
                raise PermissionError(13, "Permission denied", str(path))
            return listed(path)

        monkeypatch.setattr(module, "scandir", scandir)
    monkeypatch.setattr(Path, "iterdir", lambda path: iter([path / entry.name for entry in os.scandir(path)]))
    found = task(*WORDS, root=mine.parent).arrays
    assert found.classes == ("ant", "bee")
    assert len(found.train_names) == 19
    (record,) = caplog.records
    told = record.getMessage()
    for what in (
        *("pictures that cannot be read: 2", "files that are no pictures by their ending: 1", "notes.txt"),
        *("pictures that are not train/CLASS/FILE: 1", "deeper/a.png", "classes without a picture: 1", "train/empty"),
        *("folders that cannot be read: 1", "train/locked", "does not use", "mine/valid"),
    ):
        assert what in told


def test_a_folder_of_which_all_is_used_gives_no_warning(mine: Path, caplog: pytest.LogCaptureFixture) -> None:
    task(*WORDS, root=mine.parent)
    assert not caplog.records


def test_a_picture_that_cannot_be_read_leaves_everything_else_in_the_id(mine: Path) -> None:
    whole = id_of(mine.parent)
    gone = mine / "train" / "ant" / "gone.png"
    for broken in (lambda: gone.symlink_to(mine / "nowhere.png"), gone.mkdir):
        broken()
        first = id_of(mine.parent)
        assert first != whole
        (mine / "train" / "bee" / "01.png").rename(mine / "train" / "ant" / "01.png")
        assert id_of(mine.parent) != first, "another label is another run"
        (mine / "train" / "ant" / "01.png").rename(mine / "train" / "bee" / "01.png")
        assert id_of(mine.parent) == first
        gone.unlink() if gone.is_symlink() else gone.rmdir()
    picture(gone)
    assert id_of(mine.parent) not in (whole, first)


def test_a_train_csv_gives_each_picture_its_label(mine: Path) -> None:
    lines = [f"train/{'bee' if i % 2 else 'ant'}/{i:02}.png, {'odd' if i % 2 else 'even'} " for i in range(20)]
    table = mine / "train.csv"

    def found(*text: str) -> Arrays:
        table.write_text("\n".join(text) + "\n")
        return task(*WORDS, root=mine.parent).arrays

    arrays = found(*lines)
    assert arrays.classes == ("even", "odd")
    assert len(arrays.train_labels) == 20
    here = id_of(mine.parent)
    for other in (
        ["file,label", *lines],
        ["index,File,label", *(f"{i},{line}" for i, line in enumerate(lines))],
        [f"{mine}/{line}" for line in lines],
        [f"./{line}" for line in lines[::-1]],
    ):
        again = found(*other)
        assert again.train_names == arrays.train_names
        assert np.array_equal(again.train_labels, arrays.train_labels)
        assert id_of(mine.parent) == here


def test_a_first_line_that_names_a_picture_is_no_header(mine: Path) -> None:
    lines = [f"train/{'bee' if i % 2 else 'ant'}/{i:02}.png,{i % 2}" for i in range(1, 20)]
    (mine / "train.csv").write_text("\n".join(["train/ant/00.png,y", *lines]))
    assert task(*WORDS, root=mine.parent).arrays.classes == ("0", "1", "y")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "../mine/train/ant/00.png,x",
            r"line 2: .* '\.\./mine/train/ant/00\.png' .*; did you mean train/ant/00\.png\?",
        ),
        ("{root}/other/1.png,x", "line 2: there is no file '.*/other/1.png' below .*/mine; remove the line$"),
        ("01.png,x", r"line 2: .* '01\.png' below .*; did you mean train/bee/01\.png\?"),
        (r"train\ant\00.png,x", r"line 2: .*; did you mean train/ant/00\.png\?"),
        ("train/gr\udcfcn.png,x", "line 2: .*; save the table as CSV in UTF-8"),
        ("gone.png,x\nlost.png,x", "line 2: there is no file 'gone.png' .*; 1 more lines name none"),
        ("train/ant/00.png,", "line 2: its label is empty"),
        ("train/ant/00.png,x,y", "line 2: it has 3 fields, and the first line 2"),
        ("", "line 2 is blank"),
    ],
)
def test_a_line_of_a_train_csv_that_is_no_picture_below_is_refused(mine: Path, line: str, says: str) -> None:
    picture(mine.parent / "other" / "1.png")
    lines = ["train/bee/01.png,y1", line.replace("{root}", str(mine.parent)), "train/bee/03.png,z"]
    (mine / "train.csv").write_text("\n".join(lines), errors="surrogateescape")
    with pytest.raises(DataError, match=says):
        task(*WORDS, root=mine.parent)
    with pytest.raises(DataError, match=says):
        id_of(mine.parent)


def test_the_first_of_two_columns_names_the_picture_and_of_more_the_one_called_file(mine: Path) -> None:
    table = mine / "train.csv"
    table.write_text("image,label\ntrain/ant/00.png,a\ntrain/bee/01.png,b\n")
    assert task(*WORDS, "data.validation=1", root=mine.parent).arrays.train_names == (
        "train/ant/00.png",
        "train/bee/01.png",
    )
    table.write_text("image,by,label\ntrain/ant/00.png,me,a\ntrain/bee/01.png,me,b\n")
    with pytest.raises(DataError, match="a first line calls one of them file"):
        task(*WORDS, root=mine.parent)


def test_a_picture_is_found_whichever_way_its_accents_are_written(mine: Path) -> None:
    composed, apart = "train/ant/gr\u00fcn.png", "train/bee/gru\u0308n.png"
    for name in (composed, apart):
        picture(mine / name)
    (mine / "train.csv").write_text("train/ant/gru\u0308n.png,a\ntrain/bee/gr\u00fcn.png,b\n")
    assert task(*WORDS, "data.validation=1", root=mine.parent).arrays.train_names == (composed, apart)


def test_a_picture_is_called_as_its_folders_list_it(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, whose file system finds a file under any case and either form of the accents of its name."""
    there, isfile = "train/gr\u00fcn/b\u00e4r.png", os.path.isfile
    picture(mine / there)
    monkeypatch.setattr(os.path, "isfile", lambda path: isfile(unicodedata.normalize("NFC", str(path)).lower()))
    for other in ("train/gru\u0308n/ba\u0308r.png", "Train/GR\u00dcN/B\u00c4R.PNG"):
        (mine / "train.csv").write_text(f"{other},a\ntrain/bee/01.png,b\n")
        assert task(*WORDS, "data.validation=1", root=mine.parent).arrays.train_names == ("train/bee/01.png", there)
    (mine / "train.csv").write_text(f"{there},a\nTRAIN/gr\u00fcn/b\u00e4r.png,b\n")
    with pytest.raises(DataError, match="twice, as a and as b"):
        task(*WORDS, root=mine.parent)


def test_labels_of_several_columns_must_be_called_so(tmp_path: Path) -> None:
    for header in ("filename,species,width", "image,MEL,NV,BCC"):
        (tmp_path / "t.csv").write_text(f"{header}\n" + ",".join(["a"] * header.count(",") + ["1"]) + "\n")
        with pytest.raises(DataError, match="labels are the last column, called label"):
            labels_of(tmp_path / "t.csv", 1)
    (tmp_path / "t.csv").write_text("image,by,label\na,me,1\n")
    assert labels_of(tmp_path / "t.csv", 1) == ["1"]


def test_marks_of_a_label_that_is_not_there_are_told() -> None:
    classes = ("<NA>", "None", "a", "b", "nan")
    arrays = Arrays(
        np.zeros((20, 1, 1, 1), np.uint8),
        np.arange(20) % 5,
        np.zeros((0, 1, 1, 1), np.uint8),
        np.zeros(0, int),
        classes,
    )
    assert [line.split(":")[0] for line in remarks.odd(arrays)] == [
        f"there is a class {name}" for name in ("<NA>", "None", "nan")
    ]


def test_a_table_of_another_name_than_train_csv_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "mine" / "all" / "1.png")
    (tmp_path / "mine" / "labels.csv").write_text("all/1.png,a\n")
    with pytest.raises(DataError, match=r"all have all; labels\.csv is not read: .* is called train\.csv"):
        task(*WORDS, root=tmp_path)
    (tmp_path / "mine" / "all" / "1.png").unlink()
    with pytest.raises(DataError, match=r"has no pictures .*; labels\.csv is not read"):
        task(*WORDS, root=tmp_path)


@pytest.mark.parametrize("name", ["100", "a,b"])
def test_a_folder_may_be_called_anything(mine: Path, name: str) -> None:
    shutil.move(mine, mine.parent / name)
    word = f"data.folder={name}" if name.isdigit() else f"data.folder='{name}'"
    assert len(task(*WORDS, word, root=mine.parent).arrays.train_labels) == 20
    assert id_of(mine.parent, word)


def test_verdicts_take_samples_out_as_the_refusal_says(tmp_path: Path, meant) -> None:
    text = "index,file,given,suggested,verdict\n3,,bee,ant,drop\n"
    (tmp_path / "saved.csv").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert meant(["label", *NAMES], "data.verdicts=saved.csv", f"data.verdicts_sha256={digest}")
    words = ("data.verdicts=saved.csv", f"data.verdicts_sha256={digest}", "data.validation=0")
    found = task("data=features", "data.features=X.npy", "data.labels=labels.csv", *words, root=tmp_path)
    assert sorted(found.train.tolist()) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("data=cifar10 noise=superclass", "superclasses are those of data=cifar100"),
        ("data=digits noise=human rate=0.4021", "people gave these labels to data=cifar10"),
        ("data=cifar100 noise=human_twin noise.set=worse", "people gave these labels to data=cifar10"),
        ("data=fashion_mnist noise=open_set", r"images must be \(32, 32, 3\)"),
        ("data=features data.features=x data.labels=y noise=open_set", r"not \(1, 1, \?\)"),
        ("data=cifar100 noise=open_set", "of its own classes on data=cifar100"),
        ("data=cifar10 noise=class_map noise.map={cat:wolf}", "of class names of the data set"),
    ],
)
def test_noise_that_does_not_fit_a_data_set_is_refused_before_anything_is_read(words: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings.read(settings.compose(words.split()))


def test_a_mistyped_data_folder_is_not_made(tmp_path: Path) -> None:
    code, text = train(tmp_path, "data=cifar10", "paths.data=nowhere/typo")
    assert code == 2
    assert "paths.data=nowhere/typo (or NOISYGCE_DATA): there is no such folder; make it" in one_line(text)
    assert not (tmp_path / "nowhere").exists()


def test_a_table_in_utf_16_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label\nant\n", encoding="utf-16")
    with pytest.raises(DataError, match=re.escape("no text in UTF-8; save it as CSV in UTF-8")):
        label_table.read(tmp_path / "a.csv")


@pytest.mark.parametrize("column", ["file", "id", "ids"])
def test_a_table_that_names_its_samples_is_joined_by_name_whatever_its_index_says(column: str, meant, tmp_path) -> None:
    """The vectors were put into another order after the table was written."""
    names = [f"s{i}" for i in range(6)]
    (tmp_path / "ids.csv").write_text("\n".join(["id", *names]) + "\n")
    lines = [f"{5 - i},s{i},{name}" for i, name in enumerate(NAMES)]
    assert meant([f"index,{column},label", *reversed(lines)], "data.ids=ids.csv")


@pytest.mark.parametrize("header", ["filename,label", ",label", "idx,label", ""])
@pytest.mark.parametrize("named", [True, False])
def test_a_first_column_in_another_order_is_refused_where_nothing_says_to_join_it(
    header, named, meant, tmp_path
) -> None:
    names = [f"s{i}" if named else f"{i}" for i in range(6)]
    (tmp_path / "ids.csv").write_text("\n".join(["id", *names]) + "\n")
    words = ["data.ids=ids.csv"] if named else []
    lines = [f"{one},{name}" for one, name in zip(names, NAMES, strict=True)]
    assert meant([*([header] if header else []), *lines], *words)
    with pytest.raises(DataError, match=r"its first column has the samples in another order; call the columns"):
        meant([*([header] if header else []), *reversed(lines)], *words)
    from_one = [f"{i + 1},{name}" for i, name in enumerate(NAMES)]
    assert meant([*([header] if header else []), *from_one], *words)
    with pytest.raises(DataError, match=r"its first column has the samples in another order; sort the lines by it"):
        meant([*([header] if header else []), *reversed(from_one)], *words)


def test_of_several_columns_beside_the_sample_the_labels_must_be_named(meant) -> None:
    lines = [f"{i},{name},0.{i}" for i, name in enumerate(NAMES)]
    with pytest.raises(DataError, match=r"its header is index, given, confidence; labels are the last column, called"):
        meant(["index,given,confidence", *lines])
    assert meant(["index,confidence,label", *(f"{i},0.{i},{name}" for i, name in enumerate(NAMES))])
