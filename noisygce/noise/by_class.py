"""Noise that depends on the true class alone: a transition matrix T (K, K) says it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from noisygce import check
from noisygce.noise.base import Matrix, Noise


class Clean(Noise):
    """No noise: T = I."""

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
    """

    def __init__(self, rate: float, seed: int | None, include_true: bool) -> None:
        super().__init__(rate, seed)
        self.include_true = check.flag("include_true", include_true)

    def transition(self, classes: Sequence[str]) -> Matrix:
        k, r = len(classes), self.rate
        if self.include_true:
            return np.full((k, k), r / k) + (1 - r) * np.eye(k)
        return np.full((k, k), r / (k - 1)) + (1 - r - r / (k - 1)) * np.eye(k)


class Pair(Noise):
    """Pair flipping: y -> y + 1 mod K with probability r (Han et al. 2018, Co-teaching, arXiv 1804.06872)."""

    def transition(self, classes: Sequence[str]) -> Matrix:
        eye = np.eye(len(classes))
        return (1 - self.rate) * eye + self.rate * np.roll(eye, 1, axis=1)


class Superclass(Noise):
    """CIFAR-100: each class turns into the next of the 5 of its superclass, cyclically, with probability r.

    In alphabetical order (Patrini et al. 2017, arXiv 1609.03683; superclasses: Krizhevsky 2009).
    """

    def transition(self, classes: Sequence[str]) -> Matrix:
        if sorted(classes) != sorted(name for group in SUPERCLASSES.values() for name in group):
            raise check.Invalid("noise", "superclass", "another one, since superclasses are those of data=cifar100")
        return self._cyclic([[classes.index(name) for name in group] for group in SUPERCLASSES.values()])

    def _cyclic(self, groups: Sequence[Sequence[int]]) -> Matrix:
        matrix = (1 - self.rate) * np.eye(sum(map(len, groups)))
        for group in groups:
            for y, z in zip(group, [*group[1:], group[0]], strict=True):
                matrix[y, z] += self.rate
        return matrix


class IndexBlock(Superclass):
    """Legacy: each class turns into the next of its block of 5 consecutive indices, cyclically, with probability r.

    What much public code calls superclass noise on CIFAR-100. Its indices are alphabetical, so that the blocks are not
    superclasses: apple, aquarium_fish, baby, bear, beaver is one of them.
    """

    def transition(self, classes: Sequence[str]) -> Matrix:
        if len(classes) % 5:
            raise check.Invalid("noise", "index_block", "another one where the number of classes is no multiple of 5")
        return self._cyclic([list(range(first, first + 5)) for first in range(0, len(classes), 5)])


class ClassMap(Noise):
    """Class-dependent noise: each class of ``map`` turns into its image with probability r, the others stay clean.

    map: {source: target} of class names (each data leaf brings its own: Patrini et al. 2017, arXiv 1609.03683;
    Zhang & Sabuncu 2018, section 4), or "next" for y -> y + 1 mod K (their CIFAR-100).
    """

    def __init__(self, rate: float, seed: int | None, map: Mapping[str, str] | str) -> None:
        super().__init__(rate, seed)
        if map != "next" and not isinstance(map, Mapping):
            raise check.Invalid("map", map, "next, or {class: class, ...}")
        self.map: Any = map

    def transition(self, classes: Sequence[str]) -> Matrix:
        matrix = np.eye(len(classes))
        for source, target in self._pairs(classes):
            matrix[source, source] -= self.rate
            matrix[source, target] += self.rate
        return matrix

    def _pairs(self, classes: Sequence[str]) -> list[tuple[int, int]]:
        if self.map == "next":
            return [(y, (y + 1) % len(classes)) for y in range(len(classes))]
        index = {name: y for y, name in enumerate(classes)}
        for name in (*self.map, *self.map.values()):
            if str(name) not in index:
                raise check.Invalid("noise.map", self.map, f"of class names of the data set ({', '.join(classes)})")
        return [(index[str(source)], index[str(target)]) for source, target in self.map.items()]


SUPERCLASSES = {  # Krizhevsky 2009; members in alphabetical order
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
