"""Which samples a run trains on, which it validates and tests with."""

from __future__ import annotations

import numpy as np

from noisygce import check
from noisygce.data.base import Ints
from noisygce.errors import DataError

_STREAM = 2  # keeps the split apart from draws of other purposes (docs/protocol.md, Randomness)


class Split:
    """subset: train on this many samples, stratified by true label, with validation and test cut in proportion (for
    smoke runs); null for all. validation: samples held out of the training set, or, below 1, their share of it; 0 holds
    none out.
    folds, fold: hold out the part number ``fold``, 0..folds-1, of that many equal parts of the same random order
    instead, so that runs with one seed and every fold hold out each sample once; null for no folds.
    """

    def __init__(
        self, subset: int | None, validation: int | float, folds: int | None, fold: int | None, *, samples: int = 0
    ) -> None:
        """samples: N, where it is known; 0 where it is not yet."""
        most = (samples or 2**31) - 1
        if isinstance(validation, float) and 0 < validation < 1:
            self.validation: int | float = validation
        else:
            with check.or_else("or a share in (0, 1)"):
                self.validation = check.whole("validation", validation, f"[0, {most}]")
        self.folds = check.or_null(check.whole, "folds", folds, f"[2, {most + 1}]")
        self.fold = fold
        if folds is None and fold is not None:
            raise check.Invalid("fold", fold, "null where data.folds=null")
        if folds is not None:
            check.whole("fold", fold, f"[0, {folds - 1}]")
        if samples and self._held_out(samples) >= samples:
            raise check.Invalid("validation", validation, f"a share that leaves some of {samples} samples to train on")
        self.subset = check.or_null(check.whole, "subset", subset, f"[1, {most + 1 - self._held_out(most + 1)}]")

    @property
    def holds_out(self) -> bool:
        """Whether there is a validation set."""
        return self.folds is not None or self.validation > 0

    def __call__(self, labels: Ints, test_labels: Ints, seed: int) -> tuple[Ints, Ints, Ints]:
        """Indices of the training and validation samples, into ``labels`` (N,), and of the test samples."""
        count = len(labels)
        try:
            Split(self.subset, self.validation, self.folds, self.fold, samples=count)
        except check.Invalid as error:
            raise DataError(f"data.{error.key}={error.value}: there are {count} training samples in all") from None
        order = shuffled(count, seed)
        last = count if self.fold is None else (self.fold + 1) * count // (self.folds or 1)
        first = last - self._held_out(count)
        train, validation = np.concatenate([order[:first], order[last:]]), order[first:last]
        test = np.arange(len(test_labels))
        if self.subset is not None:
            share = self.subset / len(train)
            train = stratified(train, labels, self.subset)
            validation = _part(validation, labels, share)
            test = _part(test, test_labels, share)
        return train, validation, test

    def _held_out(self, samples: int) -> int:
        """Samples of the validation set."""
        if self.folds is not None and self.fold is not None:
            return (self.fold + 1) * samples // self.folds - self.fold * samples // self.folds
        return max(1, round(self.validation * samples)) if 0 < self.validation < 1 else int(self.validation)


def _part(indices: Ints, labels: Ints, share: float) -> Ints:
    """That share of the indices, stratified, at least one; of none, none."""
    return stratified(indices, labels, max(1, round(share * len(indices)))) if len(indices) else indices


def shuffled(samples: int, seed: int) -> Ints:
    """All indices in a random order by seed; its last ones are held out."""
    keys = np.random.PCG64(np.random.SeedSequence([seed, _STREAM])).random_raw(samples)
    return np.argsort(keys, kind="stable")


def stratified(indices: Ints, labels: Ints, size: int) -> Ints:
    """``size`` of the indices, each class in proportion (to within one), the first of each class in the given order."""
    own = labels[indices]
    rank = np.empty(len(own))  # position among the samples of its class, as a share of the class
    for y in np.unique(own):
        members = np.flatnonzero(own == y)
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    return indices[np.sort(np.argsort(rank, kind="stable")[:size])]
