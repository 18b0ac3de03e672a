"""Label noise: transition matrices, one draw per label, and noise that depends on more than the true label.

``T[y, z] = P(noisy label z | true label y)``; K classes, N samples, rate r. Every draw is a pure function of the true
labels (and images), the noise's values and the seed, so the noisy labels of a seed are the same for every loss.

    base.py      the class Noise, the draw, its realised rate
    by_class.py  uniform, pair, class_map, superclass, ...: a T is all there is
    instance.py  noise that depends on the image
    cifar.py     the classes of CIFAR
    human.py     human label noise, and its synthetic twin
    open_set.py  images of none of the classes
    published.py label sets that papers' authors have published, by name
    from_file.py labels from a file of one's own
    files.py     files of labels, as other code bases write them

NumPy only.
"""

from noisygce.noise.base import (
    Images,
    Labels,
    Matrix,
    Noise,
    corrupt,
    describe,
    digest,
    empirical_transition,
    realised_rate,
    uniforms,
)
from noisygce.noise.by_class import ClassMap, Clean, IndexBlock, Pair, Superclass, Uniform
from noisygce.noise.from_file import FromFile
from noisygce.noise.human import Human, HumanTwin
from noisygce.noise.instance import Instance
from noisygce.noise.open_set import OpenSet
from noisygce.noise.published import Published

__all__ = [
    "ClassMap",
    "Clean",
    "FromFile",
    "Human",
    "HumanTwin",
    "Images",
    "IndexBlock",
    "Instance",
    "Labels",
    "Matrix",
    "Noise",
    "OpenSet",
    "Pair",
    "Published",
    "Superclass",
    "Uniform",
    "corrupt",
    "describe",
    "digest",
    "empirical_transition",
    "realised_rate",
    "uniforms",
]
