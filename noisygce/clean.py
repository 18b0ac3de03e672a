"""``python -m noisygce.clean DATA``: lists the probably wrong labels of your own data, in one command.

    python -m noisygce.clean flowers                  pictures flowers/CLASS/FILE, or flowers/train.csv of FILE,LABEL
    python -m noisygce.clean X.npy y.npy              vectors (N, D), or images uint8 (N, H, W) or (N, H, W, C); labels
    python -m noisygce.clean X.npy y.csv              labels in the last column of a CSV file
    python -m noisygce.clean flowers data.size=64     with any key of noisygce.train

Trains one run with a loss that resists wrong labels (elr) on four fifths of the samples, validates it on the rest, and
lists all samples, the most suspicious first, as noisygce.suspects does: a CSV file, and a page on which to judge them.
The kind and the number of samples choose network and schedule: resnet8, pictures resized to 32x32, 60 epochs for up to
2,000 samples and fewer epochs for more; one hidden layer for vectors. It deletes and changes nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import noisygce
from noisygce import inputs, settings, suspects
from noisygce.errors import ConfigError
from noisygce.settings import arguments
from noisygce.settings.command import printable

if TYPE_CHECKING:
    from pandas import Series

_VISITS = 120_000  # pictures that a run sees in all: 60 epochs of 2,000, two minutes of a CPU core
_GOOD = 0.9  # accuracy below which most doubted labels were right, on Fashion-MNIST and CIFAR-10 (LOG.md, 2026-11-30)
_EPOCHS = (15, 60)  # at least, so that a large set is learnt; at most, as schedule=folder has them


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Trains on the data that the words name, and lists the labels that are probably wrong."""
    options, rest = arguments.take(argv, "top", "out")
    overrides = [word for word in rest if "=" in word and not Path(word).expanduser().exists()]
    words = [
        *_data([word for word in rest if word not in overrides]),
        "loss=elr",
        "noise=clean",
        "rate=0.0",
        *overrides,
    ]
    words = [*words, *_schedule(words)]
    trained = noisygce.run(*words)
    paths = [word for word in words if word.startswith("paths.")]
    own = trained.manifest["config"].get("contents", {})
    files = [word for word in words if word.partition("=")[0] in own]  # a run that was finished names older places
    suspects.run([str(trained.folder), *(f"{key}={value}" for key, value in options.items()), *files, *paths])
    _how_far_to_trust(trained.manifest["noisy_validation"]["best"], trained.predictions["given"])
    place = [f"out={options['out']}"] if "out" in options else []
    again = shlex.join(["python", "-m", "noisygce.suspects", str(trained.folder), *place, *paths])
    print(f"Judge labels on the page and save your verdicts. For a file of clean labels:\n    {again} verdicts=FILE")
    train = shlex.join(["python", "-m", "noisygce.train", *words])
    print(f"It also prints the words to train on your verdicts, after those of this run:\n    {train}")


def _how_far_to_trust(best: float | None, given: Series[Any]) -> None:
    """Prints the accuracy on noisy validation: the share of held-out labels that the model predicts. given (N,): labels
    of all samples, by which always saying the largest class has an accuracy too."""
    if best is None:
        return
    print(f"The model predicts {100 * best:.0f} % of the held-out labels, some of which may be wrong.", end=" ")
    shares = given.value_counts(normalize=True)
    if uneven := 1 - best > (1 - shares.iloc[0]) / 2:  # little better than no model
        largest = printable(str(shares.index[0]))
        print(f"Always saying {largest} would be right for {100 * shares.iloc[0]:.0f} %.", end=" ")
    if uneven or best < _GOOD:
        print("The model may be wrong where it disagrees: judge the labels at the top of the list first.")
    else:
        print("Most labels with which it disagrees are probably wrong.")


def _data(named: Sequence[str]) -> list[str]:
    """The data set that files or a folder are, as words. Raises ConfigError."""
    paths = [Path(name).expanduser() for name in named]
    if missing := [path for path in paths if not path.exists()]:
        raise ConfigError(f"{missing[0]}: there is no such file or folder")
    if len(paths) == 1 and paths[0].is_dir():
        return ["data=folder", _setting("data.folder", paths[0]), _name(paths[0])]
    kinds = [path.suffix.lower() for path in paths]
    if len(paths) != 2 or kinds[0] != ".npy" or kinds[1] not in (".npy", ".csv"):
        raise ConfigError("name a folder of pictures, or two files: X.npy y.npy, or X.npy y.csv; --help shows examples")
    try:
        dimensions = np.load(paths[0], mmap_mode="r", allow_pickle=False).ndim
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{paths[0]} is not an .npy file of numbers: {inputs.no_array(error)}") from None
    kind, key = ("features", "features") if dimensions == 2 else ("arrays", "images")
    files = {f"data.{key}": paths[0], "data.labels": paths[1]}
    return [f"data={kind}", *(_setting(*each) for each in files.items()), _name(paths[0])]


def _setting(key: str, path: Path) -> str:
    return settings.setting(key, str(path.resolve()))


def _name(path: Path) -> str:
    """A name for the data set, as a config can hold it."""
    name = re.sub(r"\W+", "_", path.resolve().stem, flags=re.ASCII)[:40].strip("_")
    return settings.setting("data.name", name or "data")


def _schedule(words: Sequence[str]) -> list[str]:
    """Network and epochs for the number of samples, where they are pictures and the words choose none."""
    chosen = {word.partition("=")[0] for word in words}
    if "data=features" in words:
        return []
    experiment = settings.read(settings.compose(list(words)))
    samples = experiment.split.subset or len(experiment.data.load(experiment.paths.data).train_labels)
    epochs = min(max(_VISITS // samples, _EPOCHS[0]), _EPOCHS[1])
    picked = {"model": "resnet8", "schedule": "folder"}
    found = [f"{key}={value}" for key, value in picked.items() if key not in chosen]
    if not {key for key in chosen if key.partition(".")[0] == "schedule"} and epochs < _EPOCHS[1]:
        found += [f"schedule.epochs={epochs}", f"schedule.milestones=[{epochs * 2 // 3},{epochs * 5 // 6}]"]
    return found


if __name__ == "__main__":
    main()
