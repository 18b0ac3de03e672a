"""``python -m noisygce.suspects RUN``: lists the labels that are probably wrong, with a page on which to judge them.

    python -m noisygce.suspects results/runs/<id>               a finished run by its folder or ID
    python -m noisygce.suspects <id> score=self_confidence      another ranking
    python -m noisygce.suspects <id> top=5000 out=folder        more pictures on the page; files elsewhere
    python -m noisygce.suspects <id> <id> <id>                  each sample by the runs that held it out for validation
    python -m noisygce.suspects <id> verdicts=saved.csv         your verdicts from the page, as a file of clean labels
    python -m noisygce.suspects <id> data.folder=/new/place     your own data, which lie elsewhere now
    python -m noisygce.suspects <id> pictures=folder            vectors with the pictures below it that their ids name

Writes results/suspects/<id>.csv, all training and validation samples, the most suspicious first, and <id>.html, the
first 2000 (``top``) of them with their pictures: judge them with keys or clicks and save your verdicts from the page.
With another score than margin the files are <id>-SCORE.csv and <id>-SCORE.html. Needs the run's predictions.npz, and
the data set for the pictures (paths.data=FOLDER). Vectors have pictures if their ids are files of pictures.

With verdicts it writes <id>-cleaned.csv instead, file,label of all samples that you have not dropped: a train.csv of
data=folder, or, if you have dropped none, the data.labels of data=features. Samples without a file are named by their
index. With data.verdicts=FILE any run trains on the verdicts, dropped vectors included. Of a run that was trained on
verdicts already it also writes <id>-joined-DIGITS.csv: the earlier ones and yours, for data.verdicts.

score, and the column that holds it:

    margin (default)    margin_log_odds    m = p of the given label minus the largest other p, as log((1 + m) / (1 - m))
    self_confidence     log_p_given        log of p of the given label
    pruned              margin_log_odds    samples that the truncated loss has pruned first
    confident_learning  label_quality      cleanlab's ranking (pip install cleanlab)
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noisygce import check, inputs, results, settings
from noisygce.data import Data, Features, Folder
from noisygce.data.verdicts import COLUMNS, joined, read
from noisygce.errors import ConfigError, DataError, MissingData, counted
from noisygce.inputs import tables
from noisygce.noise import Noise, digest
from noisygce.results import Result
from noisygce.runs import atomic, changed, moved
from noisygce.settings import arguments
from noisygce.settings.command import printable
from noisygce.training.task import corrupted
from noisygce.view import gallery, ranking
from noisygce.view.ranking import SCORES, Samples

if TYPE_CHECKING:
    from pandas import DataFrame


_LARGEST = 128  # pixels of the width and height of a picture on the page


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Writes list and page of the runs that the words name, or clean labels where they name verdicts."""
    keys = ("score", "top", "out", "verdicts", "pictures")
    options, rest = arguments.take(argv, *keys, "hydra.searchpath")  # --config-dir: a run holds its config
    paths = [word for word in rest if word.startswith("paths.")]
    elsewhere = [word for word in rest if word.startswith(("data.", "noise."))]
    names = arguments.named([word for word in rest if word not in (*paths, *elsewhere)], [*keys, "paths.data"])
    if not names:
        raise ConfigError("no run: name a finished run; --help says more")
    out, pictures = _path(options.get("out", "results/suspects")), options.get("pictures")
    _refuse_folders(out, pictures)
    score = check.choice("score", options.get("score", "margin"), SCORES)
    top = arguments.whole("top", options.get("top", "2000"), "[1, 100000]")
    runs = [results.with_files(name) for name in names]
    kind = settings.named(runs[0].config["data._target_"], Data, "data")
    if pictures is not None and not issubclass(kind, Features):
        raise ConfigError(f"pictures={pictures}: this is for vectors; the samples of {runs[0].id} are pictures")
    config = moved(runs[0].manifest["config"], elsewhere)
    each = [ranking.samples_of(run) for run in runs]
    samples = ranking.held_out(each) if len(each) > 1 else each[0]
    whole = len(set().union(*(one.frame["index"] for one in each)))
    if left_out := whole - len(samples.frame):
        print(
            f"{left_out:,} of {whole:,} samples were held out by none of these runs: not judged; clean labels keep them"
        )
    out.mkdir(parents=True, exist_ok=True)
    stem = out / _name(runs)
    if "verdicts" in options:
        write_labels(stem, each, _path(options["verdicts"]), runs[0].id, config, paths)
        return
    if score != "margin":
        stem = stem.with_name(f"{stem.name}-{score}")
    listed = ranking.table(samples, score)
    _set_aside(stem.with_name(f"{stem.name}.csv"))
    write_csv(stem.with_name(f"{stem.name}.csv"), listed)
    doubted = int((samples.frame["predicted"] != samples.frame["given"]).sum())
    print(
        f"{stem}.csv: {counted(len(listed), 'sample')}; of {doubted:,} the model says another class than the given one"
    )
    last = [run.manifest.get("pruning", [])[-1:] for run in runs]
    for warning in dict.fromkeys(str(row["warning"]) for rows in last for row in rows if row.get("warning")):
        print(printable(f"warning of pruning: {warning}"))
    shown = pictures is not None or not issubclass(kind, Features)
    tiles = Tiles(runs[0], paths, pictures, config) if shown else None
    write_page(stem, listed.head(top), score, samples.classes, tiles)


