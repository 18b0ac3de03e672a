"""How far each convolution is from its floor, and where the time of a step goes."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from noisygce.bench.setting import Row, Setting, Steps, median


def layers(setting: Setting) -> list[Row]:
    """Each kind of convolution, forward and backward, beside its floor: its operations at the rate of a product."""
    kinds = _convolutions(setting)
    seconds = setting.take_turns({name: _both_ways(setting, layer, shape) for name, (layer, shape, _) in kinds.items()})
    rows: list[Row] = []
    for name, (layer, (images, _, height, width), times) in kinds.items():
        given = images * layer.out_channels * -(-height // layer.stride[0]) * -(-width // layer.stride[1])
        floor = 6 * given * layer.weight[0].numel() / setting.matmul_rate
        ms = 1000 * median(seconds[name])
        rows.append({"layer": name, "times": times, "ms": ms, "floor_ms": 1000 * floor, "of_it": 1000 * floor / ms})
    return rows


def _both_ways(setting: Setting, layer: nn.Conv2d, shape: tuple[int, ...]) -> Steps:
    image = setting.values(shape).to(memory_format=torch.channels_last).requires_grad_()
    module = copy.deepcopy(layer).to(image.dtype)
    given = torch.ones_like(module(image))

    def some(count: int) -> None:
        for _ in range(count):
            torch.autograd.grad(module(image), (image, module.weight), given)
        setting.wait()

    return some


def _convolutions(setting: Setting) -> dict[str, tuple[nn.Conv2d, tuple[int, ...], int]]:
    """One convolution of each kind in the network, the shape of its input, and how many there are of the kind."""
    training = setting.training(graph="off", compile=False)
    seen: dict[str, tuple[nn.Conv2d, tuple[int, ...]]] = {}
    times: Counter[str] = Counter()

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...], _out: Tensor) -> None:
        shape, kernel = tuple(inputs[0].shape), "x".join(map(str, layer.kernel_size))
        size = "x".join(map(str, shape[2:]))
        name = f"{layer.in_channels} -> {layer.out_channels}, {kernel} stride {layer.stride[0]}, on {size}"
        seen[name] = layer, shape
        times[name] += 1

    for layer in training.network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.no_grad():
        training.network(training.images.crop(training.batches()[0]))
    return {name: (*seen[name], times[name]) for name in seen}


def profile(setting: Setting) -> list[Row]:
    """Where the time of an eager step goes, by kernel: the 40 longest."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    steps, count = setting.steps(graph="off"), 3
    steps(2)
    with profiled(activities=[ProfilerActivity.CUDA if setting.on_gpu else ProfilerActivity.CPU]) as profiler:
        steps(count)

    def own_time(event: Any) -> float:
        return float(event.self_device_time_total if setting.on_gpu else event.self_cpu_time_total)

    events = sorted(profiler.key_averages(), key=own_time, reverse=True)
    whole = sum(map(own_time, events))
    return [{"share": own_time(e) / whole, "calls": e.count // count, "kernel": e.key} for e in events[:40]]
