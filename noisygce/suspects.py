"""``python -m noisygce.suspects RUN``: which labels are probably wrong, as a list and as a page to judge them on.

    python -m noisygce.suspects results/runs/<id>               a finished run, by its folder or its id
    python -m noisygce.suspects <id> score=self_confidence      another ranking
    python -m noisygce.suspects <id> top=5000 out=folder        more pictures on the page; files elsewhere
    python -m noisygce.suspects <id> <id> <id>                  each sample by the runs that held it out for validation
    python -m noisygce.suspects <id> verdicts=saved.csv         your verdicts from the page, as a file of clean labels
    python -m noisygce.suspects <id> pictures=folder            vectors with the pictures below it that their ids name

Writes <id>.csv, all training and validation samples with the most suspicious first, and <id>.html, the ``top`` (2000)
first of them with their pictures: judge them with keys or clicks and save your verdicts from the page. Files go to
results/suspects. Needs the run's predictions.npz, and the data set for the pictures (paths.data=FOLDER); vectors of
data=features have none, unless their ids are files of pictures.

With verdicts it writes <id>-cleaned.csv instead, file,label of all samples but the dropped ones: a train.csv of
data=folder. Samples without a file are named by their index.

score: margin (the default), m = p of the given label minus the largest other p, listed as margin_log_odds,
log((1 + m) / (1 - m)), since m itself is -1 to the last digit for many; self_confidence, p of the given label, listed
as log_p_given; pruned, those that the truncated loss has pruned first, each part by margin; confident_learning, as
cleanlab finds and ranks them, listed as label_quality (pip install cleanlab).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import check, results, settings
from noisygce.data import Features, Folder
from noisygce.data.base import located
from noisygce.data.verdicts import VERDICTS
from noisygce.errors import ConfigError, DataError
from noisygce.noise import Noise, digest
from noisygce.runs import atomic, changed, kept
from noisygce.settings import arguments
from noisygce.training import detection
from noisygce.training.task import prepare
from noisygce.view import gallery

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from noisygce.results import Result

SCORES = {**detection.SCORES, "pruned": detection.SCORES["margin"], "confident_learning": "label_quality"}
COLUMNS = ("rank", "index", "file", "given", "suggested", "p_given", "p_suggested", "score", "kept", "verdict")


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Writes list and page of the runs that the words name."""
    own = dict(
        word.split("=", 1) for word in words if word.startswith(("score=", "top=", "out=", "verdicts=", "pictures="))
    )
    paths = [word for word in words if word.startswith("paths.")]
    runs = [word for word in words if word.partition("=")[0] not in own and word not in paths]
    if not runs or any(word.startswith("-") or ("=" in word and not Path(word).exists()) for word in runs):
        raise ConfigError(f"{' '.join(runs) or 'no run'}: name a finished run; --help says more")
    score = check.choice("score", own.get("score", "margin"), SCORES)
    top = check.whole("top", int(own["top"]) if own.get("top", "").isdecimal() else own.get("top", 2000), "[1, 100000]")
    found = [results.finished(run) for run in runs]
    each = [beliefs(run) for run in found]
    samples = held_out(each) if len(each) > 1 else each[0]
    whole = len(set().union(*(own.index.tolist() for own in each)))
    if unjudged := whole - len(samples.index):
        print(
            f"{unjudged:,} of {whole:,} samples were held out by none of these runs: not judged; clean labels keep them"
        )
    folder = Path(own.get("out", "results/suspects"))
    folder.mkdir(parents=True, exist_ok=True)
    name = found[0].id if len(found) == 1 else f"{found[0].id}+{len(found) - 1}"
    if "verdicts" in own:
        clean, said = cleaned(each, Path(own["verdicts"]))
        write(folder / f"{name}-cleaned.csv", clean)
        print(f"{folder / name}-cleaned.csv: {len(clean) - 1:,} labels; {said}")
        return
    order, values = ranked(samples, score)
    lines = list(rows(samples, order, values))
    columns = [SCORES[score] if column == "score" else column for column in COLUMNS]
    write(folder / f"{name}.csv", [columns, *lines])
    doubted = int((samples.predicted != samples.given).sum())
    print(
        f"{folder / name}.csv: {len(order):,} samples; of {doubted:,} the model says another class than the given one"
    )
    tiles = Tiles(found[0], paths, own.get("pictures"))
    pictures = [tiles(samples.index[i]) for i in order[:top]] if tiles.there else []
    page = gallery.page(name, score, columns, lines[:top], samples.classes, pictures)
    atomic.write_text(folder / f"{name}.html", page, durable=False)
    shown = f"the first {min(top, len(order)):,}{' with their pictures' if pictures else ''}"
    print(f"{folder / name}.html: {shown}, to open in a browser")


