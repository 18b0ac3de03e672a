"""noisygce: reproducible experiments on learning with noisy labels, around Generalized Cross Entropy."""

__version__ = "0.1.0"
