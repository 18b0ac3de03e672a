import math

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.resnet import resnet18, resnet34

from noisygce import settings
from noisygce.check import Invalid
from noisygce.errors import ConfigError
from noisygce.models import CNN, Airbench, ConvNet, Model, ResNet
from noisygce.models.pool import MaxPool2, _Max

COLOUR, GREY, DIGIT = (32, 32, 3), (28, 28, 1), (8, 8, 1)


def count(network):
    return sum(p.numel() for p in network.parameters())


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_173_962), (34, 21_282_122)])
def test_resnet_has_the_published_number_of_parameters(depth, parameters):
    assert count(ResNet(depth, "he_normal", None, False).build(COLOUR, 10, 0)) == parameters


def test_parameter_counts_of_other_inputs_differ_by_the_stem_and_the_head_alone():
    base = count(ResNet(18, "he_normal", None, False).build(COLOUR, 10, 0))
    assert count(ResNet(18, "he_normal", None, False).build(COLOUR, 100, 0)) == base + 90 * 513
    assert count(ResNet(18, "he_normal", None, False).build(GREY, 10, 0)) == base - 2 * 9 * 64


def test_convnet_has_the_number_of_parameters_counted_by_hand():
    # width 4, 8x8x1: conv 36, norm 8, conv 9*4*8, norm 16, linear 8*4*4 -> 16, linear 16 -> 10.
    assert count(ConvNet(4, "he_normal").build(DIGIT, 10, 0)) == 36 + 8 + 288 + 16 + (128 * 16 + 16) + (16 * 10 + 10)


@pytest.mark.parametrize(("depth", "torchvision_s"), [(18, resnet18), (34, resnet34)])
@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_logits_are_those_of_torchvision_s_resnet_with_the_cifar_stem(depth, torchvision_s, shape):
    ours = ResNet(depth, "he_normal", None, False).build(shape, 10, 0)
    theirs = torchvision_s(num_classes=10)
    theirs.conv1 = nn.Conv2d(shape[2], 64, kernel_size=3, stride=1, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, shape[2], *shape[:2], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (ConvNet(4, "he_normal"), DIGIT),
        (ConvNet(4, "torch"), DIGIT),
        (CNN([4, 8], 8, "he_uniform"), DIGIT),
        (Airbench(4, [4, 8], 0.1, "torch"), DIGIT),
        (Airbench(4, [4, 8], 0.1, "he_normal"), DIGIT),
        (ConvNet(4, "he_normal"), COLOUR),
        (ResNet(18, "he_normal", None, False), GREY),
    ],
)
def test_weights_are_a_function_of_the_seed(model, shape):
    first = model.build(shape, 10, 0)
    assert same(first, model.build(shape, 10, 0))
    others = dict(model.build(shape, 10, 1).named_parameters())
    for name, p in first.named_parameters():
        constant = bool((p == p.flatten()[0]).all())  # batch norm: 1 and 0
        assert constant == torch.equal(p, others[name]), name


@pytest.mark.parametrize("model", [ConvNet(4, "he_normal"), ResNet(18, "he_normal", None, False)])
def test_torch_s_global_generator_is_neither_read_nor_moved(model):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = model.build(DIGIT, 10, 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(first, model.build(DIGIT, 10, 0))


def test_layers_without_a_rule_of_their_own_are_a_function_of_the_seed_too():
    class Own(Model):
        def _layers(self, shape, classes):
            return nn.Sequential(nn.Flatten(2), nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 62, classes))

    torch.manual_seed(1)
    first = Own().build(DIGIT, 10, 0)
    torch.manual_seed(2)
    assert same(first, Own().build(DIGIT, 10, 0))
    assert not torch.equal(first[1].weight, Own().build(DIGIT, 10, 1)[1].weight)


def test_initial_weights_are_he_normal_by_fan_out_and_uniform_in_the_linear_layer():
    network = ResNet(18, "he_normal", None, False).build(COLOUR, 10, 0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            std = math.sqrt(2 / (layer.out_channels * math.prod(layer.kernel_size)))
            # Of n draws the relative error of the sample's std is 1 / sqrt(2 n).
            n = layer.weight.numel()
            assert layer.weight.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * n))
            assert abs(layer.weight.mean().item()) < 4 * std / math.sqrt(n)
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()
    bound = 512**-0.5
    assert 0.99 * bound < network.fc.weight.abs().max().item() <= bound


def robust_loss_cnn():
    """The network of the APL, ALFs and epsilon-softmax code on CIFAR-10, from its description alone."""

    def block(before, after):
        convs = [nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)]
        return [layer for conv in convs for layer in (conv, nn.BatchNorm2d(after), nn.ReLU())] + [nn.MaxPool2d(2, 2)]

    head = [nn.Flatten(), nn.Linear(4 * 4 * 196, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 10)]
    return nn.Sequential(*block(3, 64), *block(64, 128), *block(128, 196), *head)