@dataclass(frozen=True)
class Samples:
    """Of n samples of the training set: p (n, K), index (n,), given labels (n,), kept (n,) 1, 0 or -1 where a sample
    was never trained on, name (n,) of its file, empty where it has none; K class names. predicted, margin_log_odds,
    log_p_given (n,) as in predictions.npz."""

    p: NDArray[np.float64]
    index: NDArray[np.int64]
    given: NDArray[np.int64]
    kept: NDArray[np.int64]
    name: NDArray[np.str_]
    predicted: NDArray[np.int64]
    margin_log_odds: NDArray[np.floating[Any]]
    log_p_given: NDArray[np.floating[Any]]
    classes: tuple[str, ...]


def beliefs(run: Result) -> Samples:
    """What the kept model of a run says of training and validation samples. Raises DataError."""
    import numpy as np

    found = kept.predictions(run.folder, run.manifest)
    mine = found.split != "test"
    known = np.where(found.split == "train", found.kept, -1).astype(np.int64)
    p = found.p[mine].astype(np.float64)
    return Samples(
        *(p, found.index[mine], found.given[mine], known[mine], found.name[mine]),
        *(found.predicted[mine], found.margin_log_odds[mine], found.log_p_given[mine], found.classes),
    )


def held_out(each: Sequence[Samples]) -> Samples:
    """Of several runs on the same labels: every sample that one of them held out, judged by those alone.

    p and scores: averaged. kept: by most of the runs that trained on it. Raises ConfigError where labels differ.
    """
    import numpy as np

    size = max(int(samples.index.max()) for samples in each) + 1
    given, name = np.full(size, -1), np.full(size, "", dtype=object)
    p, judges = np.zeros((size, len(each[0].classes))), np.zeros(size, dtype=int)
    margin, own, predicted = np.zeros(size), np.zeros(size), np.zeros(size, dtype=int)
    votes, voters = np.zeros(size, dtype=int), np.zeros(size, dtype=int)
    for samples in each:
        before = given[samples.index]
        if samples.classes != each[0].classes or (before[before >= 0] != samples.given[before >= 0]).any():
            raise ConfigError("these runs were trained on other labels: name runs that differ in their split alone")
        given[samples.index], name[samples.index] = samples.given, samples.name
        out = samples.kept < 0
        np.add.at(p, samples.index[out], samples.p[out])
        np.add.at(judges, samples.index[out], 1)
        np.add.at(margin, samples.index[out], samples.margin_log_odds[out])
        np.add.at(own, samples.index[out], samples.log_p_given[out])
        predicted[samples.index[out]] = samples.predicted[out]
        np.add.at(votes, samples.index[~out], samples.kept[~out])
        np.add.at(voters, samples.index[~out], 1)
    seen = np.flatnonzero(judges)
    majority = np.where(voters > 0, 2 * votes >= voters, -1)
    mean = p[seen] / judges[seen, None]
    likeliest = np.where(judges[seen] == 1, predicted[seen], mean.argmax(1))
    scores = margin[seen] / judges[seen], own[seen] / judges[seen]
    known = given[seen], majority[seen], name[seen].astype(str)
    return Samples(mean, seen, *known, likeliest, *scores, each[0].classes)


def ranked(samples: Samples, score: str) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
    """The order of the samples, most suspicious first, and the score of each sample. Ties go by p_given, then index."""
    import numpy as np

    own, margin = samples.log_p_given, samples.margin_log_odds
    first = np.zeros(len(own), dtype=bool)
    values = own if score == "self_confidence" else margin
    if score == "pruned":
        first = samples.kept == 0
        if not first.any():
            raise ConfigError("score=pruned: no sample was pruned in this run; loss=tgce prunes")
    if score == "confident_learning":
        first, values = confident_learning(samples)
    return np.lexsort((samples.index, own, values, ~first)), values


def confident_learning(samples: Samples) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which labels cleanlab holds to be wrong, and its score of each (Northcutt et al. 2021, arXiv 1911.00068)."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise ConfigError("score=confident_learning: needs cleanlab (pip install cleanlab)") from None
    p = samples.p / samples.p.sum(1, keepdims=True)
    try:
        return find_label_issues(samples.given, p), get_label_quality_scores(samples.given, p)
    except ValueError as error:
        raise DataError(
            f"score=confident_learning: cleanlab refuses these predictions: {error}".splitlines()[0]
        ) from None


