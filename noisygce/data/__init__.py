"""Data sets: files, verified by digest -> ``Arrays``. NumPy only; may import check and errors.

base.py           the class Data, and how files are fetched and verified
cifar.py          CIFAR-10, CIFAR-100
fashion_mnist.py  Fashion-MNIST
digits.py         the UCI digits, shipped here
folder.py         a person's own pictures
"""

from noisygce.data.base import Arrays, Data, Ints
from noisygce.data.cifar import Cifar10, Cifar100
from noisygce.data.digits import Digits
from noisygce.data.fashion_mnist import FashionMnist
from noisygce.data.folder import Folder

__all__ = ["Arrays", "Cifar10", "Cifar100", "Data", "Digits", "FashionMnist", "Folder", "Ints"]
