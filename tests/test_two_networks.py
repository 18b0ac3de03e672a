"""Losses of two networks: which samples they choose, against the definition written anew; the networks in training."""

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
from torch.nn import functional as F

from noisygce import losses, models, results, runs, settings, train
from noisygce.check import Invalid
from noisygce.losses.small_loss import SmallLoss
from noisygce.models import ConvNet
from noisygce.models.peers import NetworkPair
from noisygce.runs import artifacts

K = 10
Array = NDArray[Any]
RATES = [0.0, 0.1, 0.4, 0.9]


# ---- The definitions, in NumPy and with lists of samples


def cross_entropies(logits: Array, labels: Array) -> Array:
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]


def smallest(values: Array, among: list[int], forget_rate: float) -> list[int]:
    """The samples that are kept: int((1 - forget_rate) n) of n, all of them where that would be none."""
    count = int((1 - forget_rate) * len(among))
    return sorted(among, key=lambda i: values[i])[: count or len(among)]


def co_teaching(one: Array, two: Array, labels: Array, forget_rate: float, among: list[int]) -> float:
    first, second = cross_entropies(one, labels), cross_entropies(two, labels)
    if not among:
        return 0.0
    return float(
        first[smallest(second, among, forget_rate)].mean() + second[smallest(first, among, forget_rate)].mean()
    )


def disagreements(one: Array, two: Array) -> list[int]:
    return [i for i in range(len(one)) if one[i].argmax() != two[i].argmax()]


def jocor(one: Array, two: Array, labels: Array, forget_rate: float, lam: float) -> float:
    p, q = (np.exp(x - x.max(1, keepdims=True)) for x in (one, two))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    apart = (p * np.log(p / q)).sum(1) + (q * np.log(q / p)).sum(1)
    joint = (1 - lam) * (cross_entropies(one, labels) + cross_entropies(two, labels)) + lam * apart
    return float(joint[smallest(joint, list(range(len(labels))), forget_rate)].mean())


def drawn(size: int, seed: int) -> tuple[Array, Array, Array]:
    """Logits of two networks, which agree on some samples, and labels."""
    g = np.random.default_rng(seed)
    one = 3 * g.standard_normal((size, K))
    return one, one + 2 * g.standard_normal((size, K)), g.integers(0, K, size)


def started(loss: SmallLoss, epoch: int = 100) -> SmallLoss:
    loss.bind(samples=0, classes=K, device="cpu")
    loss.start_epoch(epoch)
    return loss


def value(loss: SmallLoss, one: Array, two: Array, labels: Array) -> float:
    return loss(torch.from_numpy(np.concatenate([one, two])), torch.from_numpy(labels)).item()


@pytest.mark.parametrize("size", [2, 7, 128])
@pytest.mark.parametrize("rate", RATES)
def test_losses_are_the_means_over_the_samples_that_the_definitions_choose(rate: float, size: int) -> None:
    for seed in range(20):
        one, two, labels = drawn(size, seed)
        expected = co_teaching(one, two, labels, rate, list(range(size)))
        assert value(started(losses.CoTeaching(rate, 10)), one, two, labels) == pytest.approx(expected, rel=1e-12)
        plus = losses.CoTeachingPlus(rate, 10, 20)
        expected_plus = co_teaching(one, two, labels, rate, disagreements(one, two))
        assert value(started(plus), one, two, labels) == pytest.approx(expected_plus, rel=1e-12)
        assert value(started(plus, 19), one, two, labels) == pytest.approx(expected, rel=1e-12)
        for lam in (0.0, 0.9, 1.0):
            joint = value(started(losses.JoCoR(rate, 10, lam)), one, two, labels)
            assert joint == pytest.approx(jocor(one, two, labels, rate, lam), rel=1e-12)


def test_each_network_learns_from_the_other_s_choice_alone() -> None:
    one, two, labels = drawn(16, 0)
    logits = torch.from_numpy(np.concatenate([one, two])).requires_grad_()
    started(losses.CoTeaching(0.5, 10))(logits, torch.from_numpy(labels)).backward()
    moved = (logits.grad != 0).any(1).nonzero().flatten().tolist()  # type: ignore[union-attr]
    first, second = cross_entropies(one, labels), cross_entropies(two, labels)
    everyone = list(range(16))
    chosen = sorted(smallest(second, everyone, 0.5)), sorted(16 + i for i in smallest(first, everyone, 0.5))
    assert chosen[0] != [i - 16 for i in chosen[1]]
    assert moved == [*chosen[0], *chosen[1]]


