"""Results: finished and unfinished runs below a results folder, one record a run, or one table of pandas.

    from noisygce import results
    results.frame(results.found("results"))             # a row a run: loss.name, loss.q, noise.name, rate, val, ...
    results.frame(results.found("results/reference"))   # the committed runs

A run is a folder, ``runs/<run id>``, or a line of an archive (noisygce/runs/archive.py); callers need not know which.
Its state is done, running, stopped (it can be resumed), failed, unreadable or missing. No torch here.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import runs
from noisygce.errors import ConfigError, DataError, ManifestError
from noisygce.runs import archive, manifest, unfinished
from noisygce.runs.archive import Archive
from noisygce.runs.ids import flat
from noisygce.runs.reading import Rows

if TYPE_CHECKING:
    from pandas import DataFrame

NOISY_VALIDATION = "noisy_validation"  # what takes the place of a selection rule where there is no test set
LABEL_WAVE = "label_wave"  # a rule that is computed from metrics.csv, of runs that have its column
MODELS = {"val": "best", "last": "last"}  # of a run, by the rule that chooses one: its name in a manifest
_MIX = ("noisygce.losses.Mixup", "noisygce.losses.ELRPlus")  # with an alpha above 0, in manifests that do not say so
STATES = ("done", "running", "stopped", "failed", "unreadable", "missing")


@dataclass(frozen=True)
class Result:
    """One run and how far it is.

    folder: its own, or that of its archive. config: what its id is made from, with dotted keys. manifest: of a finished
    run, else empty. note: why it failed or cannot be read. owner: pid, host and since (seconds since 1970) of a running
    one. job: the overrides that make it, where it was planned.
    """

    id: str
    folder: Path
    state: str
    config: Mapping[str, Any]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    owner: Mapping[str, Any] = field(default_factory=dict)
    archive: Archive | None = field(default=None, repr=False)
    job: tuple[str, ...] = ()

    def number(self, rule: str) -> float | None:
        """Test accuracy, a fraction, under a selection rule, or ``gap``: last - val; None where there is none.

        ``noisy_validation`` needs no test set: accuracy on the noisy validation labels at its best epoch.
        ``label_wave`` needs no validation set: test accuracy at the epoch that ``runs.label_wave`` chooses; None where
        images are mixed.
        """
        if rule == "gap":
            val, last = self.number("val"), self.number("last")
            return None if val is None or last is None else last - val
        if rule == NOISY_VALIDATION:
            return self.noisy_validation["best"]
        return self._label_wave if rule == LABEL_WAVE else self.recorded("results", rule)

    def recorded(self, *keys: str) -> float | None:
        """The number at nested keys of the manifest; None where there is none."""
        found: Any = self.manifest
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, int | float) else None

    @cached_property
    def noisy_validation(self) -> Mapping[str, float | None]:
        """Accuracy on the noisy validation labels, of the ``best`` epoch and the ``last`` one of a finished run."""
        absent = {"best": None, "last": None}
        if self.manifest.get("noisy_validation"):
            return {when: self.recorded("noisy_validation", when) for when in absent}
        return self._of_rows(runs.noisy_validation) or absent

    @property
    def mixes_images(self) -> bool:
        """Whether training saw images mixed in pairs: what it predicted in two epochs is of different mixtures."""
        by_loss = self.config.get("loss._target_") in _MIX and bool(self.config.get("loss.alpha"))
        return by_loss or self.manifest.get("mixes_images", False) is True

    @cached_property
    def _label_wave(self) -> float | None:
        def accuracy(rows: Rows) -> float | None:
            row = None if self.mixes_images else runs.label_wave(rows)
            return self._number(row, "test_accuracy") if row else None

        return self._of_rows(accuracy)

    def _of_rows(self, compute: Callable[[Rows], Any]) -> Any:
        """What a finished run's metrics.csv comes to; None where the file is damaged, which verify names."""
        try:
            return compute(self.rows()) if self.manifest else None
        except (DataError, KeyError, ValueError):
            return None

    @property
    def kept_by(self) -> str:
        """The rule that has chosen the model a finished run keeps: val, or last where nothing was held out."""
        validation = self.manifest.get("noisy_validation", {"best": 0.0})  # which runs of before it was recorded lack
        return "last" if validation["best"] is None else "val"

    @cached_property
    def confusion(self) -> dict[str, dict[str, int]]:
        """How many test samples of a class (outer names) the kept model takes for a class (inner names).

        Empty where a run has kept no predictions. Raises DataError, for a file that was changed.
        """
        from noisygce.runs import artifacts

        named = self.manifest.get("files", {})  # the file is there before the manifest, and complete with it
        if self.archive or artifacts.PREDICTIONS not in named or not (self.folder / artifacts.PREDICTIONS).is_file():
            return {}
        found = artifacts.predictions(self.folder, self.manifest)
        test, classes = found.split == "test", list(enumerate(found.classes))
        counts = Counter(zip(found.given[test], found.predicted[test], strict=True))
        return {true: {other: counts[i, j] for j, other in classes} for i, true in classes} if counts else {}

    def class_accuracy(self, name: str) -> float | None:
        """Of the test samples of a class, the share that the kept model is right about."""
        row = self.confusion.get(name, {})
        samples = sum(row.values())  # none of a class that only training samples have
        return row[name] / samples if samples else None

    def rows(self) -> Rows:
        """The rows of metrics.csv so far, as text; none where there is no file."""
        if self.archive:
            return self.archive.metrics.get(self.id, [])
        return archive.read_rows(self.folder / archive.METRICS)

    def epochs(self) -> list[dict[str, float | None]]:
        """The rows of metrics.csv so far as numbers, an absent one as None. Raises DataError."""
        return [{name: self._number(row, name) for name in row} for row in self.rows()]

    def metrics(self) -> DataFrame:
        """A row an epoch, with the columns of metrics.csv, an absent value as NaN; empty where there is no file."""
        import pandas as pd

        epochs = self.epochs()
        return pd.DataFrame(epochs, dtype=float).astype({"epoch": int} if epochs else {})

    def _number(self, row: Mapping[str, str], name: str) -> float | None:
        try:
            return int(row[name]) if name == "epoch" else float(row[name]) if row[name] else None
        except (TypeError, ValueError):
            raise DataError(f"{self.folder / archive.METRICS} is damaged: {name} is {row[name]!r}") from None


