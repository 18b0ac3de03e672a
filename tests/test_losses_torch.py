"""Losses as torch users hold them: modules with buffers, soft labels, and what an unbound loss says."""

from __future__ import annotations

import copy
import inspect
import math
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noisygce import check, losses, settings
from noisygce.losses import log_p

B, K, N = 6, 4, 20
T = 0.7 * np.eye(K) + 0.3 / K


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(B, K, generator=g), torch.arange(B) % K, torch.randperm(N, generator=g)[:B]


def elr() -> losses.ELR:
    return losses.ELR().bind(samples=N, classes=K)


def test_a_loss_is_a_module_and_gives_what_training_is_given() -> None:
    logits, labels, index = batch()
    assert isinstance(losses.GCE(), nn.Module)
    assert isinstance(losses.GCE(), losses.GCE)
    bare: losses.ELR = losses.ELR.from_config(lam=3.0, b=0.7)
    bare.bind(samples=N, classes=K, device="cpu")
    assert torch.equal(elr()(logits, labels, index), bare.of_batch(logits, labels, index).mean())
    assert "GCE(q=0.7, reduction='mean', ignore_index=None)" in repr(nn.Sequential(losses.GCE()))


@pytest.mark.parametrize("make", [losses.GCE, elr, lambda: losses.WeightedSum(1, 2, losses.CE(), elr())])
def test_a_loss_can_be_copied_and_pickled(make: Callable[[], losses.Loss]) -> None:
    loss = make()
    loss(*batch(0)[: 3 if loss.uses_sample_index else 2])
    others = copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))
    expected = loss(*batch(1))
    for other in others:
        assert type(other) is type(loss)
        assert torch.equal(other(*batch(1)), expected)


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
    criterion = both.bind(samples=N, transition=T)
    assert set(criterion.state_dict()) == {"first.log_transition", "second.targets"}
    twin = copy.deepcopy(criterion)
    criterion.to("meta")
    assert criterion.first.log_transition.device.type == "meta"
    assert criterion.state()["second.targets"].device.type == "meta"
    assert twin.second.targets.device.type == "cpu"
    logits, labels, index = batch()
    twin(logits, labels, index)
    assert twin.second.targets[index].any()


def test_a_transition_in_a_call_makes_no_part_forget_its_samples() -> None:
    def made() -> losses.WeightedSum:
        return losses.WeightedSum(1, 1, losses.Forward(), losses.ELR()).bind(samples=N, classes=K, transition=T)

    criterion = made()
    criterion(*batch(0))
    again = made()
    again.load_state_dict(criterion.state_dict())
    remembered = again.second.targets.clone()
    assert remembered.any()
    other = 0.9 * np.eye(K) + 0.1 / K
    for transition in (T, other):
        again.eval()(*batch(1), transition=transition)
        assert torch.equal(again.second.targets, remembered)
    assert torch.equal(again.first.log_transition, torch.as_tensor(other).log())
    apart = losses.WeightedSum(1, 1, losses.Forward(), losses.ELR().bind(samples=N, classes=K))
    apart(*batch(0), transition=T)
    assert torch.equal(apart.second.targets, criterion.second.targets)


