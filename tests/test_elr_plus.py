"""ELR+: its formula against the definition written anew, its teachers, and two networks trained by hand."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from noisygce import losses, models, runs, settings, train
from noisygce.check import Invalid
from noisygce.models.peers import NetworkPair
from noisygce.runs import artifacts
from noisygce.training import fit
from noisygce.training.images import BatchSpec

B, K, N = 12, 5, 30
Array = NDArray[Any]


def bound(**values: Any) -> losses.ELRPlus:
    return losses.ELRPlus(**values).bind(samples=N, classes=K)


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of two networks (2 B, K) in float64, labels (B,), index (B,)."""
    g = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((2 * B, K), generator=g, dtype=torch.float64)
    return logits, torch.randint(K, (B,), generator=g), torch.randperm(N, generator=g)[:B]


def risen(step: int, ramp: int) -> float:
    return math.exp(-5 * (1 - min(step, ramp) / ramp) ** 2) if ramp else 1.0


def softmax(logits: Array) -> Array:
    p = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(p / p.sum(1, keepdims=True))


def of_one(logits: Array, labels: Array, t: Array, partner: Array, w: float, lam: float, reweight: bool) -> float:
    """The mean loss of a network: cross entropy with mixed labels, and the regulariser with mixed targets."""
    t = w * t + (1 - w) * t[partner]
    p, given = softmax(logits), np.eye(K)[labels]
    given = w * given + (1 - w) * given[partner]
    if reweight:
        given = given * t / (given * t).sum(1, keepdims=True)
    kept = np.clip(p, 1e-4, 1 - 1e-4)
    return float((-(given * np.log(p)).sum(1) + lam * np.log(1 - (kept * t).sum(1))).mean())


# ---- The formula


def test_the_numbers_of_one_step_by_head() -> None:
    """Two samples, two classes. The teachers are sure of nothing, but for the second one's 3/4 and 1/4; b is 1/2."""
    loss = losses.ELRPlus(lam=2, b=0.5).bind(samples=2, classes=2)
    even, unlike = [0.0, 0.0], [math.log(3), 0.0]
    index, labels, partner = torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([1, 0])
    loss.observe(torch.tensor([even, even, unlike, even]), index)
    # Of the first network: what the second one's teacher says of the samples, halved.
    assert loss.targets[:, 0].flatten().tolist() == pytest.approx([3 / 8, 1 / 8, 1 / 4, 1 / 4])
    assert loss.targets[:, 1].flatten().tolist() == pytest.approx([1 / 4] * 4)
    # Both networks say 1/2 of either class, so that <p, t> is half the sum of t, which is 1/2 for all samples.
    values = loss.of_mixed(torch.zeros(4, 2), labels, index, partner, torch.tensor(0.25))
    assert values.tolist() == pytest.approx([2 * (math.log(2) + 2 * math.log(1 - 1 / 4))] * 2)
    # p = (3/4, 1/4) for the first network's first image: t = 1/4 (3/8, 1/8) + 3/4 (1/4, 1/4) = (9/32, 7/32).
    own = loss.of_mixed(torch.tensor([unlike, even, even, even]), labels, index, partner, torch.tensor(0.25))[0]
    first = -0.25 * math.log(3 / 4) - 0.75 * math.log(1 / 4) + 2 * math.log(1 - (3 * 9 + 7) / 128)
    assert own.item() == pytest.approx(first + math.log(2) + 2 * math.log(3 / 4))


