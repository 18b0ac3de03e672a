import math

import pytest
import torch
from torch.nn import functional as F

from noisygce.check import Invalid
from noisygce.losses import CE, GCE, MAE, Loss, TruncatedGCE, generalized_cross_entropy

EACH = [CE(), MAE(), GCE(q=0.7), GCE(q=0.05), GCE(q=1), TruncatedGCE(q=0.7, k=0.5)]
each = pytest.mark.parametrize("loss", EACH, ids=repr)


def logits_of(*probabilities: float) -> torch.Tensor:
    """One row of logits a probability p: softmax gives (p, 1 - p)."""
    return torch.tensor([[math.log(p), math.log(1 - p)] for p in probabilities], dtype=torch.float64)


def some(batch: int = 64, classes: int = 10, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (batch,), generator=generator)


FIRST = torch.tensor([0])


@pytest.mark.parametrize(
    ("loss", "p", "value"),
    [
        (CE(), 0.25, math.log(4)),
        (MAE(), 0.25, 1.5),  # |1 - 0.25| + |0 - 0.75|
        (GCE(q=0.5), 0.25, 1.0),  # (1 - 0.5) / 0.5
        (GCE(q=0.5), 0.81, 0.2),  # (1 - 0.9) / 0.5
        (GCE(q=1), 0.25, 0.75),
        (TruncatedGCE(q=0.5, k=0.36), 0.49, 0.6),  # above k: (1 - 0.7) / 0.5
        (TruncatedGCE(q=0.5, k=0.36), 0.25, 0.8),  # below k: L_q(0.36) = (1 - 0.6) / 0.5
        (TruncatedGCE(q=0.5, k=0.36), 0.01, 0.8),
    ],
    ids=repr,
)
def test_value_by_head(loss, p, value):
    assert loss(logits_of(p), FIRST).item() == pytest.approx(value, rel=1e-12)


def test_cross_entropy_is_torch_s():
    logits, labels = some()
    torch.testing.assert_close(CE()(logits, labels), F.cross_entropy(logits, labels), rtol=1e-14, atol=0)


def test_mean_absolute_error_is_the_l1_distance_to_the_one_hot_label():
    logits, labels = some()
    distance = (F.one_hot(labels, 10) - logits.softmax(1)).abs().sum(1).mean()
    torch.testing.assert_close(MAE()(logits, labels), distance, rtol=1e-12, atol=0)


@pytest.mark.parametrize("q", [0.05, 0.3, 0.7, 1.0])
def test_gce_is_the_formula_of_the_paper(q):
    logits, labels = some()
    p = logits.softmax(1)[torch.arange(64), labels]
    torch.testing.assert_close(GCE(q, reduction="none")(logits, labels), (1 - p**q) / q, rtol=1e-12, atol=1e-15)


def test_gce_tends_to_cross_entropy_as_q_falls():
    # L_q = -log p - q (log p)^2 / 2 + ...: the gap to cross entropy shrinks in proportion to q.
    logits, labels = some()
    ce = CE(reduction="none")(logits, labels)
    for q in (1e-3, 1e-6, 1e-9):
        gap = ce - GCE(q, reduction="none")(logits, labels)
        torch.testing.assert_close(gap, q * ce**2 / 2, rtol=0.02, atol=1e-14)


def test_gce_keeps_its_digits_for_small_q_in_float32():
    logits, labels = some(scale=1.0)
    exact = GCE(1e-6, reduction="none")(logits, labels)
    rounded = GCE(1e-6, reduction="none")(logits.float(), labels)
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-5, atol=1e-7)


def test_gce_of_q_1_is_half_of_mae():
    logits, labels = some()
    torch.testing.assert_close(GCE(1)(logits, labels), MAE()(logits, labels) / 2, rtol=1e-14, atol=0)


