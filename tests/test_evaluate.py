import pytest
import torch

from noisygce.training import evaluate
from noisygce.training.evaluate import Evaluation, accuracy


def test_accuracy_by_head():
    assert accuracy(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 0, 0])) == 0.5
    assert accuracy(torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64)).isnan()


def test_logits_are_the_network_s_in_evaluation_mode_without_augmentation(make):
    t = make("data.padding=2", "data.flip=true")
    for draw in t.batches():  # running statistics that differ from those of a batch
        t.step(draw)
    found = t.logits(t.train)
    t.network.eval()
    with torch.no_grad():
        expected = t.network(t.images.plain(t.train))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not found.requires_grad
    assert found.dtype == torch.float32


def test_the_network_is_left_in_training_mode_and_unchanged(make):
    t = make()
    before = {name: tensor.clone() for name, tensor in t.network.state_dict().items()}
    t.logits(t.train)
    assert t.network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in t.network.state_dict().items())


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_images_do_not_influence_each_other(make, monkeypatch, batch):
    t = make()
    whole = t.logits(t.train)
    monkeypatch.setattr(evaluate, "BATCH", batch)
    torch.testing.assert_close(t.logits(t.train), whole, rtol=0, atol=1e-6)
    assert torch.equal(t.logits(t.train.flip(0)).argmax(1), whole.argmax(1).flip(0))


def test_bf16_rounds_the_logits_and_leaves_the_weights_alone(make):
    t = make()
    exact, rounded = (Evaluation(t.network, t.images, precision)(t.train) for precision in ("fp32", "bf16"))
    assert not torch.equal(exact, rounded)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    # bf16 has 8 bits: a few roundings of 2^-8 through four layers.
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05 * exact.abs().max().item())
    assert {p.dtype for p in t.network.parameters()} == {torch.float32}


def test_a_pass_on_a_gpu_takes_fewer_images_the_larger_they_are():
    def batch(size):
        images = type("Images", (), {"size": size, "device": "cuda:0"})()
        return Evaluation(torch.nn.Identity(), images, "fp32").batch

    assert [batch(size) for size in ((1, 1), (32, 32), (64, 64), (128, 128), (224, 224))] == [1000, 1000, 1000, 250, 81]
    assert batch((10_000, 10_000)) == 1
