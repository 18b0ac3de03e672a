"""Labels that people gave: CIFAR-10N and CIFAR-100N (Wei et al. 2022, arXiv 2110.12088); and a synthetic twin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noisygce import check
from noisygce.cifar import CLASSES
from noisygce.errors import ConfigError, DataError, MissingData
from noisygce.noise import files
from noisygce.noise.base import Given, Labels, Matrix, Noise, check_rate, empirical_transition, realised_rate

SETS = {  # file below the data root, name of the labels in it
    "aggre": ("CIFAR-10_human.pt", "aggre_label"),
    "random1": ("CIFAR-10_human.pt", "random_label1"),
    "random2": ("CIFAR-10_human.pt", "random_label2"),
    "random3": ("CIFAR-10_human.pt", "random_label3"),
    "worse": ("CIFAR-10_human.pt", "worse_label"),
    "noisy": ("CIFAR-100_human.pt", "noisy_label"),
}
OF = {"CIFAR-10_human.pt": "cifar10", "CIFAR-100_human.pt": "cifar100"}  # the leaf of the data set that it labels anew


class Human(Given):
    """The labels that people gave the training images on Mechanical Turk (Wei et al. 2022, arXiv 2110.12088).

    set: of CIFAR-10N, random1..3 (one of three annotators), aggre (their majority) or worse (a wrong one where there
    is); of CIFAR-100N, noisy. rate: share of wrong labels in the set, to four decimals; the leaf knows it. Nothing is
    drawn: every seed has the same labels. The file's own true labels must equal the data set's, in order.
    """

    def __init__(self, rate: float, set: str) -> None:
        self.set = check.choice("set", set, SETS)
        super().__init__(rate, None)

    def fits(self, classes: Sequence[str], side: int, channels: int) -> None:
        if classes:
            _check_classes(classes, self.set)

    def bind(self, root: Path, labels: Labels, classes: Sequence[str]) -> None:
        _check_classes(classes, self.set)
        self._given = read(root, self.set, labels)
        check_rate(self.rate, realised_rate(labels, self._given), self.set)


class HumanTwin(Human):
    """Synthetic noise with the T of a human set: the share of each given label among the images of each class.

    As in Wei et al. 2022 (arXiv 2110.12088), to tell what is human about human noise from its T.
    set, rate: as in ``Human``; labels are drawn by seed.
    """

    draw = Noise.draw

    def __init__(self, rate: float, seed: int | None, set: str) -> None:
        self.set = check.choice("set", set, SETS)
        Noise.__init__(self, rate, seed)

    def bind(self, root: Path, labels: Labels, classes: Sequence[str]) -> None:
        super().bind(root, labels, classes)
        self._transition = empirical_transition(labels, self._given, len(classes))

    def transition(self, classes: Sequence[str]) -> Matrix:
        return self._transition


def _check_classes(classes: Sequence[str], name: str) -> None:
    data = OF[SETS[name][0]]
    if {*classes} != CLASSES[data]:
        raise ConfigError(f"noise.set={name}: people gave these labels to data={data}; take another noise")


def read(root: Path, name: str, labels: Labels) -> Labels:
    """The labels (N,) of a set, its true labels being found equal to ``labels``. Raises DataError."""
    file, key = SETS[name]
    path = root / file
    if not path.is_file():
        raise MissingData(f"{path} is missing; it is in the data folder of github.com/UCSC-REAL/cifar-10-100n")
    try:
        content = files.by_torch(path)
        clean, given = (np.asarray(content[k]).astype(np.int64) for k in ("clean_label", key))
    except Exception as error:  # a pickle can go wrong in any way
        raise DataError(f"{path} is not the file of CIFAR-N: {error}") from None
    if not np.array_equal(clean, labels):
        raise DataError(f"{path} does not fit the data set: its clean_label must be the training labels, in order")
    if given.shape != labels.shape or given.min() < 0 or given.max() > labels.max():
        raise DataError(f"{path}: {key} must hold {len(labels)} labels in 0..{labels.max()}")
    return given
