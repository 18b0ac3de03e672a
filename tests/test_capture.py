"""A captured step is the eager one, bit for bit; on the CPU, where nothing is captured, what surrounds it is tested."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import SMALL

from noisygce import settings
from noisygce.errors import NoisygceError
from noisygce.losses import CE
from noisygce.losses.forward import ESTIMATES
from noisygce.train import training_of
from noisygce.training import cuda_graph, device, evaluate
from noisygce.training.cuda_graph import Captured, same, warmup
from noisygce.training.fit import Training, digest, fit

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda:0", marks=[pytest.mark.gpu, on_gpu])]

# 10 epochs of 8 batches of 24 and one of 8: 90 steps over a fall of the learning rate and two prunings, after which the
# last batch has another size.
OVER_EVERYTHING = [
    *("loss=tgce", "loss.k=0.12", "rate=0.2", "schedule.epochs=10", "schedule.batch_size=24"),
    *("schedule.milestones=[3]", "prune.start=4", "prune.every=3", "data.padding=1", "data.flip=true"),
]
KINDS = {
    "convnet": [],
    "resnet18 in bf16": ["model=resnet18", "precision=bf16", "schedule.epochs=6"],
    "masked": ["prune.mode=mask"],
    "a loss with state": ["loss=elr"],
    "two views": ["loss=gjs"],
    "two networks": ["loss=co_teaching_plus", "loss.gradual=6", "loss.warm_up=2"],
    "mixed images": ["loss=mixup"],
    "teachers": ["loss=elr_plus", "loss.gamma=0.9", "loss.ramp=8"],
    "forward": ["loss=forward"],
    "forward with an estimate": ["loss=forward_hat"],
    "bi-tempered": ["loss=bi_tempered"],
}


def experiment(at: str, graph: bool, *overrides: str) -> settings.Experiment:
    words = [*SMALL, *OVER_EVERYTHING, *overrides, f"runtime.device={at}", f"runtime.graph={'on' if graph else 'off'}"]
    if any(word.startswith("loss=") for word in overrides):
        words = [word for word in words if word not in ("loss.k=0.12", "loss=tgce")]
    if any(word.startswith("model=") for word in overrides):
        words.remove("model.width=4")
    e = settings.read(settings.compose(words))
    if e.loss.source:  # what its run would have estimated
        e.loss.load_source_estimates("a run", dict.fromkeys(ESTIMATES, 0.6 * np.eye(10) + 0.04))
    return e


def training(at: str, graph: bool, *overrides: str) -> Training:
    return training_of(experiment(at, graph, *overrides), at)


def trained(e: settings.Experiment, at: str, stop: int = 0) -> tuple[str, list[dict]]:
    """Digest of all that training changes, and its rows. stop: go on with another training after so many steps."""

    def after_step(_training: Training, _images: int) -> None:
        nonlocal stop
        stop -= 1
        if stop == 0:
            raise KeyboardInterrupt

    with device.stream(at):
        t = training_of(e, at)
        try:
            rows = list(fit(t, after_step))
        except KeyboardInterrupt:
            saved = {name: tensor.clone() for name, tensor in t.tensors().items()}
            other = training_of(e, at)
            other.load(saved, t.progress)
            list(fit(other, after_step))
            t, rows = other, other.progress.rows
        return digest(t.tensors()), rows  # on that stream: another one would not wait for its last copies


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("kind", KINDS)
def test_a_captured_training_is_the_eager_one_bit_for_bit(kind):
    eager = trained(experiment("cuda:0", False, *KINDS[kind]), "cuda:0")
    assert trained(experiment("cuda:0", True, *KINDS[kind]), "cuda:0") == eager


@pytest.mark.gpu
@on_gpu
def test_a_captured_training_goes_on_from_the_middle_of_an_epoch():
    whole = trained(experiment("cuda:0", False), "cuda:0")
    assert trained(experiment("cuda:0", True), "cuda:0", stop=13) == whole


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("loss", sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml")))
def test_every_loss_can_be_captured(loss):
    words = [f"loss={loss}", "schedule.epochs=2", "schedule.milestones=[1]"]
    both = [trained(experiment("cuda:0", graph, *words), "cuda:0") for graph in (True, False)]
    assert both[0] == both[1]


@pytest.mark.gpu
@on_gpu
def test_runs_side_by_side_are_those_alone():
    def experiments() -> list[settings.Experiment]:  # Hydra composes in one thread only
        return [experiment("cuda:0", True, f"seed={seed}") for seed in range(4)]

    alone = [trained(e, "cuda:0") for e in experiments()]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda e: trained(e, "cuda:0"), experiments())) == alone


@pytest.mark.gpu
@on_gpu
def test_order_and_augmentation_are_the_same_bits_on_cpu_and_gpu():
    here, there = (training(at, False) for at in ("cpu", "cuda:0"))
    for epoch in (0, 1, 7):
        for one, other in zip(
            here.loader.epoch(epoch, here.step.kept), there.loader.epoch(epoch, there.step.kept), strict=True
        ):
            for a, b in zip(
                (one.index, one.top, one.left, one.mirror),
                (other.index, other.top, other.left, other.mirror),
                strict=True,
            ):
                assert torch.equal(a, b.cpu())
            assert torch.equal(here.images.crop(one), there.images.crop(other).cpu())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "resnet18 in bf16"])
def test_what_surrounds_a_graph_changes_nothing(monkeypatch, as_on_a_gpu, kind):
    monkeypatch.setattr(evaluate, "BATCH", 50)  # so that evaluation has full batches
    captured = trained(experiment("cpu", False, *KINDS[kind]), "cpu")
    assert len(as_on_a_gpu) > 40
    monkeypatch.undo()
    monkeypatch.setattr(evaluate, "BATCH", 50)
    eager, rows = trained(experiment("cpu", False, *KINDS[kind]), "cpu")
    assert captured == (eager, rows)
    if kind in ("convnet", "masked"):
        assert rows[-1]["kept"] < rows[0]["kept"]  # it was pruned, so that the odd batch has changed its size


@pytest.mark.usefixtures("as_on_a_gpu")
def test_what_surrounds_a_graph_goes_on_from_the_middle_of_an_epoch():
    e = experiment("cpu", False)
    assert trained(e, "cpu", stop=13) == trained(e, "cpu")


@pytest.mark.parametrize("graph", ["auto", "on"])
def test_a_step_that_cannot_be_recorded_goes_on_without_a_graph_or_is_refused(monkeypatch, caplog, graph):
    def record(_call, _pool):
        raise RuntimeError("operation not permitted when stream is capturing")

    plain = training("cpu", False)
    monkeypatch.setattr(cuda_graph, "record", record)
    monkeypatch.setattr(device, "graphs", lambda *_: graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    t = training("cpu", False)
    draws = t.batches()[:2]
    if graph == "on":
        with pytest.raises(NoisygceError, match=r"not permitted.*runtime\.graph=off"):
            t.step(draws[0])
        return
    for draw in draws:
        t.step(draw)
        plain.step(draw)
    assert digest(t.tensors()) == digest(plain.tensors())
    assert sum("without a CUDA graph" in r.message and "not permitted" in r.message for r in caplog.records) == 1


class ReadsBack(CE):
    """A loss that no graph can hold: it asks for a value of the device."""

    def per_sample(self, logits, labels):
        values = super().per_sample(logits, labels)
        return values * 2 if values.mean().item() > 1 else values


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("graph", ["auto", "on"])
def test_a_loss_that_reads_back_is_trained_without_a_graph_or_refused(graph, caplog):
    def experiment_with(graph):
        e = experiment("cuda:0", True, "loss=ce")
        e.runtime.graph = graph
        return dataclasses.replace(e, loss=ReadsBack())

    if graph == "on":
        with pytest.raises(NoisygceError, match=r"values\.mean\(\)\.item\(\).*runtime\.graph=off"):
            trained(experiment_with(graph), "cuda:0")
    else:
        assert trained(experiment_with("auto"), "cuda:0") == trained(experiment_with("off"), "cuda:0")
        assert sum("without a CUDA graph" in record.message for record in caplog.records) == 1
    after = [trained(experiment("cuda:0", graph), "cuda:0") for graph in (True, False)]
    assert after[0] == after[1]  # what comes after it is recorded as ever


@pytest.mark.parametrize("at", DEVICES)
def test_a_loss_that_counts_in_python_is_refused(at, request):
    if at == "cpu":
        request.getfixturevalue("as_on_a_gpu")

    class Counts(CE):
        calls = 0

        def per_sample(self, logits, labels):
            Counts.calls += 1
            return super().per_sample(logits, labels) * Counts.calls

    e = dataclasses.replace(experiment(at, at != "cpu", "loss=ce"), loss=Counts())
    with pytest.raises(NoisygceError, match=r"Counts: a step changes calls|other numbers than the step"):
        trained(e, at)


def test_a_rehearsed_training_is_as_it_was():
    t, again = training("cpu", False, "loss=elr"), training("cpu", False, "loss=elr")
    draw, *others = t.batches()
    state = list(t.step.state().values())
    after = warmup(lambda: t.step(draw), state)
    assert digest(t.tensors()) == digest(again.tensors())
    for each in (draw, *others):
        t.step(each)
        again.step(each)
        if each is draw:  # what the rehearsal came to is what the step comes to
            assert all(map(same, state, after))
            assert not any(map(same, [*t.network.parameters()], [p + 1 for p in t.network.parameters()]))
    assert digest(t.tensors()) == digest(again.tensors())


def test_a_rehearsal_does_call():
    calls = []
    warmup(lambda: calls.append(1), [])
    assert len(calls) > 1


def test_values_are_compared_bit_for_bit_in_every_type():
    nan, inf = float("nan"), float("inf")
    for values in ([0.0, nan, inf], [True, False], [1, 2]):
        one = torch.tensor(values)
        assert same(one, one.clone())
        assert not same(one, one.flip(0))
    assert not same(torch.tensor([0.0, nan]), torch.tensor([0.0, 0.0]))


def test_another_size_is_not_captured():
    called = Captured(lambda a, b: a + b, 4, tuple, pool=None)
    assert torch.equal(called(torch.ones(3), torch.ones(3)), torch.full((3,), 2.0))
    assert called._replay is None


def test_a_step_changes_nothing_outside_its_state():
    """What a graph's warm-up puts back is the state: a tensor missing from it would be left changed."""
    t = training("cpu", False, "loss=elr")
    named = {id(tensor) for tensor in t.step.state().values()}
    known = (*vars(t.step).values(), *vars(t.loss).values(), *vars(t.images).values())
    others = [v for v in known if isinstance(v, torch.Tensor) and id(v) not in named]
    before = [v.clone() for v in others]
    t.step(t.batches()[0])
    assert len(others) >= 4  # labels, lr, pixels, mean, ...
    assert all(torch.equal(v, b) for v, b in zip(others, before, strict=True))


@pytest.mark.slow
def test_compiled_full_batches_train_like_eager_ones_up_to_rounding():
    plain, fused = (training("cpu", False, "data.subset=56", f"compile={c}") for c in ("false", "true"))
    assert [len(draw.index) for draw in plain.batches()] == [24, 24, 8]
    for draw in plain.batches():
        plain.step(draw)
        fused.step(draw)
    assert digest(plain.step.weights()) != digest(fused.step.weights())  # Inductor rounds differently: it was there
    for name, tensor in plain.step.weights().items():
        torch.testing.assert_close(fused.step.weights()[name], tensor, rtol=1e-3, atol=1e-4)
