"""Data sets: where samples come from, which of them a run trains on, how they are fed. NumPy only.

base.py           Arrays; the class Data: files -> Arrays
published.py      files that are fetched and verified by MD5
cifar.py          CIFAR-10, CIFAR-100
fashion_mnist.py  Fashion-MNIST
digits.py         the UCI digits, shipped here
folder.py         a person's own pictures
features.py       a person's own vectors
arrays.py         a person's own images as arrays
own_files.py      what both share: files, arrays, labels
label_table.py    tables of labels that people bring
listing.py        the pictures in a folder, and what is left out
cache.py          digests of files and decoded pictures, in the user's cache folder
remarks.py        what looks odd about labels
split.py          training, validation and test samples
verdicts.py       labels that people have judged
preprocessing.py  normalisation, crop and flip
"""

from noisygce.data.arrays import ImageArrays
from noisygce.data.base import Arrays, Data, Images, Ints, fault_of
from noisygce.data.cifar import Cifar10, Cifar100
from noisygce.data.digits import Digits
from noisygce.data.fashion_mnist import FashionMnist
from noisygce.data.features import Features
from noisygce.data.folder import Folder
from noisygce.data.preprocessing import Preprocessing, Standardisation
from noisygce.data.published import Published
from noisygce.data.split import Split
from noisygce.data.verdicts import Verdicts

__all__ = [
    "Arrays",
    "Cifar10",
    "Cifar100",
    "Data",
    "Digits",
    "FashionMnist",
    "Features",
    "Folder",
    "ImageArrays",
    "Images",
    "Ints",
    "Preprocessing",
    "Published",
    "Split",
    "Standardisation",
    "Verdicts",
    "fault_of",
]
