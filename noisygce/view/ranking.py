"""Samples of finished runs, ranked by how probably their label is wrong; and labels after people's verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisygce.data import Ints
from noisygce.data.verdicts import decisions
from noisygce.errors import ConfigError, DataError
from noisygce.results import Result
from noisygce.runs import artifacts
from noisygce.training import detection
from noisygce.training.detection import Flags, Floats

SCORES = {**detection.SCORES, "pruned": detection.SCORES["margin"], "confident_learning": "label_quality"}
COLUMNS = ("rank", "index", "file", "given", "suggested", "p_given", "p_suggested", "score", "kept", "verdict")


@dataclass(frozen=True)
class Samples:
    """What is said of n samples of the training set, of K classes."""

    p: NDArray[np.float64]  # (n, K)
    index: Ints  # (n,), in the training set
    given: Ints  # (n,), their labels
    kept: Ints  # (n,): 0 where pruned, 1 where not, -1 where never trained on
    name: NDArray[np.str_]  # (n,), of their files; empty where they have none
    predicted: Ints  # (n,), this and the next two as in predictions.npz
    margin_log_odds: Floats
    log_p_given: Floats
    classes: tuple[str, ...]


def samples_of(run: Result) -> Samples:
    """What the kept model of a run says of training and validation samples. Raises DataError."""
    found = artifacts.predictions(run.folder, run.manifest)
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
    size = max(int(samples.index.max()) for samples in each) + 1
    given, name = np.full(size, -1), np.full(size, "", dtype=object)
    p, judges = np.zeros((size, len(each[0].classes))), np.zeros(size, dtype=int)
    margin, log_p_given, predicted = np.zeros(size), np.zeros(size), np.zeros(size, dtype=int)
    votes, voters = np.zeros(size, dtype=int), np.zeros(size, dtype=int)
    for samples in each:
        before = given[samples.index]
        if samples.classes != each[0].classes or (before[before >= 0] != samples.given[before >= 0]).any():
            raise ConfigError("these runs were trained on other labels: name runs that differ in their split alone")
        given[samples.index], name[samples.index] = samples.given, samples.name
        out = samples.kept < 0
        judged, trained = samples.index[out], samples.index[~out]
        p[judged] += samples.p[out]
        judges[judged] += 1
        margin[judged] += samples.margin_log_odds[out]
        log_p_given[judged] += samples.log_p_given[out]
        predicted[judged] = samples.predicted[out]
        votes[trained] += samples.kept[~out]
        voters[trained] += 1
    seen = np.flatnonzero(judges)
    majority = np.where(voters > 0, 2 * votes >= voters, -1)
    mean = p[seen] / judges[seen, None]
    likeliest = np.where(judges[seen] == 1, predicted[seen], mean.argmax(1))
    scores = margin[seen] / judges[seen], log_p_given[seen] / judges[seen]
    return Samples(mean, seen, given[seen], majority[seen], name[seen].astype(str), likeliest, *scores, each[0].classes)


def ranked(samples: Samples, score: str) -> tuple[Ints, Floats]:
    """The order of the samples, most suspicious first, and the score of each sample. Ties go by p_given, then index."""
    values = samples.log_p_given if score == "self_confidence" else samples.margin_log_odds
    first = np.zeros(len(values), dtype=bool)
    if score == "pruned":
        first = samples.kept == 0
        if not first.any():
            raise ConfigError("score=pruned: no sample was pruned in this run; loss=tgce prunes")
    if score == "confident_learning":
        first, values = confident_learning(samples)
    return np.lexsort((samples.index, samples.log_p_given, values, ~first)), values


def confident_learning(samples: Samples) -> tuple[Flags, NDArray[np.float64]]:
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


def rows(samples: Samples, order: Ints, values: Floats) -> Iterator[list[str]]:
    """The lines of the list, of ``COLUMNS``; verdicts are empty."""
    every = np.arange(len(samples.p))
    doubted = samples.predicted != samples.given
    suggested = np.where(doubted, samples.predicted, detection.rival(samples.p, samples.given)[0])
    p_given, p_suggested = samples.p[every, samples.given], samples.p[every, suggested]
    for rank, i in enumerate(order.tolist(), start=1):
        yield [
            *(str(rank), str(samples.index[i]), str(samples.name[i])),
            *(samples.classes[samples.given[i]], samples.classes[suggested[i]]),
            *(f"{p_given[i]:.4g}", f"{p_suggested[i]:.4g}", f"{values[i]:.4g}"),
            *("" if samples.kept[i] < 0 else str(samples.kept[i]), ""),
        ]


def cleaned(each: Sequence[Samples], path: Path) -> tuple[list[list[str]], str]:
    """The lines of a file of labels after the verdicts in ``path``, a list or a part of one; and what they changed.

    Of every sample of any of the runs, judged or not, in the order of the training set. Raises DataError, also for
    verdicts on other samples.
    """
    known: dict[int, tuple[str, str]] = {}
    classes = each[0].classes
    for samples in each:
        labelled = zip(samples.index.tolist(), samples.name.tolist(), samples.given.tolist(), strict=True)
        known |= {index: (name or str(index), classes[y]) for index, name, y in labelled}
    given = {index: label for index, (_, label) in known.items()}
    names = {index: name for index, (name, _) in known.items() if name != str(index)}
    try:
        decided, counts = decisions(path, path.read_bytes(), given, names, classes)
    except OSError as error:
        raise DataError(f"verdicts={path}: cannot be read: {error.strerror}") from None
    column = "file" if any(each[0].name) else "index"
    labels = {index: decided.get(index, label) for index, label in sorted(given.items())}
    lines = [[known[index][0], label] for index, label in labels.items() if label is not None]
    return [[column, "label"], *lines], ", ".join(f"{verdict} {count:,}" for verdict, count in counts.items())
