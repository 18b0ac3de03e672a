"""``python -m noisygce.verify``: checks finished runs, and the tables made from them, against their files.

    python -m noisygce.verify                                   all below results
    python -m noisygce.verify results/reference                 all below another folder
    python -m noisygce.verify results paths.data=/data          data sets elsewhere, to draw the noisy labels from

Compares each manifest with its ID, config.yaml and metrics.csv, and with transition_hat.json, model.safetensors and
predictions.npz if there are any. If the data set is there, draws the noisy labels again from the config and measures
again, from the predictions, how well they find wrong labels. Reads runs in archives (runs.jsonl) as well as in folders.
Makes tables again from their records (JSON), and names a table that was made when fewer runs were done. Of a report,
compares the runs and the digest of the page. Trains nothing (noisygce.reproduce does) and fetches nothing. Exit code 1
if a run, a folder or a table could not be verified.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noisygce import inputs, results, runs, settings
from noisygce.data import Ints
from noisygce.errors import ConfigError, DataError, MissingCode, MissingData, counted, first_line
from noisygce.losses import Loss
from noisygce.noise import Noise, describe
from noisygce.results import Result
from noisygce.runs import archive, artifacts, manifest
from noisygce.runs.ids import flat
from noisygce.runs.reading import yaml_values
from noisygce.settings import arguments
from noisygce.settings.command import printable
from noisygce.training import detection
from noisygce.training.task import corrupted


class Unchecked(Exception):
    """Why a part of a run could not be verified here; no fault of the run."""


class Verifier:
    """data_root: where data sets lie."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self.drawn: dict[str, tuple[dict[str, Any], Ints | None]] = {}  # every loss of a seed shares its labels

    def faults(self, run: Result) -> tuple[list[str], list[str]]:
        """The faults of a finished run, and the reasons why a part of it could not be verified."""
        if run.state != "done":
            return [run.note], []
        wrong: list[str] = []
        unchecked: list[str] = []
        for part in (config, metrics, calibration, files, self.noise, self.detection):
            try:
                wrong += part(run)
            except (Unchecked, MissingCode) as reason:
                unchecked.append(str(reason))
            except Exception as error:  # whatever a damaged file leads to: the other runs are verified all the same
                wrong.append(f"{part.__name__} cannot be read: {first_line(error)}")
        return wrong, unchecked

    def noise(self, run: Result) -> Iterator[str]:
        """The noisy labels, drawn again, have the digest, the rate and the transition matrix of the manifest."""
        recorded, own = run.manifest["noise"], run.manifest["config"]
        if own["numerics"] != runs.NUMERICS:
            raise Unchecked(f"made with NUMERICS {own['numerics']}, this code has {runs.NUMERICS}")
        if other := runs.older(own, "data", "noise"):
            raise Unchecked(f"made with {other}")
        given = own["noise"].get("sha256", recorded["labels_sha256"])
        if given != recorded["labels_sha256"]:
            yield f"noise.labels_sha256 is {_short(recorded['labels_sha256'])}, its config has {_short(given)}"
            return
        which = _labels(own)
        try:
            if which not in self.drawn:
                self.drawn[which] = self.draw(own)
        except MissingData as error:
            raise Unchecked(str(error)) from None
        except DataError as error:
            yield str(error)
            return
        for name, value in self.drawn[which][0].items():
            if recorded[name] != value:
                yield f"noise.{name} is {_short(recorded[name])}, its config draws {_short(value)}"

    def detection(self, run: Result) -> Iterator[str]:
        """The predictions and the true labels give the recorded measures of how well the model finds wrong labels."""
        recorded, path = run.manifest.get("detection"), run.folder / artifacts.PREDICTIONS
        drawn = self.drawn.get(_labels(run.manifest["config"]))
        if run.archive or recorded is None or drawn is None or not path.is_file() or list(files(run)):
            return  # or another check gives the reason
        predictions, clean = artifacts.predictions(run.folder, run.manifest), drawn[1]
        train = predictions.split == "train"
        wrong = None if clean is None else predictions.given[train] != clean[predictions.index[train]]
        scores = {name: getattr(predictions, column)[train] for name, column in detection.SCORES.items()}
        prunes = settings.named(run.manifest["config"]["loss"]["_target_"], Loss, "loss").prunes
        model = results.MODELS[run.kept_by]
        measured = {
            model: detection.measure(scores, wrong),
            "pruned": detection.of_pruned(predictions.kept[train], wrong if prunes else None),
        }
        was = flat(recorded)
        for name, value in flat(measured).items():
            if not manifest.same(was.get(name), value):
                yield f"detection.{name} is {was.get(name)}, {artifacts.PREDICTIONS} gives {value}"

    def draw(self, config: Mapping[str, Any]) -> tuple[dict[str, Any], Ints | None]:
        """What a manifest says of noisy labels, from its config alone; and the true labels (N,), where they are known.
        Raises Unchecked or DataError."""
        cfg = settings.node({key: config[key] for key in ("data", "noise")})
        data, noise = settings.build_data(cfg.data)[0], settings.build(cfg.noise, Noise, "noise")
        if missing := [name for name in (*noise.files, *data.files) if not (self.data_root / name).is_file()]:
            raise Unchecked(f"{missing[0]} is not in {self.data_root} (paths.data=FOLDER)")
        try:
            arrays = data.load(self.data_root)  # which keeps what it has read last: many runs share a data set
        except DataError as error:
            raise Unchecked(str(error)) from None
        if other := runs.changed(config, data, self.data_root, noise=noise):
            raise Unchecked(f"{other} holds something else now")
        arrays, noisy, clean, _ = corrupted(arrays, noise, config["seed"], self.data_root)
        return describe(noise.rate, clean, noisy, len(arrays.classes)), clean if arrays.truth else None


