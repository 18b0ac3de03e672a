"""Losses for learning with noisy labels, one paper a file.

    from noisygce.losses import GCE
    criterion = GCE(q=0.7)
    criterion(logits, labels).backward()

Shapes: logits (B, K) of any floating type, labels (B,) integers in 0..K-1; B batch, K classes, N training samples.
Each loss is a class that holds its parameters, with its formula in the docstring and in ``per_sample``, (B,).
Everything is computed in float32 from log_softmax (float64 if the logits are), whatever the precision of the network:
p = softmax(logits), p_y the probability of the given label. Value and gradient are finite for logit gaps up to 1e4.

    what every loss is         base.py; probabilities.py: log p of logits
    functions of p_y           gce.py (ce, mae, gce, tgce) agce.py (agce, aul, ael) focal.py js.py phuber.py rce.py
                               taylor.py
    functions of all of p      bi_tempered.py bootstrap.py eps_softmax.py forward.py (forward, backward: with T)
                               label_smoothing.py ldr_kl.py nce.py
    of more than one output    js.py (gjs: two views) elr.py (what the network said before) sop.py (what it learns
                               of each label)
    with a T that is learned   volminnet.py t_revision.py
    of two networks            co_teaching.py (co_teaching, co_teaching_plus) jocor.py; small_loss.py: which samples;
                               elr.py (elr_plus)
    of other losses            weighted_sum.py logit_clip.py mixup.py (mixed images)
    as a torch.nn.Module       torch.py

Importing this imports no torch (torch.py does): the tensors bring their methods with them, and a wrong parameter is
refused at once.
"""

from noisygce.losses.agce import AEL, AGCE, AUL
from noisygce.losses.base import Learned, Loss
from noisygce.losses.bi_tempered import BiTempered
from noisygce.losses.bootstrap import BootstrapHard, BootstrapSoft
from noisygce.losses.co_teaching import CoTeaching, CoTeachingPlus
from noisygce.losses.elr import ELR, ELRPlus
from noisygce.losses.eps_softmax import EpsSoftmaxCE
from noisygce.losses.focal import Focal
from noisygce.losses.forward import Backward, DualT, Forward, ForwardHat
from noisygce.losses.gce import CE, GCE, MAE, TruncatedGCE
from noisygce.losses.jocor import JoCoR
from noisygce.losses.js import GJS, JS
from noisygce.losses.label_smoothing import LabelSmoothing
from noisygce.losses.ldr_kl import LDRKL
from noisygce.losses.logit_clip import LogitClip
from noisygce.losses.mixup import Mixup
from noisygce.losses.nce import NCE, NFL, NGCE
from noisygce.losses.phuber import PHuber, PHuberGCE
from noisygce.losses.probabilities import log_p, log_softmax
from noisygce.losses.rce import RCE
from noisygce.losses.sop import SOP
from noisygce.losses.t_revision import TRevision
from noisygce.losses.taylor import Taylor
from noisygce.losses.volminnet import VolMinNet
from noisygce.losses.weighted_sum import WeightedSum

__all__ = [
    "AEL",
    "AGCE",
    "AUL",
    "CE",
    "ELR",
    "GCE",
    "GJS",
    "JS",
    "LDRKL",
    "MAE",
    "NCE",
    "NFL",
    "NGCE",
    "RCE",
    "SOP",
    "Backward",
    "BiTempered",
    "BootstrapHard",
    "BootstrapSoft",
    "CoTeaching",
    "CoTeachingPlus",
    "DualT",
    "ELRPlus",
    "EpsSoftmaxCE",
    "Focal",
    "Forward",
    "ForwardHat",
    "JoCoR",
    "LabelSmoothing",
    "Learned",
    "LogitClip",
    "Loss",
    "Mixup",
    "PHuber",
    "PHuberGCE",
    "TRevision",
    "Taylor",
    "TruncatedGCE",
    "VolMinNet",
    "WeightedSum",
    "log_p",
    "log_softmax",
]
