"""A captured step is the eager one, bit for bit; on the CPU, where nothing is captured, what surrounds it is tested."""

import threading

import pytest
import torch
from conftest import SMALL

from noisygce import config, device
from noisygce.capture import Captured, rehearse
from noisygce.fit import digest, fit
from noisygce.train import training_of

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
    "a loss with state": ["loss=elr", "~loss.k"],
    "two views": ["loss=gjs", "~loss.k"],
    "forward": ["loss=forward", "~loss.k"],
    "bi-tempered": ["loss=bi_tempered", "~loss.k"],
}


def training(at: str, graph: bool, *overrides: str):
    words = [*SMALL, *OVER_EVERYTHING, *overrides, f"runtime.device={at}", f"runtime.graph={'on' if graph else 'off'}"]
    if "~loss.k" in words:
        words = [word for word in words if word not in ("~loss.k", "loss.k=0.12", "loss=tgce")]
    return training_of(config.read(config.compose(words)), at)


def trained(at: str, graph: bool, *overrides: str) -> tuple[str, list[dict]]:
    """Digest of all that training changes, and its rows."""
    with device.stream(at):
        t = training(at, graph, *overrides)
        rows = list(fit(t, lambda _training, _images: None))
    return digest(t.tensors()), rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", DEVICES)
def test_a_captured_training_is_the_eager_one_bit_for_bit(at, kind):
    if kind == "resnet18 in bf16" and at == "cpu":
        pytest.skip("minutes without a GPU")
    eager, rows = trained(at, False, *KINDS[kind])
    assert trained(at, at != "cpu", *KINDS[kind]) == (eager, rows)
    if "loss.k=0.12" in OVER_EVERYTHING and kind in ("convnet", "masked"):
        assert rows[-1]["kept"] < rows[0]["kept"]  # it was pruned, so that the odd batch has changed its size


@pytest.mark.gpu
@on_gpu
def test_runs_side_by_side_are_those_alone():
    alone = [trained("cuda:0", True, f"seed={seed}") for seed in range(4)]
    beside: dict[int, tuple[str, list[dict]]] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: beside.update({seed: trained("cuda:0", True, f"seed={seed}")}))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [beside[seed] for seed in range(4)] == alone


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


def test_a_rehearsed_training_is_as_it_was():
    t, again = training("cpu", False, "loss=elr", "~loss.k"), training("cpu", False, "loss=elr", "~loss.k")
    draw, *others = t.batches()
    rehearse(lambda: t.step(draw), t.step.state().values())
    assert digest(t.tensors()) == digest(again.tensors())
    for each in (draw, *others):
        t.step(each)
        again.step(each)
    assert digest(t.tensors()) == digest(again.tensors())


def test_a_rehearsal_does_call():
    calls = []
    rehearse(lambda: calls.append(1), [])
    assert len(calls) > 1


def test_another_size_is_not_captured():
    called = Captured(lambda a, b: a + b, 4, tuple, pool=None)
    assert torch.equal(called(torch.ones(3), torch.ones(3)), torch.full((3,), 2.0))
    assert called.graph is None


def test_a_step_changes_nothing_outside_its_state():
    """What a graph's warm-up puts back is the state: a tensor missing from it would be left changed."""
    t = training("cpu", False, "loss=elr", "~loss.k")
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
