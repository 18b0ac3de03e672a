"""Losses for learning with noisy labels.

    from noisygce.losses import GCE
    criterion = GCE(q=0.7)
    criterion(logits, labels).backward()

Shapes: logits (B, K) of any floating type, labels (B,) integers in 0..K-1; B batch, K classes, N training samples.
Each loss is a pure function ``(logits, labels, ...) -> (B,)`` and a thin class that holds its parameters and reduces.
Everything is computed in float32 from log_softmax (float64 if the logits are), whatever the precision of the network:
p = softmax(logits), p_y the probability of the given label. Value and gradient are finite for logit gaps up to 1e4.

    base.py       the class Loss, log_p, and what a loss may ask of training
    gce.py        cross entropy, MAE, L_q, truncated L_q
    pointwise.py  other functions of p_y alone
    whole.py      functions of all of p
    tempered.py   the bi-tempered loss
    combined.py   weighted sums of two losses
    corrected.py  forward correction by a transition matrix, true or estimated
    stateful.py   losses that remember samples, or see two views of them

No torch is imported here: the tensors bring their methods with them, and a wrong parameter is refused at once.
"""

from noisygce.losses.base import Loss, log_p, log_softmax
from noisygce.losses.combined import WeightedSum
from noisygce.losses.corrected import Forward, ForwardHat
from noisygce.losses.gce import (
    CE,
    GCE,
    MAE,
    TruncatedGCE,
    cross_entropy,
    generalized_cross_entropy,
    mean_absolute_error,
)
from noisygce.losses.pointwise import AGCE, JS, RCE, Focal, PHuber, Taylor
from noisygce.losses.stateful import ELR, GJS
from noisygce.losses.tempered import BiTempered
from noisygce.losses.whole import NCE, BootstrapHard, BootstrapSoft, LabelSmoothing

__all__ = [
    "AGCE",
    "CE",
    "ELR",
    "GCE",
    "GJS",
    "JS",
    "MAE",
    "NCE",
    "RCE",
    "BiTempered",
    "BootstrapHard",
    "BootstrapSoft",
    "Focal",
    "Forward",
    "ForwardHat",
    "LabelSmoothing",
    "Loss",
    "PHuber",
    "Taylor",
    "TruncatedGCE",
    "WeightedSum",
    "cross_entropy",
    "generalized_cross_entropy",
    "log_p",
    "log_softmax",
    "mean_absolute_error",
]