def test_networks_that_agree_on_a_whole_batch_teach_each_other_nothing() -> None:
    one, _, labels = drawn(16, 0)
    logits = torch.from_numpy(np.concatenate([one, 2 * one])).requires_grad_()
    loss = started(losses.CoTeachingPlus(0.2, 10, 20))(logits, torch.from_numpy(labels))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()  # type: ignore[union-attr]


def test_of_equal_losses_as_many_are_chosen_as_of_others() -> None:
    logits, labels = torch.zeros(2 * 10, K, dtype=torch.float64), torch.zeros(10, dtype=torch.long)
    each = started(losses.CoTeaching(0.3, 10, reduction="none"))(logits, labels)
    assert each.tolist() == pytest.approx([2 * math.log(K) * 10 / 7] * 7 + [0.0] * 3)


def test_the_forget_rate_grows_to_that_of_the_wrong_labels() -> None:
    loss = losses.CoTeaching(None, 10)
    half_of_the_classes = np.eye(4)
    half_of_the_classes[0] = [0.6, 0.4, 0, 0]
    half_of_the_classes[2] = [0, 0, 0.6, 0.4]
    half_of_the_classes = np.pad(half_of_the_classes, (0, 1))  # and one without samples
    loss.bind(samples=0, classes=5, device="cpu", transition=half_of_the_classes)
    found = []
    for epoch in (0, 1, 5, 10, 39):
        loss.start_epoch(epoch)
        found.append(loss.state()["forgotten"].item())
    assert found == pytest.approx([0, 0.02, 0.1, 0.2, 0.2])
    with pytest.raises(TypeError, match=r"transition is missing: T \(K, K\), or give forget_rate"):
        losses.JoCoR(None, 10, 0.9).bind(samples=0, classes=4, device="cpu")


def test_as_a_module_the_schedule_is_in_the_state_dict() -> None:
    criterion = losses.CoTeachingPlus(0.4, 10, 20).bind(classes=K)
    criterion.start_epoch(5)
    saved = copy.deepcopy(criterion.state_dict())
    assert {name: tensor.item() for name, tensor in saved.items()} == {"forgotten": 0.2, "warming_up": True}
    fresh = losses.CoTeachingPlus(0.4, 10, 20).bind(classes=K)
    fresh.start_epoch(0)
    fresh.load_state_dict(saved)
    one, two, labels = map(torch.from_numpy, drawn(16, 0))
    logits = torch.cat([one, two])
    assert torch.equal(fresh(logits, labels), criterion(logits, labels))


def test_soft_labels_are_refused() -> None:
    with pytest.raises(TypeError, match=r"chooses samples by their label: give labels \(B,\)"):
        started(losses.CoTeaching(0.4, 10))(torch.zeros(4, K), torch.full((2, K), 1 / K))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: losses.CoTeaching(1.0, 10), r"forget_rate=1\.0: .* a number in \[0, 1\)"),
        (lambda: losses.CoTeaching(0.4, 0), "gradual=0: .* an integer in"),
        (lambda: losses.CoTeachingPlus(0.4, 10, -1), "warm_up=-1: .* an integer in"),
        (lambda: losses.JoCoR(0.4, 10, 1.1), r"lam=1\.1: .* a number in \[0, 1\]"),
    ],
)
def test_values_out_of_range_are_refused(make: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        make()


# ---- Two networks as one


def test_the_first_of_several_networks_is_the_one_there_would_be_alone_and_the_others_differ() -> None:
    alone, three = ConvNet(4, "he_normal").build((8, 8, 1), K, 7), ConvNet(4, "he_normal").build((8, 8, 1), K, 7, 3)
    first, second, third = (network.state_dict() for network in three.peers)  # type: ignore[union-attr]
    assert all(torch.equal(tensor, first[name]) for name, tensor in alone.state_dict().items())
    for name, p in alone.named_parameters():
        if p.dim() > 1:  # batch norm begins with 1 and 0
            assert not any(torch.equal(a, b) for a, b in ((first[name], second[name]), (second[name], third[name])))


def test_in_training_all_networks_answer_and_in_evaluation_the_first() -> None:
    both = ConvNet(4, "he_normal").build((8, 8, 1), K, 0, 2)
    images = torch.randn(6, 1, 8, 8)
    apart = [copy.deepcopy(network) for network in both.peers]  # type: ignore[union-attr, operator]
    assert torch.equal(both(images), torch.cat([network(images) for network in apart]))
    assert torch.equal(both.eval()(images), apart[0].eval()(images))


# ---- In training


def by_hand(t: Any, chosen: Any, epochs: int) -> list[nn.Module]:
    """Two networks, an optimizer each, and the mean cross entropy over lists of samples."""
    networks = [copy.deepcopy(network) for network in t.network.peers]
    s = t.schedule
    optimizers = [
        torch.optim.SGD(n.parameters(), lr=s.lr, momentum=s.momentum, weight_decay=s.weight_decay) for n in networks
    ]
    for epoch in range(epochs):
        for draw in t.loader.epoch(epoch, t.step.kept):
            images, labels = t.images.crop(draw), t.noisy[draw.index]
            logits = [network(images) for network in networks]
            one, two = (x.detach().double().numpy() for x in logits)
            choices = chosen(one, two, labels.numpy(), epoch)
            for optimizer, own, mine in zip(optimizers, logits, choices, strict=True):
                optimizer.zero_grad()
                F.cross_entropy(own[mine], labels[mine]).backward()
                optimizer.step()
    return networks


def exchanged(one: Array, two: Array, labels: Array, epoch: int) -> tuple[list[int], list[int]]:
    """Co-teaching with rate 0.4, reached after two epochs; after one epoch on disagreements alone."""
    first, second = cross_entropies(one, labels), cross_entropies(two, labels)
    among = list(range(len(labels))) if epoch < 1 else disagreements(one, two)
    rate = 0.4 * min(epoch / 2, 1)
    return smallest(second, among, rate), smallest(first, among, rate)


def test_steps_are_those_of_two_networks_with_an_optimizer_each(make: Any) -> None:
    t = make("loss=co_teaching_plus", "loss.gradual=2", "loss.warm_up=1", "data.padding=1", "schedule.milestones=[9]")
    expected = by_hand(t, exchanged, 3)
    for epoch in range(3):
        t.step.start_epoch(epoch)
        for draw in t.loader.epoch(epoch, t.step.kept):
            t.step(draw)
    for ours, theirs in zip(t.network.peers, expected, strict=True):
        for (name, one), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6, msg=name)