def found(folder: Path | str) -> list[Result]:
    """All runs below ``folder``, each once: those in ``runs``, by name, then those of its archives. Raises OSError
    where ``runs`` cannot be read."""
    each: dict[str, Result] = {}
    for run in (*map(of_folder, _folders(Path(folder) / "runs")), *_archived(Path(folder))):
        if run.id not in each or run.state == "done" != each[run.id].state:  # as ``look`` has it
            each[run.id] = run
    return list(each.values())


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return [folder / name for name in sorted(entry.name for entry in entries if entry.is_dir())]
    except (FileNotFoundError, NotADirectoryError):
        return []


def look(folder: Path, asked: Iterable[tuple[str, Mapping[str, Any], tuple[str, ...]]]) -> list[Result]:
    """What is below ``folder`` of each run that is asked for by its id, what that is made from, and its job."""
    archived, found = {run.id: run for run in _archived(folder)}, []
    for name, made, job in asked:
        own = of_folder(folder / "runs" / name, made)  # if it is finished before one of an archive, as training has it
        run = own if own.state == "done" else archived.get(name, own)
        found.append(replace(run, config=flat(made), job=job))
    return found


def reference() -> Path:
    """The folder of the reference results: of the folder that one is in, else of the checkout of this package."""
    here, ours = Path("results/reference"), Path(__file__).parents[1] / "results" / "reference"
    return here if here.is_dir() else ours


def _archived(folder: Path) -> Iterator[Result]:
    for place in (folder, *_folders(folder)):
        try:
            os.stat(place / archive.RUNS)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:  # of_archive gives the reason
            pass
        yield from of_archive(place)


