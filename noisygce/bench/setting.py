"""What is measured: an experiment on a device, and trainings like it; and how: taking turns."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from noisygce.errors import ConfigError
from noisygce.runs.begin import training_of
from noisygce.settings.experiment import Experiment
from noisygce.training import device
from noisygce.training.fit import Training

Name = TypeVar("Name", bound=Hashable)
Row = dict[str, Any]
Steps = Callable[[int], object]  # does so many steps, and comes back when they are done
median = statistics.median

_LEAST = 2.0  # seconds that one measurement lasts, as far as 200 steps allow


class Setting:
    """An experiment on a device. words: its settings, as on a command line."""

    def __init__(self, experiment: Experiment, words: Sequence[str], place: str, rounds: int) -> None:
        self.experiment, self.words, self.place, self.rounds = experiment, words, place, rounds
        self.on_gpu = place.startswith("cuda")
        self.batch_size = experiment.schedule.batch_size
        self.type = torch.bfloat16 if experiment.precision == "bf16" else torch.float32

    @functools.cached_property
    def flop(self) -> int:
        """Floating-point operations of a step's convolutions and matrix products, forward and backward."""
        from torch.utils.flop_counter import FlopCounterMode

        few = 8  # images; the operations are proportional to them
        with device.stream(self.place), FlopCounterMode(display=False) as counter:
            training = self.training(graph="off", compile=False, batch_size=few)
            training.step(training.batches()[0])
        return counter.get_total_flops() * self.batch_size // few

    @functools.cached_property
    def matmul_rate(self) -> float:
        """FLOP/s of a large square matrix product: the most that a step could reach."""
        n = 8192 if self.on_gpu else 2048
        a = self.values((n, n))
        return 2 * n**3 / median([seconds_of(lambda: (a @ a)[0, 0].item()) for _ in range(20)][5:])  # item() waits

    def values(self, shape: tuple[int, ...]) -> Tensor:
        """Normal ones: zeros or ones would make a processor draw less power, and run faster."""
        return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(0)).to(self.place, self.type)

    def training(
        self,
        graph: str = "auto",
        fused: str = "auto",
        batch_size: int | None = None,
        on_host: bool | None = None,
        **changes: Any,
    ) -> Training:
        """A training like the experiment's, but for these of its values."""
        runtime, schedule = copy.copy(self.experiment.runtime), copy.copy(self.experiment.schedule)
        runtime.graph, runtime.fused = graph, fused
        schedule.batch_size = batch_size or self.batch_size
        changed = dataclasses.replace(self.experiment, runtime=runtime, schedule=schedule, **changes)
        return training_of(copy.deepcopy(changed), self.place, on_host)

    def steps(self, **changes: Any) -> Steps:
        """Steps of ``training(**changes)`` over full batches, on a stream of its own."""
        return self._steps(**changes)[1]

    def after_one_step(self, **changes: Any) -> Tensor:
        """All weights after the first of ``steps(**changes)``."""
        training, some = self._steps(**changes)
        some(1)
        return torch.cat([p.detach().flatten() for p in training.network.parameters()]).cpu()

    def _steps(self, deterministic: bool = True, tuned: bool = False, **changes: Any) -> tuple[Training, Steps]:
        with device.stream(self.place):
            training = self.training(**changes)
            full = [draw for draw in training.batches() if len(draw.index) == training.schedule.batch_size]
            training.step.start_epoch(0)
            if tuned:  # options are a part of what is compiled: else it would be the code of another row
                training.step._full = torch.compile(training.step._forward, dynamic=False, options=_TUNED)
        if not full:
            raise ConfigError(
                f"schedule.batch_size={self.batch_size}: there are fewer training images, nothing to time"
            )
        draws = itertools.cycle(full)

        def some(count: int) -> None:
            with arithmetic(deterministic=deterministic, benchmark=False, tf32=False), device.stream(self.place):
                for _ in range(count):
                    training.step(next(draws))
                self.wait()

        return training, some

    def take_turns(self, timed: Mapping[Name, Steps]) -> dict[Name, list[float]]:
        """Seconds a step of each, in each round. All take part in every round, so that a slow minute hits all."""
        counts = {}
        for name, steps in timed.items():
            steps(2)  # the first ones allocate, compile and record
            counts[name] = max(1, min(200, round(_LEAST / seconds_of(steps, 1))))
        rounds = [
            {n: seconds_of(steps, counts[n]) / counts[n] for n, steps in timed.items()} for _ in range(self.rounds)
        ]
        return {name: [seconds[name] for seconds in rounds] for name in timed}

    def wait(self) -> None:
        """Comes back when the current stream has done all it was given."""
        if self.on_gpu:  # not the whole device: that would break a graph that another thread is recording
            torch.cuda.current_stream(self.place).synchronize()


# Inductor times no kernels where it is to be deterministic, as a training has it.
_TUNED: dict[str, Any] = {"max_autotune": True, "deterministic": False}


@contextlib.contextmanager
def arithmetic(deterministic: bool, benchmark: bool, tf32: bool) -> Iterator[None]:
    """How torch computes meanwhile; as in a run afterwards."""
    _set(deterministic, benchmark, tf32)
    try:
        yield
    finally:
        _set(deterministic=True, benchmark=False, tf32=False)


def _set(deterministic: bool, benchmark: bool, tf32: bool) -> None:
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark
    torch.backends.cudnn.allow_tf32 = tf32  # of matrix products torch itself has it off


def seconds_of(call: Callable[..., object], *arguments: Any) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started
