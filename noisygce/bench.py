"""``python -m noisygce.bench``: how fast training is here, beside the plain loop of public repositories.

    python -m noisygce.bench                                 the published protocol: ResNet-34 on CIFAR-10
    python -m noisygce.bench model=resnet18 loss=elr         any run of noisygce.train
    python -m noisygce.bench parts=steps,profile rounds=9    some of the parts, more rounds

parts:  steps       a step in each mode, and of the plain loop; evaluation, epoch, memory
        batch       images/s by batch size
        sweep       seconds until the first step: of a new process, and of each next run in it
        concurrent  images/s of runs side by side (on a GPU)
        layers      each kind of convolution beside its floor
        profile     where the time of a step goes
rounds: of measurements, modes taking turns in each; the median is printed (5)
The other arguments are those of noisygce.train. Everything is printed, and written to results/bench/*.json.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from noisygce import arguments, atomic, check, config, device, runs, train
from noisygce.config import Experiment
from noisygce.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from noisygce.fit import Training

PARTS = ("steps", "batch", "sweep", "concurrent", "layers", "profile")
_BATCHES = (32, 64, 128, 256, 512)
_AT_ONCE = (1, 2, 4)
_SHORT = 2.0  # seconds that a measurement should last at least


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Measures what the arguments ask for."""
    own = dict(word.partition("=")[::2] for word in words if word.startswith(("parts=", "rounds=")))
    _, rest = arguments.split([word for word in words if word.partition("=")[0] not in own], {})
    parts = [check.choice("parts", part, PARTS) for part in own.get("parts", ",".join(PARTS)).split(",")]
    rounds = own.get("rounds", "5")
    if not rounds.isdigit() or not 1 <= int(rounds) <= 1000:
        raise ConfigError(f"rounds={rounds}: rounds must be an integer in [1, 1000]")
    cfg = config.compose(rest)
    experiment, name = config.read(cfg), runs.run_id(runs.identity(config.resolved(cfg)))
    at = device.prepare(experiment.runtime.device, experiment.runtime.threads)
    bench = Bench(experiment, rest, at, int(rounds))
    found: dict[str, Any] = {
        "run": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        **device.describe(at),
        "batch_size": experiment.schedule.batch_size,
        "matmul_tflop_per_s": round(matmul_rate(at, experiment.precision) / 1e12, 3),
        "flop_a_step": bench.flop(),
    }
    print(
        f"{name} on {found['device']}, {found['threads']} threads, torch {found['versions']['torch']}; "
        f"{found['flop_a_step'] / 1e12:.3f} TFLOP a step of {found['batch_size']}; "
        f"matmul {found['matmul_tflop_per_s']:g} TFLOP/s in {experiment.precision}"
    )
    for part in parts:
        found[part] = getattr(bench, part)(found)
    folder = experiment.paths.results / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    atomic.write_text(path, json.dumps(found, indent=1) + "\n")
    print(path)


