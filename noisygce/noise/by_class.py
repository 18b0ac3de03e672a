"""Noise that depends on the true class alone: a transition matrix T (K, K)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from noisygce import check
from noisygce.cifar import CLASSES, SUPERCLASSES
from noisygce.errors import ConfigError
from noisygce.noise.base import Images, Labels, Matrix, Noise, corrupt, corrupt_exactly


class Clean(Noise):
    """No noise: T = I."""

    makes_wrong = False

    def __init__(self, rate: float, seed: int | None) -> None:
        if rate != 0:
            raise check.Invalid("rate", rate, "0 with noise=clean")
        super().__init__(rate, seed)

    def transition(self, classes: Sequence[str]) -> Matrix:
        return np.eye(len(classes))


class Uniform(Noise):
    """Symmetric noise: 1 - r on the diagonal, r / (K - 1) elsewhere (Zhang & Sabuncu 2018, section 4).

    include_true: the other definition in use (DivideMix, ELR): with probability r a label is drawn from all K
    classes, the true one among them: r / K everywhere plus 1 - r on the diagonal, real rate r (K - 1) / K.
    exact: of each class exactly that share of labels turns wrong (Active-Passive-Losses), not each by itself.
    """

    def __init__(self, rate: float, seed: int | None, include_true: bool, exact: bool) -> None:
        super().__init__(rate, seed)
        self.include_true = check.flag("include_true", include_true)
        self.exact = check.flag("exact", exact)

    def transition(self, classes: Sequence[str]) -> Matrix:
        k, r = len(classes), self.rate
        if self.include_true:
            return np.full((k, k), r / k) + (1 - r) * np.eye(k)
        return np.full((k, k), r / (k - 1)) + (1 - r - r / (k - 1)) * np.eye(k)

    def draw(self, labels: Labels, images: Images, classes: Sequence[str], seed: int) -> Labels:
        draw = corrupt_exactly if self.exact else corrupt
        return draw(labels, self.transition(classes), seed)


class Pair(Noise):
    """Pair flipping: y -> y + 1 mod K with probability r (Han et al. 2018, Co-teaching, arXiv 1804.06872)."""

    def transition(self, classes: Sequence[str]) -> Matrix:
        return flipping(self.rate, len(classes), _cycle(range(len(classes))))


class OfClasses(Noise):
    """A T that only some classes have: whether they are these is known before any file is read."""

    def fits(self, classes: Sequence[str], side: int, channels: int) -> None:
        if classes:
            self.transition(classes)


class Superclass(OfClasses):
    """CIFAR-100: each class turns into the next of the 5 of its superclass, cyclically, with probability r.

    In alphabetical order (Patrini et al. 2017, arXiv 1609.03683; superclasses: Krizhevsky 2009).
    """

    def transition(self, classes: Sequence[str]) -> Matrix:
        if sorted(classes) != sorted(CLASSES["cifar100"]):
            raise ConfigError("noise=superclass: superclasses are those of data=cifar100; take another noise")
        groups = ([classes.index(name) for name in group] for group in SUPERCLASSES.values())
        return flipping(self.rate, len(classes), (pair for group in groups for pair in _cycle(group)))


class IndexBlock(OfClasses):
    """Legacy: each class turns into the next of its block of 5 consecutive indices, cyclically, with probability r.

    What much public code calls superclass noise on CIFAR-100. Its indices are alphabetical, so that the blocks are not
    superclasses: apple, aquarium_fish, baby, bear, beaver is one of them.
    """

    def transition(self, classes: Sequence[str]) -> Matrix:
        k = len(classes)
        if k % 5:
            raise ConfigError(f"noise=index_block: the number of classes must be a multiple of 5, it is {k}")
        blocks = (range(first, first + 5) for first in range(0, k, 5))
        return flipping(self.rate, k, (pair for block in blocks for pair in _cycle(block)))


class ClassMap(OfClasses):
    """Class-dependent noise: each class of ``map`` turns into its image with probability r, the others stay clean.

    map: {source: target} of class names (each data leaf brings its own: Patrini et al. 2017, arXiv 1609.03683;
    Zhang & Sabuncu 2018, section 4), or "next" for y -> y + 1 mod K (their CIFAR-100).
    sequential: one pair of the map after the other, each on the labels that the one before has left, as the code of
    APL, ALFs, ELR and GJS does it: T is then the product of the pairs' matrices, in the order of the map. On CIFAR-10
    flipped cats flip back: at 0.4, cat -> dog is 0.24, and 18.4 % of all labels are wrong instead of 20 %.
    exact: each pair moves exactly floor(r n) of the n labels of its source, as these do, not each by itself.
    """

    def __init__(
        self, rate: float, seed: int | None, map: Mapping[str, str] | str, sequential: bool, exact: bool
    ) -> None:
        super().__init__(rate, seed)
        named = isinstance(map, Mapping) and map and all(str(y) != str(z) for y, z in map.items())
        if map != "next" and not named:
            raise check.Invalid("map", map, "next, or {class: another class, ...}")
        self.map: Any = map
        self.sequential = check.flag("sequential", sequential)
        self.exact = check.flag("exact", exact)

    def transition(self, classes: Sequence[str]) -> Matrix:
        return functools.reduce(np.matmul, self._steps(classes))

    def draw(self, labels: Labels, images: Images, classes: Sequence[str], seed: int) -> Labels:
        if not self.exact:
            return corrupt(labels, self.transition(classes), seed)
        for i, step in enumerate(self._steps(classes)):
            labels = corrupt_exactly(labels, step, seed, i + 1)
        return labels

    def _steps(self, classes: Sequence[str]) -> list[Matrix]:
        """T of all pairs at once, or of one after the other."""
        pairs = [*self._pairs(classes)]
        steps = [[pair] for pair in pairs] if self.sequential else [pairs]
        return [flipping(self.rate, len(classes), step) for step in steps]

    def _pairs(self, classes: Sequence[str]) -> Iterable[tuple[int, int]]:
        if self.map == "next":
            return _cycle(range(len(classes)))
        named = [(str(source), str(target)) for source, target in self.map.items()]
        if not {name for pair in named for name in pair} <= {*classes}:
            raise check.Invalid("noise.map", self.map, f"of class names of the data set ({', '.join(classes)})")
        return [(classes.index(source), classes.index(target)) for source, target in named]


def flipping(rate: float, classes: int, pairs: Iterable[tuple[int, int]]) -> Matrix:
    """T (K, K) where y turns into z with probability ``rate`` for each of the ``pairs`` (y, z)."""
    matrix = np.eye(classes)
    for y, z in pairs:
        matrix[y, y] -= rate
        matrix[y, z] += rate
    return matrix


def _cycle(members: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Each member with the next one, the last with the first."""
    return zip(members, (*members[1:], members[0]), strict=True)