def test_gce_weighs_the_gradient_of_cross_entropy_by_p_to_the_q():
    """The paper's reading of the loss (section 3.2): dL_q = p_y^q dCE."""
    logits, labels = some()
    logits.requires_grad_()
    p = logits.detach().softmax(1)[torch.arange(64), labels]
    ce = torch.autograd.grad(CE(reduction="sum")(logits, labels), logits)[0]
    gce = torch.autograd.grad(GCE(0.7, reduction="sum")(logits, labels), logits)[0]
    torch.testing.assert_close(gce, p[:, None] ** 0.7 * ce, rtol=1e-12, atol=1e-15)


@each
def test_gradient_is_that_of_numeric_differences(loss):
    logits, labels = some(batch=16, scale=1.0)
    assert torch.autograd.gradcheck(lambda x: loss.per_sample(x, labels), logits.requires_grad_())


def test_truncated_gradient_is_that_of_numeric_differences_on_both_sides_of_k():
    logits = logits_of(0.1, 0.3, 0.4, 0.6, 0.9).requires_grad_()
    labels = torch.zeros(5, dtype=torch.int64)
    loss = TruncatedGCE(q=0.7, k=0.5, reduction="none")
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits)


@each
@pytest.mark.parametrize("gap", [100.0, 110.0, 1e3, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("called", ["mean of a step", "called"])
def test_value_and_gradient_are_finite_at_large_logit_gaps(loss, gap, dtype, called):
    """Right and wrong by the gap, and the gap with a third class between: p underflows, p ** q would give NaN."""
    logits = torch.tensor([[gap, 0, 0], [0, gap, 0], [0, gap, -gap / 2]], dtype=dtype, requires_grad=True)
    labels = torch.tensor([0, 0, 0])
    value = loss(logits, labels) if called == "called" else loss.per_sample(logits, labels).mean()
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_values_at_a_large_gap_are_the_limits():
    logits = torch.tensor([[0.0, 1e4]])
    assert CE()(logits, FIRST).item() == 1e4
    assert MAE()(logits, FIRST).item() == 2
    assert GCE(0.7)(logits, FIRST).item() == pytest.approx(1 / 0.7)


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_the_float32_loss_of_their_values(loss, dtype):
    logits, labels = some()
    half = logits.to(dtype)
    value = loss(half, labels)
    assert value.dtype == torch.float32
    assert value.item() == loss(half.float(), labels).item()


@each
def test_gradient_of_the_logits_sums_to_zero_over_classes(loss):
    # Softmax does not change when all logits move together.
    logits, labels = some()
    loss(logits.requires_grad_(), labels).backward()
    torch.testing.assert_close(logits.grad.sum(1), torch.zeros(64, dtype=torch.float64), rtol=0, atol=1e-15)


@each
def test_reductions_are_those_of_torch(loss):
    logits, labels = some()
    arguments = {key: value for key, value in vars(loss).items() if key != "reduction"}
    none, total, mean = (type(loss)(**arguments, reduction=r)(logits, labels) for r in ("none", "sum", "mean"))
    assert none.shape == (64,)
    assert total.item() == pytest.approx(none.sum().item())
    assert mean.item() == pytest.approx(none.mean().item())


def test_an_unknown_reduction_is_refused():
    with pytest.raises(Invalid, match="one of mean, sum, none"):
        CE(reduction="average")


@pytest.mark.parametrize("q", [0, -0.1, 1.0001, float("nan"), float("inf"), True, "0.7", None])
def test_q_outside_0_to_1_is_refused(q):
    with pytest.raises(Invalid, match=r"q must be a number in \(0, 1\]"):
        GCE(q)


@pytest.mark.parametrize("k", [0, 1, -0.1, 1.5, float("nan"), False])
def test_k_outside_0_to_1_is_refused(k):
    with pytest.raises(Invalid, match=r"k must be a number in \(0, 1\)"):
        TruncatedGCE(0.7, k)


def test_truncated_loss_is_constant_without_gradient_up_to_k_and_gce_above():
    logits, labels = logits_of(0.05, 0.3, 0.499, 0.501, 0.95).requires_grad_(), torch.zeros(5, dtype=torch.int64)
    values = TruncatedGCE(0.7, 0.5, reduction="none")(logits, labels)
    values.sum().backward()
    ceiling = (1 - 0.5**0.7) / 0.7
    assert values[:3].tolist() == pytest.approx([ceiling] * 3, rel=1e-15)
    assert (logits.grad[:3] == 0).all()
    plain = logits.detach().requires_grad_()
    gce = generalized_cross_entropy(plain, labels, 0.7)
    gce.sum().backward()
    assert torch.equal(values[3:], gce[3:])
    assert torch.equal(logits.grad[3:], plain.grad[3:])


def test_keep_is_p_above_k_strictly():
    # softmax(0, 0) is 1/2 exactly, which does not exceed k = 1/2.
    logits = torch.tensor([[0.0, 0.0], [1e-3, 0.0], [-1e-3, 0.0]], requires_grad=True)
    keep = TruncatedGCE(0.7, 0.5).keep(logits, torch.zeros(3, dtype=torch.int64))
    assert keep.tolist() == [False, True, False]
    assert keep.dtype == torch.bool


def test_a_given_kept_set_is_taken_as_it_is():
    """The alternating form: the weights come from another time, not from these logits."""
    logits, labels = logits_of(0.9, 0.9, 0.1, 0.1).requires_grad_(), torch.zeros(4, dtype=torch.int64)
    loss = TruncatedGCE(0.7, 0.5, reduction="none")
    values = loss(logits, labels, torch.tensor([True, False, True, False]))
    values.sum().backward()
    gce = generalized_cross_entropy(logits.detach(), labels, 0.7)
    assert torch.equal(values[[0, 2]].detach(), gce[[0, 2]])
    assert values[[1, 3]].tolist() == pytest.approx([(1 - 0.5**0.7) / 0.7] * 2)
    assert (logits.grad.abs().sum(1) > 0).tolist() == [True, False, True, False]


def test_the_own_kept_set_minimises_the_loss_over_all_kept_sets():
    """Eq. 12 of the paper: w_i = 1[p > k] minimises w L_q(p) + (1 - w) L_q(k) in each sample."""
    logits, labels = some(scale=1.0)
    loss = TruncatedGCE(0.7, 0.15, reduction="none")
    solved = loss(logits, labels)
    kept, pruned = (loss(logits, labels, torch.full((64,), w)) for w in (True, False))
    assert torch.equal(solved, torch.minimum(kept, pruned))
    assert not torch.equal(solved, kept)
    assert not torch.equal(solved, pruned)


def test_only_the_truncated_loss_prunes():
    assert [loss.prunes for loss in EACH] == [False] * 5 + [True]


def test_an_own_loss_needs_nothing_but_its_formula():
    class Brier(Loss):
        def per_sample(self, logits, labels):
            return (logits.softmax(1) - F.one_hot(labels, logits.shape[1])).square().sum(1)

    assert Brier()(logits_of(0.25), FIRST).item() == pytest.approx(2 * 0.75**2)
    assert repr(GCE(0.7)) == "GCE(reduction='mean', q=0.7)"


@pytest.mark.parametrize("labels", [3, 5])
def test_logits_and_labels_of_different_batch_sizes_are_refused(labels):
    with pytest.raises(ValueError, match=r"logits must be \(B, K\) and labels \(B,\)"):
        GCE(q=0.7)(torch.randn(4, 10), torch.zeros(labels, dtype=torch.long))


@pytest.mark.parametrize("label", [-100, -1, 10])
def test_a_label_outside_the_classes_is_refused(label):
    """-100 among them, which torch's own losses leave out without a word."""
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        CE()(torch.randn(1, 10), torch.tensor([label]))