def test_accuracies_are_those_of_the_first_network(make: Any) -> None:
    t = make("loss=jocor")
    t.step.start_epoch(0)
    for draw in t.batches():
        t.step(draw)
    first, second = (network.eval() for network in t.network.peers)
    with torch.no_grad():
        answers = [network(t.images.plain(t.train)) for network in (first, second)]
    t.network.train()
    assert torch.equal(t.logits(t.train), answers[0])
    assert not torch.equal(*answers)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["data=digits", "data.subset=200", "model.width=4", "schedule.epochs=2", "loss=co_teaching"]
    cfg = settings.compose([*words, "runtime.device=cpu", f"paths.results={tmp_path_factory.mktemp('run')}"])
    run_config = runs.identity(settings.resolved(cfg))
    train.train(settings.read(cfg), run_config)
    return runs.Run(Path(cfg.paths.results), run_config).folder


class Council(models.Model):
    """A network whose weights all lie under the attribute that ``NetworkPair`` has them under."""

    def _layers(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        class Whole(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.peers = nn.ModuleList([nn.Linear(64, classes), nn.Linear(64, classes)])

            def forward(self, images: Tensor) -> Tensor:
                one, two = (peer(images.flatten(1)) for peer in self.peers)
                return one + two

        return Whole()


@pytest.mark.parametrize("networks", [1, 2])
def test_a_network_of_one_s_own_may_call_its_layers_peers(networks: int, tmp_path: Path) -> None:
    network = Council().build((8, 8, 1), K, 0, networks).eval()
    preprocess = models.Preprocess((8, 8, 1), torch.zeros(1), torch.ones(1))
    config = {"seed": 0, "model": {"name": "council", "_target_": f"{__name__}.Council"}}
    path = tmp_path / "model.safetensors"
    path.write_bytes(models.saved.packed(network.state_dict(), preprocess, ["x"] * K, config))
    images = torch.rand(5, 1, 8, 8)
    loaded = models.load(path).network
    assert isinstance(loaded, NetworkPair) == (networks == 2)
    assert torch.equal(loaded(images), network(images))


def test_a_kept_model_holds_both_networks_and_answers_as_the_first(finished: Path) -> None:
    network, preprocess, _ = models.load(finished)
    assert isinstance(network, NetworkPair)
    run = results.of_folder(finished)
    found = artifacts.predictions(finished, run.manifest)
    e = settings.read(settings.compose(["data=digits", "data.subset=200"]))
    test = found.split == "test"
    pictures = e.data.load(e.paths.data).test_images[found.index[test]]

    def said(by: nn.Module) -> Tensor:
        with torch.no_grad():
            return by(preprocess(pictures)).softmax(1)

    p = torch.from_numpy(found.p[test]).float()
    torch.testing.assert_close(said(network), p, rtol=0, atol=1e-3)
    assert torch.equal(said(network), said(network.peers[0]))
    assert not torch.allclose(said(network.peers[1]), p, rtol=0, atol=1e-3)
