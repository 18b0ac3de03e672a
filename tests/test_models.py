import math

import pytest
import torch
from torch import nn
from torchvision.models.resnet import resnet18, resnet34

from noisygce.check import Invalid
from noisygce.models import ConvNet, Model, ResNet

COLOUR, GREY, DIGIT = (32, 32, 3), (28, 28, 1), (8, 8, 1)


def count(network):
    return sum(p.numel() for p in network.parameters())


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_173_962), (34, 21_282_122)])
def test_resnet_has_the_published_number_of_parameters(depth, parameters):
    assert count(ResNet(depth).build(COLOUR, 10, 0)) == parameters


def test_parameter_counts_of_other_inputs_differ_by_the_stem_and_the_head_alone():
    base = count(ResNet(18).build(COLOUR, 10, 0))
    assert count(ResNet(18).build(COLOUR, 100, 0)) == base + 90 * 513
    assert count(ResNet(18).build(GREY, 10, 0)) == base - 2 * 9 * 64


def test_convnet_has_the_number_of_parameters_counted_by_hand():
    # width 4, 8x8x1: conv 36, norm 8, conv 9*4*8, norm 16, linear 8*4*4 -> 16, linear 16 -> 10.
    assert count(ConvNet(4).build(DIGIT, 10, 0)) == 36 + 8 + 288 + 16 + (128 * 16 + 16) + (16 * 10 + 10)


@pytest.mark.parametrize(("depth", "torchvision_s"), [(18, resnet18), (34, resnet34)])
@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_logits_are_those_of_torchvision_s_resnet_with_the_cifar_stem(depth, torchvision_s, shape):
    ours = ResNet(depth).build(shape, 10, 0)
    theirs = torchvision_s(num_classes=10)
    theirs.conv1 = nn.Conv2d(shape[2], 64, kernel_size=3, stride=1, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, shape[2], *shape[:2], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("model", "shape"), [(ConvNet(4), DIGIT), (ConvNet(4), COLOUR), (ResNet(18), GREY)])
def test_weights_are_a_function_of_the_seed(model, shape):
    first = model.build(shape, 10, 0)
    assert same(first, model.build(shape, 10, 0))
    others = dict(model.build(shape, 10, 1).named_parameters())
    for name, p in first.named_parameters():
        constant = bool((p == p.flatten()[0]).all())  # batch norm: 1 and 0
        assert constant == torch.equal(p, others[name]), name


@pytest.mark.parametrize("model", [ConvNet(4), ResNet(18)])
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
            return nn.Sequential(nn.Conv1d(1, 4, 3), nn.Linear(4, classes))

    torch.manual_seed(1)
    first = Own().build(DIGIT, 10, 0)
    torch.manual_seed(2)
    assert same(first, Own().build(DIGIT, 10, 0))
    assert not torch.equal(first[0].weight, Own().build(DIGIT, 10, 1)[0].weight)


def test_initial_weights_are_he_normal_by_fan_out_and_uniform_in_the_linear_layer():
    network = ResNet(18).build(COLOUR, 10, 0)
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


def test_memory_is_channels_last():
    assert ResNet(18).build(COLOUR, 10, 0).layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("depth", [50, 0, "18", None])
def test_another_depth_is_refused(depth):
    with pytest.raises(Invalid, match="depth must be 18 or 34"):
        ResNet(depth)
