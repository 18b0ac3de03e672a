"""Which samples a run trains on, which it validates and tests with."""

from __future__ import annotations

import numpy as np

from noisygce import check
from noisygce.data.base import Ints
from noisygce.errors import DataError

_STREAM = 2  # keeps the split apart from draws of other purposes (docs/protocol.md, Randomness)


class Split:
    """subset: train on this many samples, stratified by true label, with validation and test cut in proportion (for
    smoke runs); null for all. validation: samples held out of the training set.
    """

    def __init__(self, subset: int | None, validation: int, *, samples: int = 0) -> None:
        """samples: N, where it is known; 0 where it is not yet."""
        most = (samples or 2**31) - 1
        self.validation = check.whole("validation", validation, f"[1, {most}]")
        self.subset = subset
        if subset is not None:
            check.whole("subset", subset, f"[1, {most + 1 - validation}]")

    def __call__(self, labels: Ints, test_labels: Ints, seed: int) -> tuple[Ints, Ints, Ints]:
        """Indices of the training and validation samples, into ``labels`` (N,), and of the test samples."""
        try:
            Split(self.subset, self.validation, samples=len(labels))
        except check.Invalid as error:
            said = f"data.{error.key}={error.value}: there are {len(labels)} training samples in all"
            raise DataError(said) from None
        train, validation = halves(len(labels), self.validation, seed)
        test = np.arange(len(test_labels))
        if self.subset is not None:
            share = self.subset / len(train)
            train = stratified(train, labels, self.subset)
            validation = stratified(validation, labels, max(1, round(share * len(validation))))
            test = stratified(test, test_labels, max(1, round(share * len(test))))
        return train, validation, test


def halves(samples: int, validation: int, seed: int) -> tuple[Ints, Ints]:
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
