"""Gradients of every loss, first and second, lie between one-sided differences at any logits; wrong labels raise.

Zeros, ties, gaps above 100 and classes whose probability is exactly 0 are among the logits: there a formula that is
right elsewhere can have a gradient of another function.
"""

from __future__ import annotations

import copy
import functools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from noisygce import losses, settings
from noisygce.losses import Loss
from noisygce.losses.probabilities import pick

LEAVES = sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml"))
VARIANTS = [
    "agce loss.a=0.001 loss.q=0.01",
    "agce loss.a=3 loss.q=2.5",
    "aul loss.a=1.001 loss.q=0.1",
    "backward loss.clip=1e-7",
    "bi_tempered loss.t1=0.2 loss.t2=0.3",
    "bi_tempered loss.t1=1 loss.t2=0.6",
    "bi_tempered loss.t1=0 loss.t2=4",
    "bi_tempered loss.t1=0.5 loss.t2=0.7",
    "bi_tempered loss.t1=1 loss.t2=2",
    "bootstrap_soft loss.clip=1e-7",
    "ce_lc loss.above=0.01",
    "co_teaching loss.forget_rate=0",
    "focal loss.g=0.1",
    "focal loss.g=2",
    "forward loss.clip=1e-7",
    "gce loss.q=0.05",
    "gce loss.q=1",
    "label_smoothing loss.s=-1",
    "gjs loss.pi=0.999",
    "js loss.pi=0.001",
    "ldr_kl loss.lam=0.05 loss.c=100",
    "nfl loss.g=2",
    "phuber loss.t=10",
    "phuber_gce loss.q=0.2 loss.t=2",
    "taylor loss.t=100",
]
JUMPS = {"sop"}  # where the likeliest class changes: no ties for these
CLASSES = [2, 10, 1000]
B, STEP = 10, 1e-6


@functools.cache
def _leaf(words: str) -> Loss:
    return settings.read(settings.compose(["data=digits", *f"loss={words}".split()])).loss


def bound(words: str, classes: int) -> Loss:
    """A fresh loss ready for training; elr with a memory that stands still, since no gradient flows through it."""
    loss = copy.deepcopy(_leaf("elr loss.b=0.999999999999" if words == "elr" else words))
    T = 0.6 * np.eye(classes) + 0.4 * np.roll(np.eye(classes), 1, axis=1)
    loss.load_source_estimates("ce-run", {"q97": T, "dual_q97": T})
    loss.bind(samples=B, classes=classes, device="cpu", transition=T)
    loss.start_epoch(30)
    for memory in (tensor for tensor in loss.state().values() if tensor.dim() >= 2):
        memory.copy_(torch.rand(memory.shape, generator=torch.Generator().manual_seed(9)).softmax(-1))
    return loss