def _path(text: str) -> Path:
    """A path as typed; not every shell replaces the ~ of ``key=~/...``."""
    return Path(text).expanduser()


def _set_aside(path: Path) -> None:
    """Renames a list in which a person has written verdicts, so that the list can be written anew."""
    if not path.is_file():
        return
    content = path.read_bytes()
    try:
        (header, *lines), _ = tables.rows(path, content)
        judged = any(dict(zip(header, line, strict=True)).get("verdict", "").strip() for line in lines)
    except (DataError, ValueError):  # not as this command writes it: somebody has worked on it
        judged = True
    if judged:
        kept = path.with_name(f"{path.stem}-judged-{hashlib.sha256(content).hexdigest()[:8]}.csv")
        path.replace(kept)
        print(f"the list that was there holds verdicts, and is {kept} now")


def _refuse_folders(out: Path, pictures: str | None) -> None:
    """Raises ConfigError where the files to write, or the pictures to show, cannot be in these folders."""
    if not out.is_dir() and (out.exists() or out.suffix in (".csv", ".html")):
        raise ConfigError(f"out={out}: a list and a page are written; name a folder for both, such as out={out.parent}")
    if pictures is not None and not _path(pictures).is_dir():
        raise ConfigError(f"pictures={pictures}: there is no such folder")


def _name(runs: Sequence[Result]) -> str:
    """What the files of these runs are called; another set of runs has files of its own."""
    ids = sorted(run.id for run in runs)
    if len(ids) == 1:
        return ids[0]
    return f"{ids[0]}+{len(ids) - 1}-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:8]}"


def write_page(stem: Path, listed: DataFrame, score: str, classes: Sequence[str], tiles: Tiles | None) -> None:
    """Writes the page on which people judge the listed samples."""
    pictures = [tiles(int(index)) for index in listed["index"]] if tiles and tiles.there else []
    runs = stem.name.removesuffix(f"-{score}")  # under which a browser keeps the verdicts, whatever the ranking
    page = gallery.page(runs, score, listed, classes, pictures)
    atomic.write_text(stem.with_name(f"{stem.name}.html"), page, durable=False)
    shown = f"the first {len(listed):,}{' with their pictures' if pictures else ''}"
    print(f"{stem}.html: {shown}, to open in a browser")


def write_labels(
    stem: Path, each: Sequence[Samples], verdicts: Path, run: str, config: Mapping[str, Any], paths: Sequence[str]
) -> None:
    """Writes the labels of all samples after the verdicts; and, where the run was trained on verdicts already, those
    and these as one file. run: its ID. config: its config, with the places where its files lie now."""
    labels, changes = ranking.cleaned(each, verdicts)
    write_csv(stem.with_name(f"{stem.name}-cleaned.csv"), labels)
    print(f"{stem}-cleaned.csv: {counted(len(labels), 'label')}; {changes}")
    if config["data"].get("subset") is not None:
        print("samples outside of data.subset are not in it; data.verdicts keeps them")
    if each[0].after:
        verdicts = _write_joined(stem, verdicts, run, config["data"], paths)
    path = verdicts.resolve()
    again = shlex.join([settings.setting("data.verdicts", str(path)), f"data.verdicts_sha256={inputs.sha256(path)}"])
    print(f"or train on the same labels as before with the verdicts themselves: {again}")


