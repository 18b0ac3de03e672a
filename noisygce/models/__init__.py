"""Models: networks, and the trained ones that runs keep. Torch is imported inside functions.

base.py    the class Model; CIFAR ResNet-18 and -34, compact networks for a CPU
resnet.py  the basic block of a ResNet
peers.py   several networks as one, for losses that train two
saved.py   model.safetensors: a trained network, what it expects of a picture and what its outputs mean

May import check and errors.
"""

from noisygce.models.base import CompactResNet, ConvNet, Model, ResNet
from noisygce.models.saved import Preprocess, Trained, load

__all__ = ["CompactResNet", "ConvNet", "Model", "Preprocess", "ResNet", "Trained", "load"]