@pytest.mark.parametrize("reweight", [False, True])
@pytest.mark.parametrize("lam_ramp", [0, 6])
def test_values_and_targets_are_those_of_the_definition(lam_ramp: int, reweight: bool) -> None:
    loss, targets = bound(lam=3, b=0.7, lam_ramp=lam_ramp, reweight=reweight), np.zeros((2, N, K))
    for step in range(1, 9):
        g = torch.Generator().manual_seed(100 + step)
        (said, _, _), (logits, labels, index) = batch(50 + step), batch(step)
        partner, w = torch.randperm(B, generator=g), step / 9
        loss.observe(said, index)
        values = loss.of_mixed(logits, labels, index, partner, torch.tensor(w, dtype=torch.float64))
        for mine, teacher in ((0, said[B:]), (1, said[:B])):
            targets[mine, index] = 0.7 * targets[mine, index] + 0.3 * softmax(teacher.numpy())
        ours = [x.numpy() for x in logits.chunk(2)]
        how = (partner.numpy(), w, 3 * risen(step, lam_ramp), reweight)
        expected = sum(of_one(x, labels.numpy(), t[index], *how) for x, t in zip(ours, targets, strict=True))
        assert values.mean().item() == pytest.approx(expected, rel=1e-5)
        torch.testing.assert_close(loss.targets.double().numpy(), targets.swapaxes(0, 1), rtol=1e-5, atol=1e-7)


def test_of_two_equal_networks_that_are_their_own_teachers_it_is_twice_elr() -> None:
    one, labels, index = torch.randn(B, K, generator=torch.Generator().manual_seed(0)), *batch()[1:]
    elr, plus = losses.ELR(lam=3, b=0.7).bind(samples=N, classes=K), bound(lam=3, b=0.7)
    for _ in range(3):
        plus.observe(one.repeat(2, 1), index)
        torch.testing.assert_close(plus(one.repeat(2, 1), labels, index), 2 * elr(one, labels, index))


def test_no_gradient_reaches_a_teacher() -> None:
    logits, labels, index = batch()
    said = batch(1)[0].requires_grad_()
    loss = bound()
    loss.observe(said, index)
    loss(logits.requires_grad_(), labels, index).backward()
    assert said.grad is None
    assert not loss.targets.requires_grad
    assert logits.grad is not None


def test_teachers_keep_less_of_themselves_at_the_beginning() -> None:
    loss = bound(gamma=0.9, ramp=4)
    found = []
    for _ in range(6):
        loss.observe(*batch()[::2])
        found.append(loss.teacher_decay().item())
    assert found == pytest.approx([0.9 * math.exp(-5 * left**2) for left in (0.5, 0.25, 0, 0, 0, 0)], rel=1e-12)
    assert bound(gamma=0.9, ramp=0).teacher_decay().item() == 0.9


def test_what_cannot_be_is_refused() -> None:
    for values in ({"lam": -1}, {"b": 1}, {"alpha": -0.1}, {"gamma": 1}, {"ramp": -1}, {"lam_ramp": 0.5}):
        with pytest.raises(Invalid, match=rf"^{next(iter(values))}="):
            losses.ELRPlus(**values)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"samples is missing: call bind\(samples=N"):
        losses.ELRPlus().bind(classes=K)


# ---- In training


def words(*more: str) -> list[str]:
    return ["loss=elr_plus", "loss.gamma=0.9", "loss.ramp=8", "data.padding=1", "schedule.milestones=[9]", *more]


def by_hand(t: Any, epochs: int) -> tuple[list[nn.Module], list[nn.Module], Array]:
    """Two networks, an optimizer each, their teachers, and the memory (2, N, K)."""
    networks = [copy.deepcopy(network) for network in t.network.peers]
    teachers, s, step = copy.deepcopy(networks), t.schedule, 0
    optimizers = [
        torch.optim.SGD(n.parameters(), lr=s.lr, momentum=s.momentum, weight_decay=s.weight_decay) for n in networks
    ]
    memory = torch.zeros(2, len(t.noisy), 10)
    for epoch in range(epochs):
        for draw in t.loader.epoch(epoch, t.step.kept):
            step += 1
            images, w, partner = t.images.crop(BatchSpec(*draw.tensors()[:5])), draw.weight, draw.partner
            labels = nn.functional.one_hot(t.noisy[draw.index], 10).float()
            mixed, given = (w * x + (1 - w) * x[partner] for x in (images, labels))
            with torch.no_grad():
                said = [teacher(images).softmax(1) for teacher in teachers]
            for mine, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
                memory[mine, draw.index] = 0.7 * memory[mine, draw.index] + 0.3 * said[1 - mine]
                target = memory[mine, draw.index]
                target = w * target + (1 - w) * target[partner]
                logits = network(mixed)
                p = logits.softmax(1).clamp(1e-4, 1 - 1e-4)
                loss = nn.functional.cross_entropy(logits, given) + 3 * (1 - (p * target).sum(1)).log().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            decay = 0.9 * risen(step + 1, 8)
            for network, teacher in zip(networks, teachers, strict=True):
                for mean, weight in zip(teacher.parameters(), network.parameters(), strict=True):
                    mean.data.mul_(decay).add_(weight.data, alpha=1 - decay)
    return networks, teachers, memory.numpy()


