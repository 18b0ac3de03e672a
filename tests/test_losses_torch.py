"""Losses as torch users hold them: modules with buffers, soft labels, and what an unbound loss says."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noisygce import losses
from noisygce.losses import log_p
from noisygce.losses.torch import Criterion

B, K, N = 6, 4, 20
T = 0.7 * np.eye(K) + 0.3 / K


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(B, K, generator=g), torch.arange(B) % K, torch.randperm(N, generator=g)[:B]


def elr() -> Criterion:
    return Criterion(losses.ELR(lam=3, b=0.7), samples=N, classes=K)


def test_a_criterion_gives_what_the_loss_gives() -> None:
    logits, labels, index = batch()
    gce = losses.GCE(0.7)
    assert torch.equal(Criterion(gce)(logits, labels), gce(logits, labels))
    bare = losses.ELR(lam=3, b=0.7)
    bare.bind(samples=N, classes=K, device="cpu")
    assert torch.equal(elr()(logits, labels, index), bare.of_batch(logits, labels, index).mean())
    assert "GCE(reduction='mean', q=0.7)" in repr(nn.Sequential(Criterion(gce)))


def test_memory_is_saved_and_restored_with_the_module_around_it() -> None:
    """As a Lightning checkpoint does it: the state_dict of the module that holds the criterion."""
    whole = nn.ModuleDict({"criterion": elr()})
    for seed in range(3):
        whole["criterion"](*batch(seed))
    saved = copy.deepcopy(whole.state_dict())
    assert list(saved) == ["criterion.targets"]
    assert saved["criterion.targets"].any()
    fresh = nn.ModuleDict({"criterion": elr()})
    fresh.load_state_dict(saved)
    assert torch.equal(fresh["criterion"](*batch(3)), whole["criterion"](*batch(3)))
    assert torch.equal(fresh["criterion"].targets, whole["criterion"].targets)


@pytest.mark.parametrize("assign", [False, True])
def test_a_memory_that_was_loaded_goes_on(assign: bool) -> None:
    saved, criterion = elr(), elr()
    saved(*batch(0))
    criterion.load_state_dict(copy.deepcopy(saved.state_dict()), assign=assign)
    assert torch.equal(criterion(*batch(1)), saved(*batch(1)))
    assert torch.equal(criterion.targets, saved.targets)


def test_in_eval_mode_nothing_is_remembered() -> None:
    criterion = elr()
    criterion(*batch(0))
    before, trained = criterion.targets.clone(), copy.deepcopy(criterion)
    value = criterion.eval()(*batch(1))
    with pytest.raises(IndexError):
        criterion(torch.zeros(1, K), torch.zeros(1, dtype=torch.int64), torch.tensor([10 * N]))
    assert torch.equal(criterion.targets, before)
    assert torch.equal(trained(*batch(1)), value)
    assert not torch.equal(trained.targets, before)


def test_tensors_of_the_loss_and_of_its_parts_move_with_the_module() -> None:
    both = losses.WeightedSum(1, 2, losses.Forward(), losses.ELR(lam=3, b=0.7))
    criterion = Criterion(both, samples=N, classes=K, transition=T)
    assert set(criterion.state_dict()) == {"first_log_transition", "second_targets"}
    twin = copy.deepcopy(criterion)
    criterion.to("meta")
    assert criterion.loss.first._log_transition.device.type == "meta"  # type: ignore[union-attr, operator]
    assert criterion.loss.state()["second.targets"].device.type == "meta"  # type: ignore[operator]
    assert twin.second_targets.device.type == "cpu"
    logits, labels, index = batch()
    twin(logits, labels, index)
    assert twin.second_targets[index].any()


def test_a_criterion_that_prunes_keeps_its_kept_set() -> None:
    criterion = Criterion(losses.TruncatedGCE(q=0.7, k=0.5), samples=N)
    logits, labels, index = batch()
    gce = losses.GCE(0.7)(logits, labels)
    assert torch.equal(criterion(logits, labels, index), gce)
    sure = 9.0 * F.one_hot(torch.arange(N) % K, K)
    given = torch.arange(N) % K
    given[::2] = (given[::2] + 1) % K  # every second one is not what the network says
    criterion.prune(sure, given, torch.arange(N))
    assert criterion.state_dict()["kept"].tolist() == [i % 2 == 1 for i in range(N)]
    assert not torch.equal(criterion(logits, labels, index), gce)
    criterion.prune(-sure, given, torch.arange(N))  # nothing would be left
    assert criterion.kept.sum() == N // 2  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="give index"):
        criterion(logits, labels)
    with pytest.raises(IndexError):
        criterion(logits, labels, -index)
    assert torch.equal(criterion.eval()(logits, labels), gce)  # such as a validation loss: L_q of all
    assert torch.equal(criterion(logits, labels, index), gce)
    with pytest.raises(TypeError, match="give samples"):
        Criterion(losses.TruncatedGCE(q=0.7, k=0.5))


def test_an_own_loss_that_prunes_needs_only_keep() -> None:
    class Unsure(losses.CE):
        prunes = True

        def keep(self, logits: Tensor, labels: Tensor) -> Tensor:
            return log_p(logits, labels).exp() < 0.9

    criterion = Criterion(Unsure(reduction="none"), samples=N)
    logits, labels, index = batch()
    criterion.prune(9.0 * F.one_hot(labels, K)[:3], labels[:3], index[:3])  # of these none is unsure: all stay
    assert torch.equal(criterion(logits, labels, index), losses.CE(reduction="none")(logits, labels))
    criterion.prune(torch.stack([9.0 * F.one_hot(labels[0], K), torch.zeros(K)]), labels[:2], index[:2])
    expected = losses.CE(reduction="none")(logits, labels)
    expected[0] = 0
    assert torch.equal(criterion(logits, labels, index), expected)


def test_an_estimated_transition_must_be_adopted_first_and_may_be_all_that_is_known() -> None:
    hat = losses.ForwardHat("q97", losses.CE())
    with pytest.raises(
        TypeError, match=r"T_hat is missing: call load_source_estimates\(RUN_ID, \{'q97': T_hat\}\) first"
    ):
        Criterion(hat, samples=N, transition=T)
    hat.load_source_estimates("a run", {"q97": T})
    logits, labels, _ = batch()
    expected = Criterion(losses.Forward(), transition=T)(logits, labels)
    assert torch.equal(Criterion(hat, classes=K)(logits, labels), expected)
    assert "error" not in hat.report()["transition_hat"]  # the true T is not known
    Criterion(hat, transition=T)
    assert hat.report()["transition_hat"]["error"] == 0


@pytest.mark.parametrize(
    "loss",
    [losses.ELR(3, 0.7), losses.Forward(), losses.Backward(), losses.WeightedSum(1, 1, losses.Forward(), losses.CE())],
)
def test_a_loss_that_is_not_bound_says_what_is_missing(loss: losses.Loss) -> None:
    with pytest.raises(
        RuntimeError, match=r"must know the training set first: call bind\(samples=N, classes=K, device="
    ):
        loss.of_batch(*batch())
    with pytest.raises(TypeError, match=r"transition is missing: T \(K, K\)"):
        Criterion(losses.Forward(), classes=K)
    with pytest.raises(TypeError, match="remembers samples: give index"):
        elr()(*batch()[:2])


SOFT = [
    losses.CE(),
    losses.GCE(0.7),
    losses.NFL(0.5),
    losses.LabelSmoothing(0.1),
    losses.WeightedSum(0.1, 1, losses.CE(), losses.RCE(math.log(1e-4))),
    losses.BiTempered(0.8, 1.2),
    losses.GJS(0.5),
]


@pytest.mark.parametrize("loss", SOFT, ids=repr)
def test_the_loss_of_a_soft_label_is_the_mean_over_the_labels_that_it_stands_for(loss: losses.Loss) -> None:
    logits, labels, _ = batch()
    logits = logits.repeat(loss.views, 1)
    torch.testing.assert_close(loss(logits, F.one_hot(labels, K).float()), loss(logits, labels))
    other = (labels + 1) % K
    mixed = 0.3 * F.one_hot(labels, K) + 0.7 * F.one_hot(other, K)
    torch.testing.assert_close(loss(logits, mixed), 0.3 * loss(logits, labels) + 0.7 * loss(logits, other))


def test_cross_entropy_of_a_soft_label_is_torch_s() -> None:
    logits, _, _ = batch()
    soft = torch.rand(B, K).softmax(1)
    torch.testing.assert_close(losses.CE()(logits, soft), F.cross_entropy(logits, soft))
    with pytest.raises(ValueError, match=r"soft labels must be \(B, K\)"):
        losses.CE()(logits, soft[:, :2])


@pytest.mark.parametrize(
    "loss",
    [losses.ELR(3, 0.7), losses.WeightedSum(1, 1, losses.CE(), losses.ELR(3, 0.7)), losses.TruncatedGCE(0.7, 0.5)],
)
def test_a_loss_of_single_samples_refuses_soft_labels(loss: losses.Loss) -> None:
    criterion = Criterion(loss, samples=N, classes=K)
    logits, labels, index = batch()
    for mode in (criterion.train(), criterion.eval()):
        for more in ((), (index,)):
            with pytest.raises(TypeError, match=r"(prunes|remembers) samples, each with one label: give labels \(B,\)"):
                mode(logits, F.one_hot(labels, K).float(), *more)
