"""Manifests: what a finished run leaves on record of itself, and whether a text is one."""

from __future__ import annotations

import functools
import math
import operator
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce.noise import describe
from noisygce.runs.ids import run_id
from noisygce.runs.reading import json_values

if TYPE_CHECKING:
    from noisygce.settings import Experiment
    from noisygce.training.fit import Training


# The five selection rules: the epoch whose test accuracy counts. "val" is the paper's and the headline; the last two
# look at clean labels, which no one has in practice, and are printed as oracles.
RULES = ("val", "last", "last10", "val_clean", "test")
ORACLES = ("val_clean", "test")


def select(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Test accuracy under each selection rule, from the rows of metrics.csv; the earliest epoch on ties.

    None where there is no test set, or where the rule asks for true labels that are not known.
    """

    def at_best(key: str) -> float | None:
        if rows[0][key] in (None, ""):
            return None
        return test(max(rows, key=lambda row: float(row[key])))  # max() takes the first of equals

    def test(row: Mapping[str, Any]) -> float | None:
        return None if row["test_accuracy"] in (None, "") else float(row["test_accuracy"])

    last = [accuracy for row in rows[-10:] if (accuracy := test(row)) is not None]
    return {
        "val": at_best("val_accuracy"),
        "last": last[-1] if last else None,
        # sum() gives other last bits from Python 3.12 on
        "last10": functools.reduce(operator.add, last) / len(last) if last else None,
        "val_clean": at_best("val_clean_accuracy"),
        "test": at_best("test_accuracy"),
    }


def same(one: float | None, other: float | None) -> bool:
    """Whether two accuracies are equal, whichever way the mean of the last ten epochs was rounded."""
    return one == other or (one is not None and other is not None and math.isclose(one, other, rel_tol=1e-14))


def noisy_validation(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Accuracy on the noisy validation labels, of the best epoch and of the last; None where nothing was held out.

    It needs no clean label, so a search for hyper-parameters may look at it.
    """
    shares = [float(row["val_accuracy"]) for row in rows if row["val_accuracy"] not in (None, "")]
    return {"best": max(shares), "last": shares[-1]} if shares else {"best": None, "last": None}


# The parts that commands read, and what each is made of; older manifests lack some.
_MAPPINGS = ("noise", "noisy_validation", "detection", "calibration", "files", "verdicts", "versions")
_LISTS_OF_MAPPINGS = ("pruning", "also_made")


def read(text: str | bytes, expected: str = "") -> dict[str, Any]:
    """The manifest in a text, of the run ``expected`` where one is named. Raises ValueError, saying why not."""
    try:
        found = json_values(text)
    except ValueError:
        raise ValueError("is damaged or incomplete") from None
    try:
        computed, stated = run_id(found["config"]), found["run_id"]
        shares = {rule: found["results"][rule] for rule in RULES}
        if not computed == stated == (expected or computed):
            raise ValueError(f"is of another run: its config gives the id {computed}")
        wrong = [f"results.{rule}" for rule, share in shares.items() if share is not None and not 0 <= share <= 1]
    except (TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"is not a manifest: it lacks {error}") from None
    if wrong:
        raise ValueError(f"is not a manifest: {wrong[0]} is not a number in [0, 1]")
    for name in _MAPPINGS:
        if not isinstance(found.get(name, {}), dict):
            raise ValueError(f"is not a manifest: {name} is not a mapping")
    for name in _LISTS_OF_MAPPINGS:
        rows = found.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"is not a manifest: {name} is not a list of mappings")
    return dict(found)


def manifest_of(e: Experiment, identity: Mapping[str, Any], training: Training) -> dict[str, Any]:
    """What a training that has ended has come to; ``RunMonitor.record`` says how it was made."""
    from noisygce.training.fit import digest

    task = training.task
    return {
        "run_id": run_id(identity),
        "config": identity,
        "results": select(training.progress.rows),
        "noisy_validation": noisy_validation(training.progress.rows),
        "noise": describe(e.noise.rate, task.clean, task.drawn, len(task.arrays.classes)),
        **({"verdicts": dict(task.verdicts)} if task.verdicts else {}),
        "pruning": training.progress.prunings,
        **({"mixes_images": True} if e.loss.mixup else {}),
        **_reported(e.loss.report()),
        "state_sha256": digest(training.step.weights()),
    }


_OURS = ("run_id", "config", "results", "noisy_validation", "noise", "verdicts", "pruning", "mixes_images")


def _reported(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a loss says of itself, as a manifest can hold it: a loss of one's own may say what JSON has no word for, and
    must not lose a run that has ended."""
    return {f"loss_{key}" if key in _OURS else str(key): _plain(value) for key, value in told.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)


@functools.cache  # a process runs the code that it imported, whatever is checked out later
def commit() -> dict[str, Any]:
    """Commit of the checkout that this package runs from, and whether its code or configs have changes, files that git
    does not know included; null where that is not known, as for an installed package."""

    def git(*words: str) -> str | None:
        command = ["git", "-c", "core.fsmonitor=false", *words]  # which may name a program of the checkout's
        try:
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    root = Path(__file__).resolve().parents[2]
    commit = git("rev-parse", "HEAD") if (root / ".git").exists() else None
    status = git("status", "--porcelain", "--", "noisygce", "configs", "hydra_plugins") if commit else None
    return {"commit": commit, "dirty": None if status is None else bool(status)}
