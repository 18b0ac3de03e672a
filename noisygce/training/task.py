"""Tasks: what a run trains on, a data set with noisy labels and a split.

N training samples (validation included), K classes. The path of a label: files (MD5 checked) -> ``Arrays`` -> noise
over all N labels, before the split -> training and validation indices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from noisygce import check
from noisygce.data import Arrays, Cifar100, Data, Images, Ints, Split, Verdicts, fault_of
from noisygce.errors import DataError, UserCodeError, defined, user_code_error
from noisygce.noise import Matrix, Noise, empirical_transition


@dataclass(frozen=True)
class Task:
    """What one run trains on. ``clean`` is read by reports only and never fed back into training; -1: no class."""

    arrays: Arrays
    noisy: Ints  # (N,) drawn, and then as people say
    drawn: Ints  # (N,) as noise has made them
    clean: Ints  # (N,); true only where ``arrays.truth``
    train: Ints  # indices into N
    validation: Ints  # none where nothing is held out
    test: Ints  # indices into the test set
    transition: Matrix  # T of the noise (K, K); where it depends on more than the class, as realised
    verdicts: Mapping[str, int] = field(default_factory=dict)  # how many of each kind people have given


def prepare(data: Data, split: Split, verdicts: Verdicts, noise: Noise, seed: int, root: Path) -> Task:
    """The task of a run: noisy labels over all of the training set, then what people say of them, then the split."""
    published = data.load(root)
    arrays, drawn, clean, transition = corrupted(published, noise, seed, root)
    noisy, stay, judged = verdicts(root, drawn, arrays.classes, arrays.train_names)
    train, validation, test = split(published.train_labels, published.test_labels, seed)
    train, validation = train[stay[train]], validation[stay[validation]]
    for name, left, needed in (("training", train, True), ("validation", validation, split.holds_out)):
        if needed and not len(left):
            raise DataError(f"data.verdicts drops every {name} sample; nothing could be trained or selected by")
    return Task(arrays, noisy, drawn, clean, train, validation, test, transition, judged)


def corrupted(arrays: Arrays, noise: Noise, seed: int, root: Path) -> tuple[Arrays, Ints, Ints, Matrix]:
    """What noise makes of a data set: its images, noisy labels (N,), true labels (N,) and T (K, K).

    Of labels that are not known to be true, those that drawn noise has changed are known to be wrong, no others.
    """
    labels = arrays.train_labels
    seed = seed if noise.seed is None else noise.seed
    noise.sample_names = arrays.train_names
    noise.bind(root, labels.copy(), arrays.classes)
    try:
        noisy, transition = _drawn(noise, arrays, seed)
        images, clean = _replaced(noise, arrays, seed, root)
    except check.Invalid:
        raise
    except (ValueError, NotImplementedError) as error:
        raise user_code_error(error) or UserCodeError(f"{defined(type(noise))}: {error}") from None
    if transition is None:
        transition = empirical_transition(labels, noisy, len(arrays.classes))
    truth = arrays.truth or noise.makes_wrong
    return replace(arrays, train_images=images, truth=truth), noisy, clean, transition


def _drawn(noise: Noise, arrays: Arrays, seed: int) -> tuple[Ints, Matrix | None]:
    """Noisy labels (N,) and T (K, K) or None, as a noise gives them. Raises ValueError where they cannot be."""
    labels, k = arrays.train_labels, len(arrays.classes)
    images = arrays.train_images.view()
    images.flags.writeable = False  # the next run of this process takes the same
    noisy = _whole("draw must give", noise.draw(labels.copy(), images, arrays.classes, seed), labels, 0, k)
    transition = noise.transition(arrays.classes)
    if transition is not None and np.shape(transition) != (k, k):
        raise ValueError(f"transition must be ({k}, {k}), not {np.shape(transition)}")
    return noisy, None if transition is None else np.asarray(transition, np.float64)


def _replaced(noise: Noise, arrays: Arrays, seed: int, root: Path) -> tuple[Images, Ints]:
    """Images and true labels (N,) as a noise makes them. Raises ValueError where they cannot be."""
    images, labels = arrays.train_images, arrays.train_labels
    if type(noise).replace is Noise.replace:
        return images, labels
    found = noise.replace(images.copy(), labels.copy(), lambda: Cifar100().load(root).train_images, seed)
    if not isinstance(found, tuple) or len(found) != 2:
        raise ValueError(f"replace must give images and their true labels, not {type(found).__name__}")
    clean = _whole("replace must give true labels,", found[1], labels, -1, len(arrays.classes))
    if fault := fault_of(replace(arrays, train_images=found[0])):
        raise ValueError(f"of the images of replace, {fault}")
    return found[0], clean


def _whole(what: str, found: Any, labels: Ints, low: int, classes: int) -> Ints:
    """An integer in ``low``..K-1 for each label. Raises ValueError."""
    each = np.asarray(found)
    if each.shape != labels.shape or each.dtype.kind not in "iu" or not low <= each.min() <= each.max() < classes:
        raise ValueError(f"{what} {len(labels)} integers in {low}..{classes - 1}")
    return each.astype(np.int64, copy=False)
