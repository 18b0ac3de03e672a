"""A training step in each mode beside the plain loop's; evaluation, epoch and run."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch

from noisygce.bench import plain
from noisygce.bench.setting import Setting, Steps, arithmetic, median, seconds_of
from noisygce.training import device

Row = dict[str, Any]
_SAMPLE = 1000  # images of each set that are evaluated on a CPU; all of them on a GPU


def steps(setting: Setting) -> dict[str, Any]:
    """A row for each mode; and seconds of evaluation, epoch and run in the one that a run picks."""
    timed: dict[str, Steps] = {"plain loop": _plain(setting)}
    memory = {"plain loop": 0.0}
    for name, changes in _modes(setting).items():
        before = _memory(setting)
        timed[name] = setting.steps(**changes)
        timed[name](1)
        memory[name] = _memory(setting) - before
    seconds = setting.take_turns(timed)
    print(f"{'':36}{'ms/step':>9}{'images/s':>10}{'x plain':>9}{'of matmul rate':>16}{'GPU GB':>8}")
    rows = [_row(setting, name, each, median(seconds["plain loop"]), memory[name]) for name, each in seconds.items()]
    return {"modes": rows, **_epoch(setting, rows)}


def _modes(setting: Setting) -> dict[str, Row]:
    precision = setting.experiment.precision
    modes: dict[str, Row] = {"fp32": {"precision": "fp32", "compile": False, "graph": "off"}}
    modes[precision] = {"precision": precision, "compile": False, "graph": "off"}
    modes[f"{precision}, compiled"] = {"compile": True, "graph": "off"}
    if setting.on_gpu:
        modes[f"{precision}, graph"] = {"compile": False, "graph": "on"}
        modes[f"{precision}, graph, not deterministic"] = {"compile": False, "graph": "on", "deterministic": False}
        modes[f"{precision}, graph, compiled"] = {"compile": True, "graph": "on"}
    return modes


def _plain(setting: Setting) -> Steps:
    e, training = setting.experiment, setting.training(graph="off")
    loop = plain.steps(training.task, e.preprocessing, training.network, e.schedule, setting.at)

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
    free, total = torch.cuda.mem_get_info(setting.at)
    return (total - free) / 1e9


def _row(setting: Setting, name: str, seconds: Sequence[float], plain_seconds: float, memory: float) -> Row:
    middle = median(seconds)
    row: Row = {
        "mode": name,
        "ms": 1000 * middle,
        "ms_each_round": [1000 * s for s in seconds],
        "images_per_s": setting.batch_size / middle,
        "ratio_to_plain": plain_seconds / middle,
        "share_of_matmul_rate": setting.flop / middle / setting.matmul_rate,
        "gpu_gb": memory,
    }
    print(
        f"{name:36}{row['ms']:9.2f}{row['images_per_s']:10,.0f}{row['ratio_to_plain']:9.2f}"
        f"{100 * row['share_of_matmul_rate']:15.1f}%" + (f"{memory:8.1f}" if memory else f"{'-':>8}")
    )
    return row


def _epoch(setting: Setting, rows: Sequence[Row]) -> dict[str, float]:
    with device.stream(setting.at):
        training = setting.training()
        sets = ((training.logits, training.validation), (training.test_logits, training.test))
        some = [(logits, index if setting.on_gpu else index[:_SAMPLE]) for logits, index in sets]

        def evaluate() -> None:
            for logits, index in some:
                logits(index)
            setting.wait()

        evaluate()
        seconds = median([seconds_of(evaluate) for _ in range(3 if setting.on_gpu else 1)])
        an_image = seconds / sum(len(index) for _, index in some)
    mode = setting.experiment.precision + (", graph" if setting.on_gpu else "")
    speed = next(row["images_per_s"] for row in rows if row["mode"] == mode)
    evaluation = an_image * (len(training.validation) + len(training.test))
    epoch = len(training.train) / speed + evaluation
    epochs = setting.experiment.schedule.epochs
    print(
        f"{mode}: evaluation {evaluation:.2f} s, epoch {epoch:.2f} s, {epochs} epochs {epochs * epoch:,.0f} s "
        "(from the step's median, pruning left out)"
    )
    return {"evaluation_s": evaluation, "epoch_s": epoch, "run_s": epochs * epoch}