class Bench:
    """The measurements, each a method that prints what it finds and returns it as plain values."""

    def __init__(self, experiment: Experiment, words: Sequence[str], at: str, rounds: int) -> None:
        self.experiment, self.words, self.at, self.rounds = experiment, words, at, rounds
        self.on_gpu = at.startswith("cuda")

    def training(self, **changes: Any) -> Training:
        """A training like the experiment's but for these values; ``graph`` and ``batch_size`` among them."""
        e, graph, size = self.experiment, changes.pop("graph", "auto"), changes.pop("batch_size", None)
        runtime, schedule = copy.copy(e.runtime), copy.copy(e.schedule)
        runtime.graph = graph
        schedule.batch_size = size or schedule.batch_size
        return train.training_of(dataclasses.replace(e, runtime=runtime, schedule=schedule, **changes), self.at)

    def flop(self) -> int:
        """Floating-point operations of a training step's convolutions and matrix products, forward and backward."""
        from torch.utils.flop_counter import FlopCounterMode

        with device.stream(self.at):
            training = self.training(graph="off", batch_size=8)
            with FlopCounterMode(display=False) as counter:
                training.step(training.batches()[0])
        return counter.get_total_flops() * self.experiment.schedule.batch_size // 8

    def steps(self, found: dict[str, Any]) -> dict[str, Any]:
        precision = self.experiment.precision
        modes: dict[str, dict[str, Any]] = {"fp32": {"precision": "fp32", "graph": "off"}}
        if precision == "bf16":
            modes["bf16"] = {"graph": "off"}
        modes[f"{precision}, compiled"] = {"graph": "off", "compile": True}
        if self.on_gpu:
            modes[f"{precision}, graph"] = {"graph": "on"}
            modes[f"{precision}, graph, compiled"] = {"graph": "on", "compile": True}
            modes[f"{precision}, graph, not deterministic"] = {"graph": "on", "deterministic": False}
        size = self.experiment.schedule.batch_size
        with contextlib.ExitStack() as stack:
            timed = {"plain loop": self._plain(stack)}
            memory = {}
            for name, changes in modes.items():
                before = self._memory()
                timed[name] = self._ours(stack, **changes)
                timed[name](1)
                memory[name] = self._memory() - before
            seconds = self._take_turns(timed)
        plain = statistics.median(seconds["plain loop"])
        rows = []
        print(f"\n{'':36}{'ms/step':>9}{'images/s':>10}{'x plain':>9}{'of matmul rate':>16}{'GB':>6}")
        for name, each in seconds.items():
            median = statistics.median(each)
            share = found["flop_a_step"] / median / (found["matmul_tflop_per_s"] * 1e12)
            row = {
                "mode": name,
                "ms": 1000 * median,
                "ms_each": [1000 * s for s in each],
                "images_per_s": size / median,
            }
            row |= {"ratio_to_plain": plain / median, "share_of_matmul_rate": share, "gpu_gb": memory.get(name, 0.0)}
            rows.append(row)
            print(
                f"{name:36}{row['ms']:9.2f}{row['images_per_s']:10,.0f}{row['ratio_to_plain']:9.2f}{100 * share:15.1f}%"
                + (f"{row['gpu_gb']:6.1f}" if self.on_gpu else "")
            )
        return {"modes": rows, **self._epoch(rows)}

    def _epoch(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Seconds of evaluation, and of an epoch with it, in the mode that ``runtime.graph=auto`` picks."""
        with device.stream(self.at):
            training = self.training()
            few = {n: i[:: max(1, len(i) // (10**9 if self.on_gpu else 1000))] for n, i in _sets(training).items()}
            for name, index in few.items():
                _logits(training, name)(index)
            self._wait()
            started = time.perf_counter()
            for name, index in few.items():
                _logits(training, name)(index)
            self._wait()
            an_image = (time.perf_counter() - started) / sum(map(len, few.values()))
        mode = f"{self.experiment.precision}, graph" if self.on_gpu else self.experiment.precision
        step = next(row["images_per_s"] for row in rows if row["mode"] == mode)
        evaluation = an_image * sum(map(len, _sets(training).values()))
        epoch = len(training.train) / step + evaluation
        run = epoch * self.experiment.schedule.epochs
        print(
            f"evaluation {evaluation:.2f} s, epoch {epoch:.2f} s, {self.experiment.schedule.epochs} epochs {run:,.0f} s"
        )
        return {"evaluation_s": evaluation, "epoch_s": epoch, "run_s": run}

    def batch(self, found: dict[str, Any]) -> dict[str, float]:
        print("\nbatch size: images/s")
        speed = {}
        for size in _BATCHES:
            with contextlib.ExitStack() as stack:
                seconds = self._take_turns({"": self._ours(stack, batch_size=size)})[""]
            speed[str(size)] = size / statistics.median(seconds)
            print(f"{size:6}: {speed[str(size)]:10,.0f}")
        return speed

    def sweep(self, found: dict[str, Any]) -> dict[str, Any]:
        new = {"these settings": self._start_up(self.words), "data=digits": self._start_up(["data=digits"])}
        print("\nseconds from the command to the first step: " + ", ".join(f"{k} {v:.1f}" for k, v in new.items()))
        following = []
        for seed in range(3):
            started = time.perf_counter()
            with device.stream(self.at):
                training = self.training(seed=seed)
                training.step.start_epoch(0)
                training.step(training.batches()[0])
                self._wait()
            following.append(time.perf_counter() - started)
        print("seconds of run 1, 2, 3 in one process until its first step is done: ", end="")
        print(", ".join(f"{s:.2f}" for s in following))
        return {"new_process_s": new, "in_one_process_s": following}

    def _start_up(self, words: Sequence[str]) -> float:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "noisygce.train", *words, f"paths.results={folder}"]
            started = time.perf_counter()
            with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
                assert process.stderr is not None
                for line in process.stderr:
                    if "images on" in line:
                        break
                seconds = time.perf_counter() - started
                process.kill()
        return seconds

    def concurrent(self, found: dict[str, Any]) -> dict[str, float]:
        if not self.on_gpu:
            print("\nruns side by side: on a GPU only; one run fills a CPU")
            return {}
        print("\nruns side by side: images/s of all together")
        speed = {}
        for k in _AT_ONCE:
            seconds = statistics.median(self._side_by_side(k))
            speed[str(k)] = k * self.experiment.schedule.batch_size / seconds
            print(f"{k:6}: {speed[str(k)]:10,.0f}")
        return speed

    def _side_by_side(self, k: int) -> list[float]:
        """Seconds a step of k threads that all train, in each round."""
        count, barrier = 100, threading.Barrier(k + 1)

        def one() -> None:
            with contextlib.ExitStack() as stack:
                step = self._ours(stack)
                step(5)
                for _ in range(self.rounds):
                    barrier.wait()
                    step(count)
                    barrier.wait()

        threads = [threading.Thread(target=one) for _ in range(k)]
        for thread in threads:
            thread.start()
        found = []
        for _ in range(self.rounds):
            barrier.wait()
            started = time.perf_counter()
            barrier.wait()
            found.append((time.perf_counter() - started) / count)
        for thread in threads:
            thread.join()
        return found

    def layers(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        import torch

        rate = found["matmul_tflop_per_s"] * 1e12
        kinds = self._convolutions()
        rows = []
        print(f"\n{'convolution, forward and backward':44}{'times':>6}{'ms':>9}{'floor':>9}{'share':>7}")
        for (layer, shape), times in kinds.items():
            kind = torch.bfloat16 if self.experiment.precision == "bf16" else torch.float32
            image = torch.zeros(shape, device=self.at, dtype=kind).to(memory_format=torch.channels_last)
            own = copy.deepcopy(layer).to(kind)
            out = own(image.requires_grad_())
            given = torch.ones_like(out)

            def once(count: int, own: nn.Module = own, image: Any = image, given: Any = given) -> None:
                for _ in range(count):
                    own(image).backward(given)
                self._wait()

            ms = 1000 * statistics.median(self._take_turns({"": once})[""])
            macs = out.numel() * own.weight[0].numel()
            row: dict[str, Any] = {
                "layer": f"{own.in_channels}->{own.out_channels} {own.kernel_size[0]}x{own.kernel_size[0]} "
                f"stride {own.stride[0]} on {shape[2]}x{shape[3]}"
            }
            row |= {"times": times, "ms": ms, "floor_ms": 1000 * 6 * macs / rate}
            rows.append(row)
            share = row["floor_ms"] / ms
            print(f"{row['layer']:44}{times:6}{ms:9.3f}{row['floor_ms']:9.3f}{100 * share:6.0f}%")
        total, floor = (sum(row["times"] * row[key] for row in rows) for key in ("ms", "floor_ms"))
        print(f"{'all':44}{'':6}{total:9.2f}{floor:9.2f}{100 * floor / total:6.0f}%")
        return rows

    def _convolutions(self) -> dict[tuple[Any, tuple[int, ...]], int]:
        """Each kind of convolution of the network, one of them, with the shape of its input: how often it occurs."""
        import torch

        training = self.training(graph="off")
        seen: dict[str, tuple[Any, tuple[int, ...]]] = {}
        counts: Counter[str] = Counter()

        def note(layer: nn.Module, inputs: tuple[Any, ...], _out: Any) -> None:
            key = f"{layer} {inputs[0].shape}"
            seen.setdefault(key, (layer, tuple(inputs[0].shape)))
            counts[key] += 1

        for layer in training.network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(note)
        with torch.no_grad():
            training.network(training.images.crop(training.batches()[0]))
        return {seen[key]: count for key, count in counts.items()}

    def profile(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        from torch.profiler import ProfilerActivity, profile

        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.on_gpu else [])]
        with contextlib.ExitStack() as stack:
            step = self._ours(stack, graph="off")
            step(2)
            with profile(activities=kinds) as profiler:
                step(2)

        def own_time(event: Any) -> float:
            return float(event.self_device_time_total if self.on_gpu else event.self_cpu_time_total)

        events = sorted(profiler.key_averages(), key=own_time, reverse=True)
        whole = sum(map(own_time, events))
        print("\nwhere the time of a step goes")
        rows = [{"kernel": event.key, "share": own_time(event) / whole, "calls": event.count // 2} for event in events]
        for row in rows[:10]:
            print(f"{100 * row['share']:6.1f}%  {row['calls']:5} calls  {row['kernel'][:90]}")
        return rows[:30]

    def _plain(self, stack: contextlib.ExitStack) -> Callable[[int], None]:
        from noisygce import plain

        e, training = self.experiment, self.training(graph="off")
        loop = plain.steps(training.task, e.data, training.network, e.loss, e.schedule, self.at)
        stack.callback(loop.close)
        return _times(loop, lambda: None)

    def _ours(self, stack: contextlib.ExitStack, deterministic: bool = True, **changes: Any) -> Callable[[int], None]:
        """A function that trains so many steps."""
        import torch

        stream = device.stream(self.at)
        with stream:
            training = self.training(**changes)
            training.step.start_epoch(0)
        loop = _train(training)

        def some(count: int) -> None:
            torch.set_deterministic_debug_mode("error" if deterministic else "default")
            torch.backends.cudnn.deterministic = deterministic
            with stream:
                for _ in range(count):
                    next(loop)
                self._wait()
            torch.set_deterministic_debug_mode("error")
            torch.backends.cudnn.deterministic = True

        return some

    def _take_turns(self, timed: dict[str, Callable[[int], None]]) -> dict[str, list[float]]:
        """Seconds a step of each, in each round; all of them in every round, so that a slow minute hits all."""
        counts = {}
        for name, step in timed.items():
            step(2)  # the first ones allocate, compile and record
            started = time.perf_counter()
            step(1)
            counts[name] = max(1, min(200, round(_SHORT / (time.perf_counter() - started))))
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(self.rounds):
            for name, step in timed.items():
                started = time.perf_counter()
                step(counts[name])
                seconds[name].append((time.perf_counter() - started) / counts[name])
        return seconds

    def _wait(self) -> None:
        if self.on_gpu:
            import torch

            torch.cuda.synchronize()

    def _memory(self) -> float:
        """Memory of the GPU in use, in GB."""
        if not self.on_gpu:
            return 0.0
        import torch

        free, total = torch.cuda.mem_get_info(self.at)
        return (total - free) / 1e9


def matmul_rate(at: str, precision: str) -> float:
    """FLOP/s of a large square matrix product: the most that a step could reach."""
    import torch

    n = 8192 if at.startswith("cuda") else 2048
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.ones((n, n), device=at, dtype=kind) for _ in range(2))
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        product = a @ b
        product[0, 0].item()  # waits for it
        seconds.append(time.perf_counter() - started)
    return 2 * n**3 / statistics.median(seconds[2:])


def _train(training: Training) -> Iterator[None]:
    """Steps over batches of full size, without end."""
    draws = [draw for draw in training.batches() if len(draw.index) == training.schedule.batch_size]
    for draw in itertools.cycle(draws):
        training.step(draw)
        yield


def _times(loop: Iterator[Any], wait: Callable[[], None]) -> Callable[[int], None]:
    def some(count: int) -> None:
        for _ in range(count):
            next(loop)
        wait()

    return some


def _sets(training: Training) -> dict[str, Any]:
    return {"validation": training.validation, "test": training.test}


def _logits(training: Training, name: str) -> Callable[[Any], Any]:
    return training.test_logits if name == "test" else training.logits


if __name__ == "__main__":
    main()