def test_cnn8_is_the_network_of_the_robust_loss_papers():
    ours, theirs = settings.read(settings.compose(["model=cnn8"])).model.build(COLOUR, 10, 0), robust_loss_cnn()
    assert count(ours) == count(theirs) == 1_639_794
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = []
    for network in (ours, theirs):
        logits = network.to(memory_format=torch.contiguous_format)(images)
        logits.square().sum().backward()
        found.append((logits, [p.grad for p in network.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_airbench_is_the_shape_of_the_paper_s_network():
    """Written out as section 3 of arXiv 2404.00498 has it for 32x32 images, with a plain max pool of 3 at the end."""

    def block(before, after):
        convolutions = (nn.Conv2d(b, after, 3, padding="same", bias=False) for b in (before, after))
        yield from (next(convolutions), nn.MaxPool2d(2), nn.BatchNorm2d(after), nn.GELU())
        yield from (next(convolutions), nn.BatchNorm2d(after), nn.GELU())

    head = [nn.MaxPool2d(3), nn.Flatten(), nn.Linear(256, 10, bias=False)]
    body = [*block(24, 64), *block(64, 128), *block(128, 256)]
    written = nn.Sequential(nn.Conv2d(3, 24, 2), nn.GELU(), *body, *head)
    ours = settings.read(settings.compose(["model=airbench"])).model.build(COLOUR, 10, 0)
    assert count(ours) == count(written) == 1_161_272
    for mine, other in zip(ours.parameters(), written.parameters(), strict=True):
        other.data.copy_(mine)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(images), written(images) / 9, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("type_", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_max_pool_has_the_values_and_gradients_of_torch_s_ties_too(type_, size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (2, 3, *size), generator=generator).to(type_)  # most windows have ties
    x = x.contiguous(memory_format=torch.channels_last)
    back = torch.randn(2, 3, size[0] // 2, size[1] // 2, generator=generator).to(type_)
    found = []
    for pool in (MaxPool2(), _Max.apply, nn.MaxPool2d(2, 2)):  # on a CPU, on a GPU, and torch's
        own = x.clone().requires_grad_()
        y = pool(own)
        y.backward(back)
        found.append((y, own.grad))
    for y, gradient in found[:2]:
        assert torch.equal(y, found[2][0])
        assert torch.equal(gradient, found[2][1])
    assert (found[0][1] != 0).sum() == back.numel()


def test_images_too_small_for_so_many_blocks_are_refused():
    assert Airbench(2, [2, 2], 1, "torch").build(DIGIT, 10, 0)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(ConfigError, match=r"model\.channels=\[2, 2, 2\]: images of 8x8 leave 2 blocks"):
        Airbench(2, [2, 2, 2], 1, "torch").build(DIGIT, 10, 0)
    assert CNN([2, 2, 2], 4, "torch").build(DIGIT, 10, 0)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    with pytest.raises(ConfigError, match=r"model\.channels=\[2, 2, 2, 2\]: images of 8x8 leave 3 blocks"):
        CNN([2, 2, 2, 2], 4, "torch").build(DIGIT, 10, 0)


def spread(layer):
    """Standard deviation of the weights, and how far it may be off: of n draws 4 / sqrt(2 n)."""
    return layer.weight.std().item(), 4 / math.sqrt(2 * layer.weight.numel())


def test_initial_weights_of_the_robust_loss_code_are_he_uniform_by_fan_in_and_glorot_uniform():
    network = CNN([64, 128, 196], 256, "he_uniform").build(COLOUR, 10, 0)
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            std, off = spread(layer)
            expected = math.sqrt(2 / (layer.in_channels * 9))
            assert std == pytest.approx(expected, rel=off)
            assert layer.weight.abs().max().item() <= math.sqrt(3) * expected
        elif isinstance(layer, nn.Linear):
            std, off = spread(layer)
            assert std == pytest.approx(math.sqrt(2 / (layer.in_features + layer.out_features)), rel=off)


def test_torch_s_initial_weights_are_those_that_torch_draws():
    """Uniform in +-1/sqrt(fan in): 0.41 of ours where a layer keeps its channels, 1.94 of it in the first layer."""
    ours, theirs = (ResNet(18, init, None, False).build(COLOUR, 10, 0) for init in ("he_normal", "torch"))
    for one, other in zip(ours.modules(), theirs.modules(), strict=True):
        if isinstance(one, nn.Conv2d):
            std, off = spread(other)
            assert std == pytest.approx((3 * one.in_channels * math.prod(one.kernel_size)) ** -0.5, rel=off)
            assert std / spread(one)[0] == pytest.approx(math.sqrt(one.out_channels / one.in_channels / 6), rel=3 * off)
    assert spread(theirs.conv1)[0] / spread(ours.conv1)[0] == pytest.approx(1.94, abs=0.15)
    assert spread(theirs.layer1[0].conv1)[0] / spread(ours.layer1[0].conv1)[0] == pytest.approx(0.41, abs=0.01)
    with torch.random.fork_rng():  # the layers as torch makes them, one after another, from the seed of the weights
        word = int(np.random.SeedSequence([0, 3]).generate_state(1, np.uint64)[0]) >> 1
        torch.manual_seed(word)
        first = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    assert torch.equal(first.weight, theirs.conv1.weight)


def test_another_way_of_initial_weights_is_refused():
    with pytest.raises(Invalid, match="init must be one of he_normal, he_uniform, torch"):
        ConvNet(4, "xavier")


def test_memory_is_channels_last():
    assert (
        ResNet(18, "he_normal", None, False)
        .build(COLOUR, 10, 0)
        .layer1[0]
        .conv1.weight.is_contiguous(memory_format=torch.channels_last)
    )