def rows(samples: Samples, order: NDArray[np.int64], values: NDArray[np.floating[Any]]) -> Iterator[list[str]]:
    """The lines of the list, of ``COLUMNS``; verdicts are empty."""
    import numpy as np

    every = np.arange(len(samples.p))
    doubted = samples.predicted != samples.given
    suggested = np.where(doubted, samples.predicted, detection.rival(samples.p, samples.given)[0])
    own, p = samples.p[every, samples.given], samples.p[every, suggested]
    for rank, i in enumerate(order.tolist(), start=1):
        yield [
            *(str(rank), str(samples.index[i]), str(samples.name[i])),
            *(samples.classes[samples.given[i]], samples.classes[suggested[i]]),
            *(f"{own[i]:.4g}", f"{p[i]:.4g}", f"{values[i]:.4g}"),
            *("" if samples.kept[i] < 0 else str(samples.kept[i]), ""),
        ]


def cleaned(each: Sequence[Samples], path: Path) -> tuple[list[list[str]], str]:
    """The lines of a file of labels after the verdicts in ``path``, a list or a part of one; and what they changed.

    Of every sample of any of the runs, whether it was judged or not, in the order of the training set.

    Raises DataError, also for verdicts on other samples.
    """
    known: dict[int, tuple[str, str]] = {}
    classes = each[0].classes
    for samples in each:
        own = zip(samples.index.tolist(), samples.name.tolist(), samples.given.tolist(), strict=True)
        known |= {index: (name or str(index), classes[y]) for index, name, y in own}
    labels: dict[str, str | None] = dict(known[index] for index in sorted(known))
    before, counts = dict(labels), dict.fromkeys(VERDICTS, 0)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            verdicts = [row for row in csv.DictReader(file) if row["verdict"]]
        for row in verdicts:
            name = row["file"] or row["index"]
            if before.get(name) != row["given"]:
                raise DataError(f"{path} is of another set: {name}, labelled {row['given']}, is not of this run")
            if row["verdict"] not in VERDICTS or row["suggested"] not in classes:
                raise DataError(f"{path}: {name}: a verdict is {', '.join(VERDICTS)}; a label one of the run's classes")
            counts[row["verdict"]] += 1
            labels[name] = {"keep": row["given"], "relabel": row["suggested"], "drop": None}[row["verdict"]]
    except OSError as error:
        raise DataError(f"verdicts={path}: cannot be read: {error.strerror}") from None
    except (KeyError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is no list with verdicts, as the page saves it: {error}") from None
    column = "file" if any(each[0].name) else "index"
    lines = [[name, label] for name, label in labels.items() if label is not None]
    return [[column, "label"], *lines], ", ".join(f"{verdict} {count:,}" for verdict, count in counts.items())


def write(path: Path, lines: Iterable[Sequence[str]]) -> None:
    """Writes a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    atomic.write_text(path, text.getvalue(), durable=False)


class Tiles:
    """The pictures of a run's training set, by index, as people shall see them: uint8 (H, W, 1 or 3).

    Those of one's own folder anew from their files, at most 128 pixels wide and high; others as the network had them.
    pictures: the folder below which the names of vectors are files; None: those of vectors are not ``there``. Raises
    DataError where the data set is not there, or is not the one that the run was trained on.
    """

    def __init__(self, run: Result, paths: Sequence[str], pictures: str | None = None) -> None:
        config, root = run.manifest["config"], settings.read(settings.compose(paths)).paths.data
        cfg = settings.node({key: config[key] for key in ("data", "noise")})  # neither loss nor model need be here
        data, split, verdicts, _ = settings.build_data(cfg.data)
        task = prepare(data, split, verdicts, settings.build(cfg.noise, Noise, "noise"), config["seed"], root)
        if digest(task.drawn) != run.manifest["noise"]["labels_sha256"]:
            raise DataError(f"the data set below {root} is not the one of {run.id}: its labels are others now")
        if other := changed(config, data, root):
            raise DataError(f"{other} is not the one of {run.id}: it holds something else now")
        self.images = task.arrays.train_images
        base = located(root, data.folder) if isinstance(data, Folder) else pictures and Path(pictures)
        self.files = [Path(base) / name for name in task.arrays.train_names] if base else []
        if pictures and not self.files:
            raise ConfigError(f"pictures={pictures}: samples without names, such as data.ids=FILE.csv, have no files")
        self.there = bool(self.files) or not isinstance(data, Features)

    def __call__(self, index: int) -> NDArray[np.uint8]:
        if not self.files:
            return self.images[index]  # type: ignore[return-value]
        import numpy as np

        try:
            small = check.opened(self.files[index]).convert("RGB")
        except Exception as error:  # a file of unknown origin can go wrong in any way
            reason = str(error).replace("\n", " ")
            raise DataError(f"{self.files[index]} cannot be read as a picture any more: {reason}") from None
        small.thumbnail((128, 128))
        return np.asarray(small)


if __name__ == "__main__":
    main()