def hard(loss: Loss, classes: int) -> tuple[Tensor, Tensor]:
    """logits (V B, K) or (n B, K) in float64, and labels (B,): two samples of each kind."""
    g = torch.Generator().manual_seed(classes)
    rows = loss.views * loss.networks * B
    labels = torch.arange(B) % classes
    logits = torch.randn((rows, classes), generator=g, dtype=torch.float64)
    own = F.one_hot(labels, classes).repeat(rows // B, 1)
    logits[1::5] = logits[1::5].mul(1.5).round()  # ties, and logits that are exactly 0
    logits[2::5] = 0
    logits[3::5] += 130 * own[3::5].roll(1, 1)  # another class far above
    logits[4::5] = 3 * logits[4::5] - 30 - 150 * own[4::5]  # the label far below
    return logits, labels


def slopes(loss: Loss, logits: Tensor, labels: Tensor, graph: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The logits as a leaf, the losses (B,) and the gradient of their sum; a loss that remembers is left as it was."""
    leaf = logits.detach().requires_grad_()
    values = copy.deepcopy(loss).of_batch(leaf, labels, torch.arange(B))
    return leaf, values, torch.autograd.grad(values.sum(), leaf, create_graph=graph)[0]


def outside(found: Tensor, before: Tensor, at: Tensor, after: Tensor) -> float:
    """How far a derivative lies outside the differences to the left and to the right, which differ at a kink."""
    left, right = (at - before) / STEP, (after - at) / STEP
    beyond = torch.maximum(found - torch.maximum(left, right), torch.minimum(left, right) - found)
    return float((beyond.clamp(min=0) / (1 + found.abs())).max())


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize(
    "words", [name for name in (*LEAVES, *VARIANTS) if name != "t_revision"]
)  # of constant weights
def test_first_and_second_derivatives_are_those_of_the_value(words: str, classes: int) -> None:
    """Along directions that change all logits at once, and along the label's logit alone."""
    loss = bound(words, classes)
    logits, labels = hard(loss, classes)
    if words in JUMPS:
        logits += 1e-3 * torch.arange(classes)
    leaf, values, gradient = slopes(loss, logits, labels, graph=True)
    g = torch.Generator().manual_seed(1)
    everywhere = torch.randn(logits.shape, generator=g, dtype=torch.float64) / math.sqrt(classes)
    the_label = F.one_hot(labels, classes).repeat(len(logits) // B, 1).double()
    for direction in (everywhere, the_label):
        along = (gradient * direction).sum(1)
        (curvature,) = torch.autograd.grad(along.sum(), leaf, retain_graph=True)
        (_, low, below), (_, high, above) = (slopes(loss, logits + s * direction, labels) for s in (-STEP, STEP))
        first = along.detach().unflatten(0, (-1, B)).sum(0)  # of all views or networks of a sample
        assert outside(first, low.detach(), values.detach(), high.detach()) < 1e-6
        assert outside(curvature, below, gradient.detach(), above) < 1e-5


@pytest.mark.parametrize("words", [*LEAVES, *VARIANTS])
def test_second_derivatives_are_finite_in_float32_where_views_and_networks_contradict(words: str) -> None:
    loss = bound(words, 10)
    logits, labels = hard(loss, 10)
    logits[B:] *= -1  # of the second view or network
    leaf, _, gradient = slopes(loss, logits.float(), labels, graph=True)
    (curvature,) = torch.autograd.grad(gradient.square().sum(), leaf)
    assert gradient.isfinite().all()
    assert curvature.isfinite().all()


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("words", [*LEAVES, "elr loss.b=0.7"])
def test_a_label_outside_the_classes_raises_and_is_not_remembered(words: str, classes: int) -> None:
    """-1 among them, which Python takes as the last place of a list."""
    loss = bound(words, classes)
    logits, labels = hard(loss, classes)
    before = {name: tensor.clone() for name, tensor in loss.state().items()}
    for wrong in (-1, classes, -100):
        labels[3] = wrong
        with pytest.raises(IndexError, match=r"out of (bounds|range)"):
            loss.of_batch(logits, labels, torch.arange(B))
    assert all(torch.equal(tensor, before[name]) for name, tensor in loss.state().items())


@pytest.mark.parametrize("words", ["forward", "backward", "forward_hat", "ce"])
def test_fewer_labels_than_logits_raise(words: str) -> None:
    """One label among them, which would be taken for all of the batch."""
    for labels in (torch.tensor([1]), torch.arange(3)):
        with pytest.raises(ValueError, match=r"logits must be \(B, K\) and labels \(B,\)"):
            bound(words, 10).per_sample(torch.zeros(B, 10), labels)


# --- bits that may not move -------------------------------------------------------------------------------------------


def _same_bits(one: Loss, other: Loss, logits: Tensor) -> None:
    labels = torch.arange(len(logits)) % logits.shape[1]
    found = []
    for loss in (one, other):
        leaf = logits.clone().requires_grad_()
        values = loss.per_sample(leaf, labels)
        values.mean().backward()
        found.append((values.detach(), leaf.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])  # type: ignore[arg-type]


class SixteenSteps(losses.BiTempered):
    """Bi-tempered as the published runs were trained, for t1 < 1 < t2: its gradient is that of one linear term."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        t1, t2 = self.t1, self.t2
        a = logits - logits.detach().amax(1, keepdim=True)
        fixed = a.detach()
        c = fixed.new_zeros(len(a), 1)

        def log_exp(x: Tensor) -> Tensor:
            return ((1 - t2) * x).log1p() / (1 - t2)

        for _ in range(16):
            log_ps = log_exp(fixed - c)
            c = c + (log_ps.exp().sum(1, keepdim=True) - 1) / (t2 * log_ps).exp().sum(1, keepdim=True)
        weights = (t2 * log_exp(fixed - c)).softmax(1)
        log_ps = log_exp(a - c - (weights * (a - fixed)).sum(1, keepdim=True))
        tempered = -((1 - t1) * pick(log_ps, labels)).expm1() / (1 - t1)
        return tempered - (1 - ((2 - t1) * log_ps).exp().sum(1)) / (2 - t1)


class Softplus(losses.LDRKL):
    """LDR-KL as the published runs were trained; at a logit of 0 its gradient is wrong."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        classes = logits.shape[1]
        softplus = (-logits.abs()).exp().log1p() + logits.clamp(min=0)
        s = classes * logits.where(logits < -30, softplus.clamp(min=1e-13).log()).softmax(1)
        margin = s.new_full(s.shape, self.c).scatter(1, labels.unsqueeze(1), 0)
        terms = (s - pick(s, labels).unsqueeze(1) + margin) / self.lam
        return self.lam * (terms.logsumexp(1) - math.log(classes))


@pytest.mark.parametrize("scale", [0.0, 1.0, 20.0, 1e4])
@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_the_published_bi_tempered_and_ldr_kl_keep_their_bits(classes: int, scale: float) -> None:
    g = torch.Generator().manual_seed(classes)
    logits = scale * torch.randn((64, classes), generator=g)
    _same_bits(losses.BiTempered(0.8, 1.2), SixteenSteps(0.8, 1.2), logits)
    logits = logits.where(logits != 0, 1.0).where((logits < -30) | (logits > -29.9), 2.0)
    _same_bits(losses.LDRKL(10, 0.1), Softplus(10, 0.1), logits)


# --- single losses ----------------------------------------------------------------------------------------------------


def test_ldr_kl_has_the_slope_one_half_of_softplus_at_0_and_no_flat_part_below() -> None:
    """s = K softplus(a) / sum softplus(a); lam -> inf leaves mean_k (s_k - s_y) = 1 - s_y without a margin."""
    for a in (0.0, -29.95, -30.0, -30.05):
        logits = torch.tensor([[a, a]], dtype=torch.float64)
        _, _, gradient = _two(losses.LDRKL(1000, 0), logits)
        slope = torch.sigmoid(logits[0, 0]) / F.softplus(logits[0, 0], threshold=100)  # of log softplus
        # -ds_y / da_y = -2 p (1 - p) slope at p = 1/2
        assert gradient[0, 0].item() == pytest.approx(-slope.item() / 2, rel=1e-6)


def _two(loss: Loss, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    values = loss.per_sample(leaf, torch.tensor([0]))
    return leaf, values, torch.autograd.grad(values.sum(), leaf)[0]


@pytest.mark.parametrize("t1", [0.0, 0.5, 0.9])
def test_bi_tempered_of_a_label_with_p_0_is_its_bound(t1: float) -> None:
    """p = (0, 1): -log_t1 0 - 0 = 1 / (1 - t1), and no class that is 0 takes a part of the gradient."""
    for classes in (2, 1000):
        logits = torch.zeros(1, classes)
        logits[0, 1] = 100
        _, value, gradient = _two(losses.BiTempered(t1, 0.3), logits)
        assert value.item() == pytest.approx(1 / (1 - t1), rel=1e-6)
        assert not gradient.any()


def test_bi_tempered_has_third_derivatives_and_forward_mode_ones() -> None:
    logits = torch.randn((3, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)

    def values(x: Tensor) -> Tensor:
        return losses.BiTempered(0.8, 1.2).per_sample(x, torch.arange(3))

    def gradient(x: Tensor) -> Tensor:
        return torch.autograd.grad(values(x).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(values, (logits,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(gradient, (logits,))
    hessian = torch.func.hessian(lambda x: values(x).sum())(logits.detach())
    assert hessian.allclose(torch.autograd.functional.hessian(lambda x: values(x).sum(), logits.detach()))


def test_float32_keeps_the_digits_of_float64_on_hard_logits() -> None:
    """In the losses whose formula is not a plain function of log_softmax."""
    for words in ("bi_tempered", "bi_tempered loss.t1=0 loss.t2=4", "ldr_kl", "ce_lc"):
        for classes in CLASSES:
            loss = bound(words, classes)
            logits, labels = hard(loss, classes)
            logits = logits.float().double()  # the same numbers in both
            (_, exact, slope), (_, value, rounded) = (slopes(loss, x, labels) for x in (logits, logits.float()))
            torch.testing.assert_close(value.double(), exact, rtol=2e-5, atol=2e-6)
            torch.testing.assert_close(rounded.double(), slope, rtol=1e-4, atol=1e-5)
