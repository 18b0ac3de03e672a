"""A training step in each mode beside the plain loop's; evaluation, epoch and run; the step's time by kernel."""

from __future__ import annotations

import gc
from typing import Any

import torch

from noisygce.bench import plain
from noisygce.bench.setting import Row, Setting, Steps, arithmetic, median, seconds_of
from noisygce.training import device

_SAMPLE = 1000  # images of each set that are evaluated on a CPU; all of them on a GPU


def steps(setting: Setting) -> dict[str, Any]:
    """A row for each mode; and seconds of evaluation, epoch and run in the one that a run picks."""
    rows = _rows(setting, _modes(setting))
    picked = next(row for row in rows if row["mode"] == _picked(setting))
    return {"modes": rows, **_epoch(setting, 1 / picked["images_per_s"])}


def compiled(setting: Setting) -> list[Row]:
    """What compile=true brings, beside the mode that a run picks. Apart, because compiling takes a minute or two.

    tuned: Inductor times several kernels for each operation (max_autotune) and takes the fastest."""
    modes: dict[str, Row] = {"compiled": {"compile": True, "graph": "off"}}
    modes["compiled, tuned"] = {"compile": True, "graph": "off", "tuned": True}
    if setting.on_gpu:
        modes["compiled, graph"] = {"compile": True, "graph": "on"}
        modes["compiled, tuned, graph"] = {"compile": True, "graph": "on", "tuned": True}
    named = {f"{setting.experiment.precision}, {name}": changes for name, changes in modes.items()}
    return _rows(setting, {_picked(setting): _modes(setting)[_picked(setting)]} | named)


def _picked(setting: Setting) -> str:
    """The mode that a run picks."""
    return setting.experiment.precision + (", graph" if setting.on_gpu else "")


def _rows(setting: Setting, modes: dict[str, Row]) -> list[Row]:
    """A row for the plain loop and each mode. difference: of a weight from that of the eager step of the run's
    precision, after one step, at most; 0: the same bits."""
    timed: dict[str, Steps] = {"plain loop": _plain(setting)}
    memory = {"plain loop": 0.0}
    difference: dict[str, float | None] = {"plain loop": None}
    eager = setting.after_one_step(compile=False, graph="off", fused="off")
    for name, changes in modes.items():
        difference[name] = float((setting.after_one_step(**changes) - eager).abs().max())
        before = _memory(setting)
        timed[name] = setting.steps(**changes)
        timed[name](1)
        memory[name] = _memory(setting) - before
    seconds = setting.take_turns(timed)
    middle = {name: median(each) for name, each in seconds.items()}
    return [
        {
            "mode": name,
            "ms": 1000 * middle[name],
            "images_per_s": setting.batch_size / middle[name],
            "ratio_to_plain": middle["plain loop"] / middle[name],
            "share_of_matmul_rate": setting.flop / middle[name] / setting.matmul_rate,
            "difference": difference[name],
            "gpu_gb": memory[name],
            "ms_each_round": [1000 * s for s in each],
        }
        for name, each in seconds.items()
    ]


def _modes(setting: Setting) -> dict[str, Row]:
    precision = setting.experiment.precision
    modes: dict[str, Row] = {"fp32": {"precision": "fp32", "compile": False, "graph": "off"}}
    modes[precision] = {"precision": precision, "compile": False, "graph": "off"}
    modes[f"{_picked(setting)}, images on the host"] = {"on_host": True}
    if setting.on_gpu:
        modes[f"{precision}, graph"] = {"compile": False, "graph": "on"}
        modes[f"{precision}, graph, not fused"] = {"compile": False, "graph": "on", "fused": "off"}
        modes[f"{precision}, graph, not deterministic"] = {"compile": False, "graph": "on", "deterministic": False}
    return modes


def _plain(setting: Setting) -> Steps:
    e, task = setting.experiment, setting.training(graph="off").task
    network = e.model.build(task.arrays.train_images.shape[1:], len(task.arrays.classes), e.seed)  # one, for any loss
    loop = plain.steps(task, e.preprocessing, network, e.schedule, setting.place)

    def some(count: int) -> None:
        with arithmetic(deterministic=False, benchmark=True, tf32=True):
            for _ in range(count):
                next(loop)  # reads values back, so it is done

    return some


def _memory(setting: Setting) -> float:
    """Memory of the GPU in use, in GB."""
    if not setting.on_gpu:
        return 0.0
    gc.collect()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(setting.place)
    return (total - free) / 1e9


def _epoch(setting: Setting, an_image: float) -> dict[str, float]:
    """Seconds of evaluation, epoch and run, from those of an image in a step; pruning left out."""
    with device.stream(setting.place):
        training = setting.training()
        sets = ((training.logits, training.validation), (training.test_logits, training.test))
        some = [(logits, index if setting.on_gpu else index[:_SAMPLE]) for logits, index in sets]

        def evaluate() -> None:
            for logits, index in some:
                logits(index)
            setting.wait()

        evaluate()
        seconds = median([seconds_of(evaluate) for _ in range(3 if setting.on_gpu else 1)])
    evaluation = seconds / sum(len(index) for _, index in some) * sum(len(index) for _, index in sets)
    epoch = len(training.train) * an_image + evaluation
    return {"evaluation_s": evaluation, "epoch_s": epoch, "run_s": setting.experiment.schedule.epochs * epoch}


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
