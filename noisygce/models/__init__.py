"""Models: networks, and the trained ones that runs keep. Modules of layers import torch.

base.py           the class Model: seeds, initial weights, one network or several
networks.py       CIFAR ResNet-18 and -34, an 8-layer CNN, compact networks for a CPU; linear layers
airbench.py       a fast network for CIFAR
timm.py           any network of timm's
own.py            whether a network of one's own can be trained
pretrained.py     weights of ResNets that were trained elsewhere
pool.py           max pools that can be repeated on a GPU; a scale
resnet.py         the basic block of a ResNet
fused.py          batch norm, addition and ReLU of a training step on a GPU, in one
fused_kernels.py  its Triton kernels
peers.py          several networks as one, for losses that train two
saved.py          model.safetensors: a trained network, what it expects of a picture and what its outputs mean

"""

from noisygce.models.airbench import Airbench
from noisygce.models.base import Model
from noisygce.models.networks import CNN, MLP, CompactResNet, ConvNet, ResNet
from noisygce.models.saved import Preprocess, Trained, load
from noisygce.models.timm import Timm

__all__ = [
    "CNN",
    "MLP",
    "Airbench",
    "CompactResNet",
    "ConvNet",
    "Model",
    "Preprocess",
    "ResNet",
    "Timm",
    "Trained",
    "load",
]