def of_archive(folder: Path) -> Iterator[Result]:
    """The runs of the archive in ``folder``."""
    whole = Archive(folder)
    for name, found, note in whole.manifests():
        if found is None:
            yield Result(f"{folder.name}/{name}", folder, "unreadable", {}, note=note, archive=whole)
        else:
            yield Result(name, folder, "done", flat(found["config"]), found, archive=whole)


def of_folder(folder: Path, made: Mapping[str, Any] | None = None) -> Result:
    """The run in a folder of its own. made: what its id is made from, where that is known."""
    path, name = folder / "manifest.json", os.path.basename(os.path.abspath(folder))  # also of "."
    try:
        read = manifest.read(path.read_bytes(), name)
        return Result(name, folder, "done", flat(read["config"]), read)
    except (FileNotFoundError, NotADirectoryError):
        state, note, owner = unfinished.state_of(folder)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        state, note, owner = "unreadable", f"{path.name} {reason}", {}
    return Result(name, folder, state, flat(made) if made else unfinished.config(folder), note=note, owner=owner)


def finished(run: str) -> Result:
    """A finished run by its folder, or by its id, also one of the reference. Raises ConfigError or ManifestError."""
    places = [*map(of_folder, (Path(run), Path("results/runs") / run))]
    for place in places:
        if (place.folder / archive.RUNS).is_file():
            raise ConfigError(f"{place.folder}: this is an archive of runs; name one of the reference by its id")
    known = [place for place in places if (place.folder / "manifest.json").is_file()]
    known += [result for result in found(reference()) if result.id == run]
    if not known:
        for begun in places:
            reason = {
                "stopped": "it was stopped; start the same train command again to resume it",
                "running": "it is being trained",
                "failed": begun.note,
            }.get(begun.state)
            if reason is not None:
                raise ConfigError(f"{begun.folder}: this run is not finished: {reason}")
        where = f"results/runs or {reference()}"
        raise ConfigError(f"{run}: there is no finished run of this id in {where}, nor a folder of it")
    if known[0].state != "done":
        raise ManifestError(f"{known[0].folder}: {known[0].note}")
    return known[0]


def with_files(run: str) -> Result:
    """As ``finished``, a run with a folder of its own, which may hold model and predictions. Raises ConfigError."""
    found = finished(run)
    if found.archive:
        raise ConfigError(
            f"{found.id}: the reference has neither model nor predictions; python -m noisygce.reproduce {found.id} "
            "paths.results=again trains this run once more and keeps them"
        )
    return found


def summary(runs: Iterable[Result]) -> str:
    """How many runs there are of each state."""
    counts = Counter(run.state for run in runs)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def frame(results: Iterable[Result] | Path | str) -> DataFrame:
    """One row a run, of these runs or of all below a folder: id, state, the config under dotted keys, each rule's test
    accuracy (a fraction) and their gap, accuracy on noisy validation, realised noise rate, seconds, images/s, device,
    commit and digests; NaN where a run is not done."""
    import pandas as pd

    return pd.DataFrame([_row(result) for result in (found(results) if isinstance(results, Path | str) else results)])


def _row(r: Result) -> dict[str, Any]:
    m = r.manifest
    noise = m.get("noise", {})
    return {
        "run_id": r.id,
        "state": r.state,
        **{k: json.dumps(v) if isinstance(v, list) else v for k, v in r.config.items()},
        **{rule: r.number(rule) for rule in (*runs.RULES, "gap", NOISY_VALIDATION, LABEL_WAVE)},
        **{f"noisy_validation_{when}": r.noisy_validation[when] for when in ("best", "last")},
        "realised_rate": noise.get("realised_rate"),
        **{key: m.get(key) for key in ("seconds", "images_per_s", "device", "threads", "commit", "dirty")},
        "labels_sha256": noise.get("labels_sha256"),
        "state_sha256": m.get("state_sha256"),
        "note": r.note,
    }