def _labels(config: Mapping[str, Any]) -> str:
    """What noisy labels are drawn from."""
    return json.dumps([config["data"], config["noise"], config["seed"], config.get("contents")], sort_keys=True)


def config(run: Result) -> Iterator[str]:
    """config.yaml, where the run has a folder of its own, is the config of the manifest."""
    if not run.archive and yaml_values((run.folder / "config.yaml").read_text()) != run.manifest["config"]:
        yield "config.yaml differs from the config in manifest.json"


def metrics(run: Result) -> Iterator[str]:
    """metrics.csv has each epoch once, and its rows give the accuracies under every selection rule."""
    rows = run.rows()
    epochs = run.manifest["config"]["schedule"]["epochs"]
    if [row["epoch"] for row in rows] != [str(epoch + 1) for epoch in range(epochs)]:
        yield f"metrics.csv does not have the epochs 1 to {epochs}, each once"
        return
    digest = run.manifest.get("metrics_sha256")  # which older runs lack
    if digest and digest != archive.digest(rows):
        yield f"metrics_sha256 is {_short(digest)}, metrics.csv has {_short(archive.digest(rows))}"
    for rule, value in runs.select(rows).items():
        if not manifest.same(recorded := run.manifest["results"][rule], value):
            yield f"results.{rule} is {recorded}, metrics.csv gives {value}"
    validation = run.manifest.get("noisy_validation", {})  # which older runs lack
    for when, share in runs.noisy_validation(rows).items():
        if validation and validation[when] != share:
            yield f"noisy_validation.{when} is {validation[when]}, metrics.csv gives {share}"


def calibration(run: Result) -> Iterator[str]:
    """The bins of a calibration give its expected calibration error, as far as their six digits allow."""
    for model, found in run.manifest.get("calibration", {}).items():  # which older runs lack
        if found:
            plain = found["plain"]
            n = sum(b["count"] for b in plain["bins"])
            ece = sum(b["count"] * abs(b["accuracy"] - b["confidence"]) for b in plain["bins"]) / n
            if abs(ece - plain["ece"]) > 1e-5:
                yield f"calibration.{model}.plain.ece is {plain['ece']}, its bins give {ece:.6f}"