def test_steps_are_those_of_two_networks_with_a_teacher_each(make: Any) -> None:
    t = make(*words())
    networks, teachers, memory = by_hand(t, 3)
    for epoch in range(3):
        t.step.start_epoch(epoch)
        for draw in t.loader.epoch(epoch, t.step.kept):
            t.step(draw)
    close = {"rtol": 1e-3, "atol": 1e-5}
    for mine, (network, teacher) in enumerate(zip(networks, teachers, strict=True)):
        for (name, ours), expected in zip(
            t.network.peers[mine].state_dict().items(), network.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(ours, expected, **close, msg=name)
        for name, expected in teacher.named_parameters():
            ours = t.step.teachers.tensors[f"peers.{mine}.{name}"]
            torch.testing.assert_close(ours, expected.data, **close, msg=name)
            assert not torch.allclose(ours, dict(network.named_parameters())[name], **close)
    torch.testing.assert_close(t.loss.targets.numpy(), memory.swapaxes(0, 1), **close)


@pytest.mark.parametrize("more", [["loss.alpha=0"], ["precision=bf16"], ["schedule.ema=0.9", "loss.reweight=true"]])
def test_a_training_of_any_kind_repeats_its_bits_and_is_finite(make: Any, more: list[str]) -> None:
    one, two = (make(*words("schedule.epochs=2", *more)) for _ in range(2))
    rows = [list(fit.fit(t, lambda *_: None)) for t in (one, two)]
    assert rows[0] == rows[1]
    assert fit.digest(one.tensors()) == fit.digest(two.tensors())
    assert {name.partition(".")[0] for name in one.tensors()} >= {"network", "teachers", "loss"}


def test_the_mean_of_both_networks_logits_is_evaluated_and_kept(tmp_path: Path) -> None:
    given = ["data=digits", "data.subset=200", "model.width=4", "schedule.epochs=2", *words(), "runtime.device=cpu"]
    cfg = settings.compose([*given, f"paths.results={tmp_path}"])
    run_config = runs.identity(settings.resolved(cfg))
    train.train(settings.read(cfg), run_config)
    run = runs.Run(tmp_path, run_config)
    network, preprocess, _ = models.load(run.folder)
    assert isinstance(network, NetworkPair)
    found = artifacts.predictions(run.folder, run.manifest() or {})
    e, test = settings.read(cfg), found.split == "test"
    images = preprocess(e.data.load(e.paths.data).test_images[found.index[test]])
    with torch.no_grad():
        both, apart = network(images), [peer(images) for peer in network.peers]
    torch.testing.assert_close(both, (apart[0] + apart[1]) / 2)
    p = torch.from_numpy(found.p[test]).float()
    torch.testing.assert_close(both.softmax(1), p, rtol=0, atol=1e-3)
    assert not torch.allclose(apart[0].softmax(1), p, rtol=0, atol=1e-3)


def test_in_eval_mode_nothing_is_observed() -> None:
    loss, (logits, _, index) = bound(), batch()
    loss.eval()
    loss.observe(logits, index)
    assert not loss.targets.any()
    assert not loss.steps
    loss.train()
    loss.observe(logits, index)
    assert loss.targets.any()
    assert loss.steps == 1