def _write_joined(stem: Path, verdicts: Path, run: str, data: Mapping[str, Any], paths: Sequence[str]) -> Path:
    """Writes the verdicts that a run was trained on and further ones as one file. Raises DataError where the first are
    not there any more."""
    import pandas as pd

    name, sha256 = str(data["verdicts"]), data["verdicts_sha256"]
    root = settings.read(settings.compose(paths)).paths.data
    before = inputs.located(root, name)
    if not before.is_file() or inputs.sha256(before) != sha256:
        told = f"{before} has changed since {run} was trained on it"
        raise DataError(
            f"{told if before.is_file() else inputs.not_located('data.verdicts', name, root)}; the clean labels are "
            f"written, and hold the verdicts of {verdicts} too, which cannot be trained on without the earlier ones"
        )
    rows = joined(*(read(path, path.read_bytes()) for path in (before, verdicts)))
    table = pd.DataFrame(rows, columns=[*COLUMNS], dtype=object)
    content = hashlib.sha256(table.to_csv().encode(errors="surrogateescape")).hexdigest()
    both = stem.with_name(f"{stem.name}-joined-{content[:8]}.csv")  # in the place of no file that a run was trained on
    write_csv(both, table)
    print(f"{both}: the verdicts of {before} and of {verdicts}")
    return both


def write_csv(path: Path, table: DataFrame) -> None:
    atomic.write_text(path, table.to_csv(index=False, lineterminator="\n"), durable=False)


class Tiles:
    """The pictures of a run's training set, by index, as people shall see them: uint8 (H, W, 1 or 3), at most 128 by
    128 pixels.

    Pictures of data=folder are read from their files; any other as trained on, of other than 1 or 3 channels the first.
    Numbers that are no pixels are not ``there``.
    pictures: the folder below which the names of vectors are files; None: those of vectors are not ``there``. config:
    the run's, where it is not to be taken from the manifest. Raises DataError where the data set is not there, or is
    not the one that the run was trained on.
    """

    def __init__(
        self,
        run: Result,
        paths: Sequence[str],
        pictures: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        root = settings.read(settings.compose(paths)).paths.data
        config = config or run.manifest["config"]
        cfg = settings.node({key: config[key] for key in ("data", "noise")})  # neither loss nor model need be here
        data, noise = settings.build_data(cfg.data)[0], settings.build(cfg.noise, Noise, "noise")
        arrays = data.load(root)
        if other := changed(config, data, root, noise=noise):
            raise DataError(f"{other} is not the one of {run.id}: it holds something else now")
        try:
            arrays, drawn, _, _ = corrupted(arrays, noise, config["seed"], root)
            if digest(drawn) != run.manifest["noise"]["labels_sha256"]:
                raise DataError(f"the data set below {root} is not the one of {run.id}: its labels have changed")
        except MissingData:  # a file of labels may have moved since; the predictions hold them
            if "file" not in config["noise"]:
                raise
        self.images = arrays.train_images
        base = inputs.located(root, data.folder) if isinstance(data, Folder) else pictures and _path(pictures)
        self.files = [Path(base) / name for name in arrays.train_names] if base else []
        if pictures and not self.files:
            raise ConfigError(
                f"pictures={pictures}: the samples of {run.id} have no names; train with data.ids=FILE.csv"
            )
        self.below = pictures
        self.there = bool(self.files) or (not isinstance(data, Features) and self.images.dtype == np.uint8)

    def __call__(self, index: int) -> NDArray[np.uint8]:
        from PIL import Image

        small: Any
        try:
            if self.files:
                small = inputs.opened(self.files[index]).convert("RGB")
            else:
                image = self.images[index]
                small = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
        except FileNotFoundError:
            where = (
                "pictures is the folder below which the names of samples are files" if self.below else "it has moved"
            )
            raise DataError(f"{self.files[index]}: there is no such picture; {where}") from None
        except Exception as error:  # a file of unknown origin can go wrong in any way
            reason = str(error).replace("\n", " ")
            raise DataError(f"{self.files[index]} cannot be read as a picture any more: {reason}") from None
        small.thumbnail((_LARGEST, _LARGEST))
        return np.atleast_3d(np.asarray(small))


if __name__ == "__main__":
    main()
