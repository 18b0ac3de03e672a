"""Tasks: what a run trains on, a data set with noisy labels and a split.

N training samples (validation included), K classes. The path of a label: files (MD5 checked) -> ``Arrays`` -> noise
over all N labels, before the split -> training and validation indices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisygce.data import Arrays, Cifar100, Data, Ints
from noisygce.noise import Noise, empirical_transition

_STREAM = 2  # keeps the split apart from draws of other purposes (docs/protocol.md, Randomness)


@dataclass(frozen=True)
class Task:
    """What one run trains on. ``clean`` is read by reports only and never fed back into training; -1: no class."""

    arrays: Arrays
    noisy: Ints  # (N,)
    clean: Ints  # (N,)
    train: Ints  # indices into N
    validation: Ints
    test: Ints  # indices into the test set
    transition: NDArray[np.float64]  # T of the noise (K, K); where it depends on more than the class, as realised


def prepare(data: Data, noise: Noise, seed: int, root: Path) -> Task:
    """The task of a run: noisy labels over all of the training set, then the split, then the subset."""
    published = data.load(root)
    arrays, noisy, clean, transition = corrupted(published, noise, seed, root)
    train, validation = split(len(noisy), data.validation, seed)
    test = np.arange(len(arrays.test_labels))
    if data.subset is not None:
        share = data.subset / len(train)
        train = stratified(train, arrays.train_labels, data.subset)
        validation = stratified(validation, arrays.train_labels, max(1, round(share * len(validation))))
        test = stratified(test, arrays.test_labels, max(1, round(share * len(test))))
    return Task(arrays, noisy, clean, train, validation, test, transition)


def corrupted(arrays: Arrays, noise: Noise, seed: int, root: Path) -> tuple[Arrays, Ints, Ints, NDArray[np.float64]]:
    """What noise makes of a data set: its images, noisy labels (N,), true labels (N,) and T (K, K)."""
    labels = arrays.train_labels
    noise.bind(root, labels, arrays.classes)
    noisy = noise.draw(labels, arrays.train_images, arrays.classes, seed)
    transition = noise.transition(arrays.classes)
    if transition is None:
        transition = empirical_transition(labels, noisy, len(arrays.classes))
    images, clean = noise.replace(arrays.train_images, labels, lambda: _cifar100(root), seed)
    return replace(arrays, train_images=images), noisy, clean, transition


def _cifar100(root: Path) -> NDArray[np.uint8]:
    """The training images of CIFAR-100."""
    how = {"subset": None, "validation": 1, "normalise": "channel", "mean": [0.5] * 3, "std": [0.5] * 3}
    return Cifar100(**how, padding=0, flip=False, class_map="next").load(root).train_images  # type: ignore[arg-type]


def split(samples: int, validation: int, seed: int) -> tuple[Ints, Ints]:
    """Indices of the training and the validation samples: a random order by seed, its last ``validation`` held out."""
    keys = np.random.PCG64(np.random.SeedSequence([seed, _STREAM])).random_raw(samples)
    order = np.argsort(keys, kind="stable")
    return order[: samples - validation], order[samples - validation :]


def stratified(indices: Ints, labels: Ints, size: int) -> Ints:
    """``size`` of the indices, each class in proportion (to within one), the first of each class in the given order."""
    own = labels[indices]
    rank = np.empty(len(own))  # position among the samples of its class, as a share of the class
    for y in np.unique(own):
        members = np.flatnonzero(own == y)
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    return indices[np.sort(np.argsort(rank, kind="stable")[:size])]
