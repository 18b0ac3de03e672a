"""Arithmetic: how much a step has, how fast it could be, and where its time goes."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from noisygce.bench.setting import Setting, median, seconds_of

Row = dict[str, Any]


def flop(setting: Setting) -> int:
    """Floating-point operations of a step's convolutions and matrix products, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    few = 8  # images; the operations are proportional to them
    training = setting.training(graph="off", compile=False, batch_size=few)
    with FlopCounterMode(display=False) as counter:
        training.step(training.batches()[0])
    return counter.get_total_flops() * setting.batch_size // few


def matmul_rate(at: str, precision: str) -> float:
    """FLOP/s of a large square matrix product: the most that a step could reach."""
    n = 8192 if at.startswith("cuda") else 2048
    a = _values((n, n)).to(at, _kind(precision))
    seconds = [seconds_of(lambda: (a @ a)[0, 0].item()) for _ in range(20)]  # item() waits for it
    return 2 * n**3 / median(seconds[5:])


def layers(setting: Setting) -> list[Row]:
    """Each kind of convolution, forward and backward, beside its floor: its operations at the rate of a product."""
    print(f"{'convolution, forward and backward':44}{'times':>6}{'ms':>9}{'floor':>9}{'of it':>7}")
    rows: list[Row] = []
    for layer, shape, times in _convolutions(setting):
        image = _values(shape).to(setting.at, _kind(setting.experiment.precision))
        image = image.to(memory_format=torch.channels_last).requires_grad_()
        own = copy.deepcopy(layer).to(image.dtype)
        given = torch.ones_like(own(image))

        def some(count: int, own: nn.Module = own, image: Tensor = image, given: Tensor = given) -> None:
            for _ in range(count):
                torch.autograd.grad(own(image), (image, own.weight), given)  # type: ignore[arg-type]
            setting.wait()

        ms = 1000 * median(setting.take_turns({"": some})[""])
        floor = 1000 * 6 * given.numel() * layer.weight[0].numel() / setting.matmul_rate
        name = f"{layer.in_channels} -> {layer.out_channels}, {layer.kernel_size[0]}x{layer.kernel_size[1]} "
        name += f"stride {layer.stride[0]}, on {shape[2]}x{shape[3]}"
        rows.append({"layer": name, "times": times, "ms": ms, "floor_ms": floor})
        print(f"{name:44}{times:6}{ms:9.3f}{floor:9.3f}{100 * floor / ms:6.0f}%")
    whole, least = (sum(row["times"] * row[key] for row in rows) for key in ("ms", "floor_ms"))
    print(f"{'all of them':50}{whole:9.2f}{least:9.2f}{100 * least / whole:6.0f}%")
    return rows


def _convolutions(setting: Setting) -> list[tuple[nn.Conv2d, tuple[int, ...], int]]:
    """One convolution of each kind in the network, the shape of its input, and how many there are of the kind."""
    training = setting.training(graph="off", compile=False)
    seen: dict[str, tuple[nn.Conv2d, tuple[int, ...]]] = {}
    counts: Counter[str] = Counter()

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...], _out: Tensor) -> None:
        key = f"{layer} {tuple(inputs[0].shape)}"
        seen[key] = layer, tuple(inputs[0].shape)
        counts[key] += 1

    for layer in training.network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.no_grad():
        training.network(training.images.crop(training.batches()[0]))
    return [(*seen[key], counts[key]) for key in seen]


def profile(setting: Setting) -> list[Row]:
    """Where the time of an eager step goes, by kernel."""
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
    rows = [{"kernel": e.key, "share": own_time(e) / whole, "calls": e.count // count} for e in events]
    print("where the time of a step goes")
    for row in rows[:12]:
        print(f"{100 * row['share']:6.1f}%  {row['calls']:5} calls  {row['kernel'][:90]}")
    return rows[:40]


def _values(shape: tuple[int, ...]) -> Tensor:
    """Normal ones: zeros or ones would make a processor draw less power, and run faster."""
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(0))


def _kind(precision: str) -> torch.dtype:
    return torch.bfloat16 if precision == "bf16" else torch.float32