def files(run: Result) -> Iterator[str]:
    """The model, the predictions and the estimates of T, where they are there, have the digests in the manifest.

    A published run comes without estimates: only the runs trained from it need them, and they say so.
    """
    if run.archive:
        return
    yield from artifacts.faults(run.folder, run.manifest)
    if (path := run.folder / "transition_hat.json").is_file():
        found, given = inputs.sha256(path), run.manifest.get("transition_hat_sha256")
        if found != given:
            yield f"transition_hat_sha256 is {given}, transition_hat.json has {found}"


def finished(folder: Path) -> Iterator[Result]:
    """The finished and the unreadable runs anywhere below ``folder``: those in folders ``runs`` and those of archives,
    or that in ``folder`` itself. A manifest elsewhere is a copy, such as the one that MLflow keeps. A folder that
    cannot be read is an unreadable run."""
    unreadable: list[OSError] = []
    single, archives = [], []
    linked = folder / "runs"  # where this is a link, to another disk, walk does not follow it
    tops = [folder, linked] if linked.is_symlink() else [folder]
    for name, _, files in itertools.chain(*(os.walk(top, onerror=unreadable.append) for top in tops)):
        here = Path(name)
        if "manifest.json" in files and (here == folder or here.absolute().parent.name == "runs"):
            single.append(here)
        if archive.RUNS in files:
            archives.append(here)
    for error in unreadable:
        if isinstance(error, FileNotFoundError):  # deleted meanwhile, or never there
            continue
        place = Path(error.filename)
        yield Result(place.name, place, "unreadable", {}, note=f"this folder cannot be read: {error.strerror}")
    yield from map(results.of_folder, sorted(single))
    for here in sorted(archives):
        yield from results.of_archive(here)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 70 else f"{text[:67]}..."


def verify(folder: Path, data_root: Path) -> bool:
    """Prints the faults of the finished runs and the tables below ``folder``; whether there is none."""
    from noisygce.view import records

    verifier = Verifier(data_root)
    found, bad, skipped, reasons = 0, 0, 0, dict[str, None]()
    for run in finished(folder):
        wrong, unchecked = verifier.faults(run)
        for fault in wrong:
            print(printable(f"{run.folder}{f': {run.id}' if run.archive else ''}: {fault}"))
        found, bad, skipped = found + 1, bad + bool(wrong), skipped + bool(unchecked)
        reasons |= dict.fromkeys(unchecked)
    tables, wrong_tables = 0, 0
    for path, fault in records.verified(folder):
        tables, wrong_tables = tables + 1, wrong_tables + bool(fault)
        if fault:
            print(printable(f"{path}: {fault}"))
    if not found and not tables:
        raise ConfigError(f"{folder}: there is no finished run below this folder")
    print(printable(f"{found - bad} of {found} finished runs below {folder} are what they say"))
    if tables:
        print(f"{tables - wrong_tables} of {tables} files of tables and reports are what the runs give")
    if skipped:
        print(printable(f"{counted(skipped, 'run')} could be verified in part only: {'; '.join(reasons)}"))
    return not bad and not wrong_tables


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Verifies the folder that the words name; exits with 1 where something is wrong."""
    folders = [word for word in argv if "=" not in word or Path(word).exists()]
    overrides = [word for word in argv if word not in folders]
    if len(folders) > 1 or any(folder.startswith("-") for folder in folders):
        raise ConfigError(f"{' '.join(folders)}: name one folder, such as results/reference; --help says more")
    for override in overrides:
        if not override.startswith(("paths.", "hydra.searchpath=")):
            raise ConfigError(f"{override}: runs are verified as they are; only paths.data and paths.results are free")
    experiment = settings.read(settings.compose(overrides))
    sys.exit(not verify(Path(folders[0] if folders else experiment.paths.results), experiment.paths.data))


if __name__ == "__main__":
    main()
