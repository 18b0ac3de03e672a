"""Samples of finished runs, ranked by how probably their label is wrong; and labels after people's verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from noisygce.data import Ints
from noisygce.data.verdicts import AFTER, decisions, mark
from noisygce.errors import ConfigError, DataError, first_line, installing
from noisygce.results import Result
from noisygce.runs import artifacts
from noisygce.training import detection
from noisygce.training.detection import Flags, Floats

if TYPE_CHECKING:
    from pandas import DataFrame

SCORES = {**detection.SCORES, "pruned": detection.SCORES["margin"], "confident_learning": "label_quality"}


@dataclass(frozen=True)
class Samples:
    """n samples of the training set, of K classes, and the predictions of a model for them.

    frame: a row a sample. index: in the training set; name: of its file, or empty; given, predicted: numbers of
    classes; kept: 0 where pruned, 1 where trained on to the end, -1 where held out; margin_log_odds, log_p_given: as in
    predictions.npz. p: (n, K). after: ``verdicts.mark`` of the verdicts that the run was trained on, or empty.
    """

    frame: DataFrame
    p: NDArray[np.float64]
    classes: tuple[str, ...]
    after: str = ""


def samples_of(run: Result) -> Samples:
    """Training and validation samples of a run, as its kept model predicts them. Raises DataError."""
    import pandas as pd

    found = artifacts.predictions(run.folder, run.manifest)
    frame = pd.DataFrame({key: getattr(found, key) for key in ("index", "given", "predicted")})
    frame["name"] = pd.Series(found.name, dtype=object)  # a name that is no UTF-8 is none for pandas' str
    frame["kept"] = np.where(found.split == "train", found.kept, -1).astype(np.int64)
    for key in detection.SCORES.values():
        frame[key] = getattr(found, key).astype(np.float64)
    used = found.split != "test"
    after = mark(run.config.get("data.verdicts_sha256"))
    return Samples(frame[used].reset_index(drop=True), found.p[used].astype(np.float64), found.classes, after)


def held_out(runs: Sequence[Samples]) -> Samples:
    """Of several runs on the same labels: every sample that a run held out, with the predictions of the runs that held
    it out alone.

    p and scores are means over these runs. kept: by most of the runs that trained on the sample. Raises ConfigError
    where labels differ.
    """
    import pandas as pd

    every, p = pd.concat([samples.frame for samples in runs]), np.concatenate([samples.p for samples in runs])
    one_label = (every.groupby("index")["given"].nunique() == 1).all()
    if len({(samples.classes, samples.after) for samples in runs}) > 1 or not one_label:
        raise ConfigError("these runs were trained on other labels: name runs that differ in their split alone")
    out = (every["kept"] < 0).to_numpy()
    held, trained = every[out].groupby("index"), every[~out].groupby("index")
    frame = held[["name", "given", "predicted"]].first().join(held[[*detection.SCORES.values()]].mean())
    mean = pd.DataFrame(p[out], index=every.loc[out, "index"]).groupby(level=0).mean().to_numpy()
    several = held.size() > 1
    frame.loc[several, "predicted"] = mean.argmax(1)[several]
    frame["kept"] = (trained["kept"].mean() >= 0.5).astype(int).reindex(frame.index, fill_value=-1)
    return Samples(frame.reset_index(), mean, runs[0].classes, runs[0].after)


def ranked(samples: Samples, score: str) -> tuple[Ints, Floats]:
    """The order of the samples, most suspicious first, and the score of each sample. Ties go by p_given, then index."""
    frame = samples.frame
    values = frame["log_p_given" if score == "self_confidence" else "margin_log_odds"].to_numpy()
    first = np.zeros(len(values), dtype=bool)
    if score == "pruned":
        first = (frame["kept"] == 0).to_numpy()
        if not first.any():
            raise ConfigError("score=pruned: no sample was pruned in this run; loss=tgce prunes")
    if score == "confident_learning":
        first, values = confident_learning(samples)
    return np.lexsort((frame["index"], frame["log_p_given"], values, ~first)), values


def confident_learning(samples: Samples) -> tuple[Flags, NDArray[np.float64]]:
    """Which labels cleanlab holds to be wrong, and its score of each (Northcutt et al. 2021, arXiv 1911.00068)."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise ConfigError(f"score=confident_learning: needs cleanlab ({installing('cleanlab')})") from None
    p, given = samples.p / samples.p.sum(1, keepdims=True), samples.frame["given"].to_numpy()
    try:
        return find_label_issues(given, p), get_label_quality_scores(given, p)
    except ValueError as error:
        raise DataError(f"score=confident_learning: cleanlab refuses these predictions: {first_line(error)}") from None


def table(samples: Samples, score: str) -> DataFrame:
    """The list of all samples, the most suspicious first, as text: rank, index, file, given, suggested, p_given,
    p_suggested, the score under its own name, kept, and verdict, which is empty."""
    import pandas as pd

    order, values = ranked(samples, score)
    frame, every, classes = samples.frame, np.arange(len(samples.p)), np.array(samples.classes, dtype=object)
    given, predicted = frame["given"].to_numpy(), frame["predicted"].to_numpy()
    suggested = np.where(predicted != given, predicted, detection.rival(samples.p, given)[0])
    listed = pd.DataFrame(
        {
            "index": [str(index) for index in frame["index"]],
            "file": frame["name"],
            "given": classes[given],
            "suggested": classes[suggested],
            "p_given": [f"{p:.4g}" for p in samples.p[every, given]],
            "p_suggested": [f"{p:.4g}" for p in samples.p[every, suggested]],
            SCORES[score]: [f"{value:.4g}" for value in values],
            "kept": ["" if kept < 0 else str(kept) for kept in frame["kept"]],
            "verdict": "",
            **({AFTER: samples.after} if samples.after else {}),
        },
        dtype=object,
    ).iloc[order]
    listed.insert(0, "rank", [str(place) for place in range(1, len(order) + 1)])
    return listed


def cleaned(runs: Sequence[Samples], path: Path) -> tuple[DataFrame, str]:
    """A file of labels after the verdicts in ``path``, a list or a part of one; and what the verdicts changed.

    Of every sample of any of the runs, judged or not, in the order of the training set. Raises DataError, also for
    verdicts on other samples.
    """
    import pandas as pd

    every = pd.concat([samples.frame for samples in runs]).drop_duplicates("index").sort_values("index")
    classes = runs[0].classes
    given = {index: classes[label] for index, label in zip(every["index"], every["given"], strict=True)}
    names = {index: name for index, name in zip(every["index"], every["name"], strict=True) if name}
    try:
        decided, counts = decisions(path, path.read_bytes(), given, names, classes, runs[0].after)
    except OSError as error:
        raise DataError(f"verdicts={path}: cannot be read: {error.strerror}") from None
    labels = [(names.get(index, str(index)), label) for index, label in (given | decided).items() if label is not None]
    changes = ", ".join(f"{verdict} {count:,}" for verdict, count in counts.items())
    return pd.DataFrame(labels, columns=["file" if names else "index", "label"], dtype=object), changes