def test_a_revised_transition_has_no_entry_below_its_least_in_one_s_own_loop() -> None:
    criterion = losses.TRevision(start=0)
    criterion.load_source_estimates("a run", {"q97": np.eye(K)})
    criterion.bind(classes=K)
    optimizer = torch.optim.SGD(criterion.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        value = criterion(*batch(0)[:2], epoch=0)
        value.backward()
        optimizer.step()
        assert value.isfinite()


def test_a_correction_of_float64_logits_is_computed_in_float64() -> None:
    logits, labels, _ = batch()
    expected = -(logits.double().softmax(1) @ torch.as_tensor(T)).log()[torch.arange(B), labels]
    found = losses.Forward(reduction="none").bind(transition=T)(logits.double(), labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_a_criterion_that_prunes_keeps_its_kept_set() -> None:
    criterion = losses.TruncatedGCE(q=0.7, k=0.5).bind(samples=N)
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
    with pytest.raises(TypeError, match="give keep"):
        criterion(logits, labels)
    with pytest.raises(IndexError):
        criterion(logits, labels, -index)
    assert torch.equal(criterion.eval()(logits, labels), gce)  # such as a validation loss: L_q of all
    assert torch.equal(criterion(logits, labels, index), gce)
    with pytest.raises(TypeError, match=r"give keep \(B,\), bool.* or call bind\(samples=N\) once"):
        losses.TruncatedGCE()(logits, labels, index)
    kept = torch.arange(B) % 2 == 0
    expected = losses.GCE(reduction="none")(logits, labels).where(kept, (1 - 0.5**0.7) / 0.7).mean()
    torch.testing.assert_close(losses.TruncatedGCE()(logits, labels, keep=kept), expected)


def test_an_own_loss_that_prunes_needs_only_keep() -> None:
    class Unsure(losses.CE):
        prunes = True

        def keep(self, logits: Tensor, labels: Tensor) -> Tensor:
            return log_p(logits, labels).exp() < 0.9

    criterion = Unsure(reduction="none").bind(samples=N)
    logits, labels, index = batch()
    criterion.prune(9.0 * F.one_hot(labels, K)[:3], labels[:3], index[:3])  # of these none is unsure: all stay
    assert torch.equal(criterion(logits, labels, index), losses.CE(reduction="none")(logits, labels))
    criterion.prune(torch.stack([9.0 * F.one_hot(labels[0], K), torch.zeros(K)]), labels[:2], index[:2])
    expected = losses.CE(reduction="none")(logits, labels)
    expected[0] = 0
    assert torch.equal(criterion(logits, labels, index), expected)


def test_an_estimated_transition_must_be_adopted_first_and_may_be_all_that_is_known() -> None:
    hat = losses.ForwardHat()
    logits, labels, _ = batch()
    for use in (lambda: hat.bind(samples=N, transition=T), lambda: hat(logits, labels)):
        with pytest.raises(TypeError, match=r"T_hat is missing: call load_source_estimates\(RUN_ID, \{'q97': T_hat\}"):
            use()
    hat.load_source_estimates("a run", {"q97": T})
    expected = losses.Forward().bind(transition=T)(logits, labels)
    assert torch.equal(losses.Forward()(logits, labels, transition=T), expected)
    assert torch.equal(hat(logits, labels), expected)
    assert "error" not in hat.report()["transition_hat"]  # the true T is not known
    hat.bind(transition=T)
    assert hat.report()["transition_hat"]["error"] == 0


def test_a_transition_may_be_a_tensor_and_is_no_part_of_the_state_twice() -> None:
    logits, labels, _ = batch()
    given = torch.as_tensor(T)
    criterion = losses.Forward()
    value = criterion(logits, labels, transition=given)
    assert torch.equal(value, losses.Forward().bind(transition=T)(logits, labels))
    assert torch.equal(value, criterion(logits, labels, transition=given))
    losses.Forward().bind(classes=K, transition=T).load_state_dict(criterion.state_dict())
    copy.deepcopy(criterion)
    given[:] = torch.eye(K)  # changed in its place
    torch.testing.assert_close(criterion(logits, labels, transition=given), losses.CE()(logits, labels))
    given = torch.as_tensor(T)
    with pytest.raises(TypeError, match="is a constant"):
        losses.Forward()(logits, labels, transition=given.clone().requires_grad_())
    learned = losses.VolMinNet().bind(classes=K, transition=given)
    assert [*learned.state_dict()] == ["w"]
    assert learned.report() == losses.VolMinNet().bind(classes=K, transition=T).report()
    revised = losses.TRevision()
    revised.load_source_estimates("a run", {"q97": T})
    revised.bind(classes=K, samples=N, transition=given)
    assert revised.report()["transition_hat"]["error"] == pytest.approx(0, abs=1e-6)


def test_a_learned_transition_in_half_precision_is_computed_in_float32() -> None:
    logits, labels, _ = batch()
    one, half = (losses.VolMinNet().bind(classes=K) for _ in range(2))
    torch.testing.assert_close(half.half()(logits, labels), one(logits, labels), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [{"reduction": "sum"}, {"ignore_index": 0}])
@pytest.mark.parametrize(
    "whole", [lambda part: losses.WeightedSum(1, 1, losses.CE(), part), losses.LogitClip, losses.Mixup]
)
def test_reduction_and_ignored_labels_of_a_part_are_refused(whole: Callable[..., losses.Loss], value: Any) -> None:
    part = losses.CE(**value)
    with pytest.raises(check.Invalid, match="without reduction and ignore_index"):
        whole(part) if not isinstance(whole, type) else whole(of=part)


@pytest.mark.parametrize(
    "loss",
    [losses.ELR(3, 0.7), losses.Forward(), losses.Backward(), losses.WeightedSum(1, 1, losses.Forward(), losses.CE())],
)
def test_a_loss_that_is_not_bound_says_what_is_missing_where_training_asks_it(loss: losses.Loss) -> None:
    with pytest.raises(
        RuntimeError, match=r"must know the training set first: call bind\(samples=N, classes=K, device="
    ):
        loss.of_batch(*batch())


MISSING = {
    r"ELR remembers samples: samples is missing: call bind\(samples=N": lambda x, y, i: losses.ELR()(x, y, i),
    r"ELR remembers samples: give index": lambda x, y, _: elr()(x, y),
    r"transition is missing: T \(K, K\)": lambda x, y, _: losses.Forward()(x, y),
    r"CoTeaching: transition is missing: T \(K, K\), or give forget_rate": lambda x, y, _: losses.CoTeaching()(
        torch.cat([x, x]), y
    ),
    r"CoTeaching follows a schedule: give epoch, counted from 0": lambda x, y, _: losses.CoTeaching(0.2)(
        torch.cat([x, x]), y
    ),
    r"JoCoR follows a schedule": lambda x, y, _: losses.JoCoR(0.2)(torch.cat([x, x]), y),
    r"VolMinNet learns T: call bind\(classes=K\) once": lambda x, y, _: losses.VolMinNet()(x, y),
    r"TruncatedGCE prunes: give keep": lambda x, y, i: losses.TruncatedGCE()(x, y, i),
}


@pytest.mark.parametrize("reason", MISSING)
def test_a_loss_says_what_it_has_not_been_given(reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        MISSING[reason](*batch())


@pytest.mark.parametrize("kind", [torch.int32, torch.int16, torch.uint8])
def test_labels_may_be_of_any_integer_type(kind: torch.dtype) -> None:
    logits, labels, index = batch()
    assert torch.equal(losses.GCE()(logits, labels.to(kind)), losses.GCE()(logits, labels))
    for pruning in (losses.TruncatedGCE(k=0.2), losses.TruncatedGCE(k=0.2, ignore_index=1)):
        assert torch.equal(pruning.keep(logits, labels.to(kind)), pruning.keep(logits, labels))
    mixing = losses.ELRPlus().bind(samples=N, classes=K)
    given = torch.cat([logits, logits]), index, torch.arange(len(index)).flip(0), torch.tensor(0.7)
    one, other = (mixing.of_mixed(given[0], each, *given[1:]) for each in (labels.to(kind), labels))
    assert torch.equal(one, other)


UNFIT = {
    r"GCE: labels must be a torch\.Tensor, not ndarray": lambda x, y: losses.GCE()(x, y.numpy()),
    r"GCE: labels \(B,\) must be integers, not torch\.float32": lambda x, y: losses.GCE()(x, y.float()),
    r"GCE: logits must be \(B, K\) .*, not \(6, 4\) and \(6, 1\)": lambda x, y: losses.GCE()(x, y[:, None]),
    r"GCE: logits must be \(B, K\) .*, not \(4,\) and \(\)": lambda x, y: losses.GCE()(x[0], y[0]),
    r"GJS: logits of 2 views must be \(2 B, K\)": lambda x, y: losses.GJS()(x, y),
    r"JoCoR: logits of 2 networks must be \(2 B, K\)": lambda x, y: losses.JoCoR(0.2)(x, y, epoch=0),
    r"transition must be .* K = 4; its shape is \(3, 3\)": lambda x, y: losses.Forward()(x, y, transition=np.eye(3)),
    r"transition must be .* rows of sum 1": lambda x, y: losses.Backward()(x, y, transition=np.ones((K, K))),
    r"transition must be .*, rows of sum 1": lambda x, y: losses.Forward()(x, y, transition=np.zeros((K, K))),
    r"transition must be .* at least 0": lambda x, y: losses.Forward()(x, y, transition=2 * np.eye(K) - 1 / K),
}


@pytest.mark.parametrize("reason", UNFIT)
def test_what_does_not_fit_a_loss_is_refused_with_what_it_takes(reason: str) -> None:
    logits, labels, _ = batch()
    with pytest.raises((TypeError, ValueError), match=reason):
        UNFIT[reason](logits, labels)


def test_a_class_without_samples_takes_part_in_no_correction_by_t() -> None:
    shares = np.eye(K) * 0.6 + 0.4 / K
    whole, shares[1] = shares.copy(), 0  # no sample of class 1
    whole[1] = np.eye(K)[1]
    logits, labels, _ = batch()
    for corrected in (losses.Forward(), losses.Backward()):
        found = corrected(logits, labels, transition=shares)
        assert torch.equal(found, corrected(logits, labels, transition=whole))


def test_parameters_may_be_numpy_numbers() -> None:
    loss = losses.CoTeaching(np.float32(0.5), np.int64(3))
    assert [(type(each), each) for each in (loss.forget_rate, loss.gradual)] == [(float, 0.5), (int, 3)]


def test_a_loss_with_a_schedule_takes_the_epoch() -> None:
    one, other = batch(0)[0], batch(1)[0]
    logits, labels = torch.cat([one, other]), batch()[1]
    loss, started = losses.CoTeaching(0.5, gradual=10), losses.CoTeaching(0.5, gradual=10).bind()
    started.start_epoch(10)
    assert torch.equal(loss(logits, labels, epoch=10), started(logits, labels))
    assert not torch.equal(loss(logits, labels, epoch=0), started(logits, labels))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ignored_labels_are_those_of_torch(reduction: str) -> None:
    logits, labels, _ = batch()
    labels[[0, 3]] = -100
    torch.testing.assert_close(
        losses.CE(reduction=reduction, ignore_index=-100)(logits, labels),
        F.cross_entropy(logits, labels, reduction=reduction),
    )
    torch.testing.assert_close(
        losses.CE(reduction=reduction, ignore_index=2)(logits, labels.clamp(min=0)),
        F.cross_entropy(logits, labels.clamp(min=0), reduction=reduction, ignore_index=2),
    )
    with pytest.raises(IndexError):
        losses.CE()(logits, labels)


def test_an_ignored_sample_is_remembered_by_no_loss_and_chosen_by_none() -> None:
    logits, labels, index = batch()
    labels[0] = -100
    loss = losses.ELR(ignore_index=-100).bind(samples=N, classes=K)
    loss(logits, labels, index)
    assert not loss.targets[index[0]].any()
    assert loss.targets[index[1:]].any(1).all()
    pruned = losses.TruncatedGCE(ignore_index=-100).bind(samples=N)
    pruned.prune(logits, labels, index)
    expected = losses.TruncatedGCE().keep(logits[1:], labels[1:])
    assert pruned.kept[index[1:]].tolist() == (expected.tolist() if expected.any() else [True] * len(expected))
    assert pruned.keep(logits, labels).tolist() == [False, *expected.tolist()]
    views, loss = logits.repeat(2, 1), losses.CoTeaching(0.5, ignore_index=-100)
    some = logits[1:].repeat(2, 1)
    assert torch.equal(loss(views, labels, epoch=10), loss(some, labels[1:], epoch=10))
    torch.testing.assert_close(losses.GJS(ignore_index=-100)(views, labels), losses.GJS()(some, labels[1:]))


LEAVES = sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml"))


def of_leaf(name: str) -> tuple[losses.Loss, dict[str, Any]]:
    cfg = settings.compose(["data=digits", f"loss={name}"])
    return settings.read(cfg).loss, settings.resolved(cfg)["loss"]


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_holds_all_parameters_with_their_defaults(name: str) -> None:
    loss, leaf = of_leaf(name)
    known = inspect.signature(type(loss).__init__).parameters
    assert {*leaf} - {"name", "_target_"} == {*known} - {"self", "reduction", "ignore_index"}
    if name in SUMS:
        return

    def values(loss: losses.Loss) -> dict[str, Any]:
        return {k: values(v) if isinstance(v, losses.Loss) else v for k, v in loss.values().items()}

    assert values(type(loss)()) == values(loss)


SUMS = {name for name in LEAVES if isinstance(of_leaf(name)[0], losses.WeightedSum)}  # many leaves of one class


def test_reading_a_config_imports_no_torch() -> None:
    code = (
        "import sys; from noisygce import settings\n"
        f"for name in {LEAVES}: settings.read(settings.compose(['data=digits', f'loss={{name}}']))\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=600).returncode == 0


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


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.bool, torch.int32])
def test_soft_labels_of_any_type_stand_for_every_class(kind: torch.dtype) -> None:
    labels = torch.tensor([3, 257, 259, 299, 0])
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    found = losses.CE(reduction="none")(logits, F.one_hot(labels, 300).to(kind))
    torch.testing.assert_close(found, F.cross_entropy(logits, labels, reduction="none"))


def test_a_schedule_asks_for_the_epoch_in_training_alone() -> None:
    logits, labels, _ = batch()
    criterion = losses.CoTeaching(0.4).bind()
    assert criterion.eval()(logits.repeat(2, 1), labels).isfinite()
    with pytest.raises(TypeError, match="follows a schedule: give epoch"):
        criterion.train()(logits.repeat(2, 1), labels)


def test_sop_refuses_the_type_in_which_it_could_not_learn() -> None:
    logits, labels, index = batch()
    with pytest.raises(TypeError, match="SOP cannot learn u and v in float16"):
        losses.SOP().bind(samples=N, classes=K).half()(logits, labels, index)


def test_a_loss_that_remembers_warns_where_several_processes_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noisygce.losses.torch._processes", lambda: 2)
    with pytest.warns(UserWarning, match="ELR remembers each sample in the process that sees it"):
        losses.ELR().bind(samples=N, classes=K)
    with pytest.warns(UserWarning, match="TruncatedGCE remembers each sample"):
        losses.TruncatedGCE().bind(samples=N)
    with pytest.warns(
        UserWarning, match="VolMinNet learns a transition matrix: wrap it in DistributedDataParallel too"
    ):
        losses.VolMinNet().bind(classes=K)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.GCE().bind(samples=N, classes=K)


def test_cross_entropy_of_a_soft_label_is_torch_s() -> None:
    logits, _, _ = batch()
    soft = torch.rand(B, K).softmax(1)
    torch.testing.assert_close(losses.CE()(logits, soft), F.cross_entropy(logits, soft))
    with pytest.raises(ValueError, match=r"labels \(B,\) or, soft, \(B, K\)"):
        losses.CE()(logits, soft[:, :2])


@pytest.mark.parametrize(
    "loss",
    [losses.ELR(3, 0.7), losses.WeightedSum(1, 1, losses.CE(), losses.ELR(3, 0.7)), losses.TruncatedGCE(0.7, 0.5)],
)
def test_a_loss_of_single_samples_refuses_soft_labels(loss: losses.Loss) -> None:
    criterion = loss.bind(samples=N, classes=K)
    logits, labels, index = batch()
    for mode in (criterion.train(), criterion.eval()):
        for more in ((), (index,)):
            with pytest.raises(TypeError, match=r"(prunes|remembers) samples, each with one label: give labels \(B,\)"):
                mode(logits, F.one_hot(labels, K).float(), *more)


# --- in a loop of one's own -------------------------------------------------------------------------------------------


def points() -> tuple[Tensor, Tensor]:
    """N points on either side of a line, and on which side each is."""
    x = torch.tensor([[1.0, 0.5], [-1.0, 0.5]]).repeat(N // 2, 1)
    return x, (x[:, 0] > 0).long()


def task(criterion: Callable[..., Tensor], steps: int = 60) -> tuple[nn.Module, Tensor]:
    """A linear network trained on points whose label is the sign of a coordinate; its weights, and the last loss."""
    x, labels = points()
    network = nn.Linear(2, 2)
    nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    for step in range(steps):
        index = torch.arange(N)[step % 2 * (N // 2) :][: N // 2]
        loss = criterion(network(x[index]), labels[index], index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(network(x).argmax(1), labels)
    return network, loss.detach()


@pytest.mark.parametrize("loss", [losses.GCE(), losses.TruncatedGCE(), losses.ELR(), losses.CE()], ids=repr)
def test_a_plain_loop_trains_with_it(loss: losses.Loss) -> None:
    task(loss.bind(samples=N, classes=2))


def test_lightning_saves_what_a_loss_remembers(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Task(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network, self.criterion = nn.Linear(2, 2), losses.ELR().bind(samples=N, classes=2)

        def training_step(self, batch: Any, _: int) -> Tensor:
            x, labels, index = batch
            return self.criterion(self.network(x), labels, index)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1.0)

    x, labels = points()
    samples = torch.utils.data.TensorDataset(x, labels, torch.arange(N))
    loader = torch.utils.data.DataLoader(samples, batch_size=N)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=20, default_root_dir=tmp_path, enable_checkpointing=True, **quiet)
    made = Task()
    trainer.fit(made, loader)
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    assert torch.equal(made.network(x).argmax(1), labels)
    fresh = Task.load_from_checkpoint(tmp_path / "saved.ckpt")
    assert made.criterion.targets.any()
    assert torch.equal(fresh.criterion.targets, made.criterion.targets)


def test_the_trainer_of_transformers_trains_with_it(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(2, 2)

        def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
            return {"logits": self.network(x)}

    x, labels = points()
    criterion = losses.GCE()
    arguments = transformers.TrainingArguments(
        tmp_path, num_train_epochs=40, learning_rate=0.1, use_cpu=True, report_to=[], save_strategy="no"
    )
    trainer = transformers.Trainer(
        Linear(),
        arguments,
        train_dataset=[{"x": a, "labels": b} for a, b in zip(x, labels, strict=True)],
        compute_loss_func=lambda outputs, labels, **_: criterion(outputs["logits"], labels),
    )
    trainer.train()
    assert torch.equal(trainer.model(x)["logits"].argmax(1), labels)


LOOP = """
import torch
from noisygce.losses import ELR, GCE, CoTeaching, Forward, TruncatedGCE

logits, labels, index = torch.randn(4, 10), torch.zeros(4, dtype=torch.int64), torch.arange(4)
GCE()(logits, labels).backward()
elr = ELR().bind(samples=5, classes=10).to("cuda")
elr(logits, labels, index).backward()
pruning = TruncatedGCE().bind(samples=5)
pruning.prune(logits, labels, index)
Forward()(logits, labels, transition=torch.eye(10)).backward()
CoTeaching(forget_rate=0.4)(logits, labels, epoch=1).backward()
{wrong}
"""


@pytest.mark.slow
def test_type_checkers_take_the_loops_of_the_docs_and_see_a_wrong_argument(tmp_path: Path) -> None:
    for wrong, said in (("", "Success"), ('GCE(q="a")', 'Argument "q" to "GCE" has incompatible type')):
        (tmp_path / "loop.py").write_text(LOOP.format(wrong=wrong))
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--follow-imports=silent", "loop.py"],
            cwd=tmp_path,
            env={**os.environ, "MYPYPATH": str(Path(__file__).parent.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said in done.stdout, done.stdout + done.stderr
