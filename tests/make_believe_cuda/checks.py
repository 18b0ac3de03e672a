"""What tests/test_make_believe_cuda.py runs on a make-believe GPU, each in a process of its own:

    checks.py NAME [WORD...]        prints what the function NAME returns, as JSON, in its last line

Numbers are make-believe there, so that three functions of the project are replaced: the comparison of a replay with its
step, the batches of an epoch, whose sizes and indices must be real, and the metrics of an epoch.
"""

import collections
import contextlib
import copy
import ctypes
import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from noisygce import settings, train
from noisygce.data.base import Arrays
from noisygce.errors import NonFinite
from noisygce.losses import CE
from noisygce.models import fused
from noisygce.runs.begin import training_of
from noisygce.training import cuda_graph, device, evaluate, fit, prune
from noisygce.training.fit import Training
from noisygce.training.loader import BatchSpec
from noisygce.training.step import Step
from noisygce.training.task import Task

SMALL = ["data=digits", "data.subset=200", "model.width=4", "schedule.epochs=3", "schedule.batch_size=64"]
CUDA = ctypes.CDLL("libcuda.so.1")  # the make-believe one, which is loaded already
CUDA.make_believe_report.restype = ctypes.c_char_p
CUDA.make_believe_used.restype = CUDA.make_believe_peak.restype = ctypes.c_size_t


def report() -> tuple[collections.Counter, list[str]]:
    """What was counted since ``CUDA.make_believe_clear``, by name, and what was refused."""
    lines = [line.split("\t", 1) for line in CUDA.make_believe_report().decode(errors="replace").splitlines()]
    counts = collections.Counter({what: int(n) for n, what in lines if n != "refused"})
    return counts, [what for n, what in lines if n == "refused"]


def total(counts: collections.Counter, kind: str) -> int:
    """Nodes "recorded", or kernels and copies "launched" outside of a replay."""
    return sum(n for what, n in counts.items() if what.startswith(f"{kind} "))


KINDS = {  # of nodes, by a part of their names
    "convolution": ("cudnnBackendExecute",),
    "matrix product": ("cublas",),
    "batch norm": ("batch_norm", "BatchNormalization", "moments", "normalise", "gradient_sums", "kernel gradients"),
    "memset": ("memset",),
    "cast": ("converting_copy",),
    "relu": ("launch_clamp_scalar", "threshold_kernel"),
    "sgd": ("FusedSgd",),
    "integer addition": ("addIl",),
    "addition": ("Functor_add", "FunctorOnSelf_add"),
}


def by_kind(counts: collections.Counter) -> dict[str, int]:
    """Recorded nodes by kind."""
    kinds: collections.Counter = collections.Counter()
    for what, n in counts.items():
        if what.startswith("recorded "):
            kinds[next((kind for kind, parts in KINDS.items() if any(p in what for p in parts)), "other")] += n
    return dict(kinds.most_common())


# ---- What cannot be as it is, since kernels do nothing


def batches(training: Training) -> list[BatchSpec]:
    """The batches of the epoch under way, drawn on the host; ``kept`` (N,) is the kept set there."""
    on_host = copy.copy(training.loader)
    on_host.train = torch.from_numpy(training.task.train).sort().values
    kept = getattr(training, "kept", torch.ones(len(training.task.noisy), dtype=torch.bool))
    at = training.step.kept.device
    drawn = on_host.epoch(training.progress.epoch, kept)
    return [BatchSpec(*(part.contiguous().to(at) for part in draw.tensors())) for draw in drawn]


def measure(training: Training, *more: object) -> dict:
    """Measures, and says something finite."""
    with contextlib.suppress(NonFinite):
        _measure(training, *more)
    return {"epoch": training.progress.epoch + 1, "kept": 1, "val_accuracy": 0.5, "test_accuracy": 0.5}


_measure = fit._measure


# ---- Trainings


def experiment(*words: str, graph: str = "on", at: str = "cuda") -> settings.Experiment:
    e = settings.read(settings.compose([*SMALL, f"runtime.device={at}", f"runtime.graph={graph}", *words]))
    if e.loss.source:
        e.loss.load_source_estimates("a run", {name: 0.6 * np.eye(10) + 0.04 for name in ("q97", "max")})
    return e


def with_loss(loss: CE, **how: str) -> settings.Experiment:
    return dataclasses.replace(experiment("loss=ce", **how), loss=loss)


def epoch(e: settings.Experiment, at: str) -> Training:
    """An epoch of steps: three full batches, the first of which is recorded, and an odd one; then evaluation."""
    with device.stream(at):
        training = training_of(e, at)
        training.step.start_epoch(0)
        for draw in training.batches():
            training.step(draw)
        training.logits(training.validation)
        training.test_logits(training.test)
    return training


def resnet(*words: str, images: int = 1000) -> Training:
    """ResNet-34 for images of 32x32, as many as given to train on and 1,000 to evaluate on, on the current stream."""
    e = settings.read(settings.compose(["data=cifar10", "loss=gce", *words]))
    labels = np.arange(images + 1000) % 10
    pictures = np.zeros((images + 1000, 32, 32, 3), dtype=np.uint8)
    arrays = Arrays(pictures, labels, pictures[:1000], labels[:1000], tuple("0123456789"))
    train, other = np.arange(images), np.arange(images, images + 1000)
    task = Task(arrays, labels, labels, labels, train, other, np.arange(1000), np.eye(10))
    network = e.model.build((32, 32, 3), 10, 0)
    kernels = device.fused("cuda:0", e.runtime.fused, e.precision, e.compile)
    how = (e.schedule, e.pruning, e.seed, e.precision, "cuda:0", False, "on", kernels)
    return Training(task, e.preprocessing, network, e.loss, *how)


OF_BATCH_NORM = ("moments", "normalise", "gradient_sums", "gradients")  # kernels of noisygce.models.fused


class CountedKernel:
    """A kernel of Triton's that counts its launches, and the bytes of its tensors: it reads or writes each once."""

    def __init__(self, kernel: Any, found: list[int]) -> None:
        self.kernel, self.found = kernel, found

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: Any, **constants: Any) -> None:
            tensors = {
                t.data_ptr(): t.nbytes for t in arguments if isinstance(t, torch.Tensor)
            }  # one may stand for another
            self.found[0] += 1
            self.found[1] += sum(tensors.values())
            self.kernel[grid](*arguments, **constants)

        return launch


# ---- The checks


def losses() -> dict:
    """For each loss: nodes of its step, replays in an epoch, and what was refused."""
    names = sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml"))
    return dict(zip(names, recorded(*(f"loss={loss}" for loss in names)), strict=True))


def recorded(*kinds: str) -> list:
    """For trainings of these words, separated by blanks: nodes of the step, replays in an epoch, what was refused."""
    at = device.prepare("cuda", 1)
    found = []
    for kind in kinds:
        CUDA.make_believe_clear()
        epoch(experiment(*kind.split()), at)
        counts, refused = report()
        found.append([total(counts, "recorded"), counts["cudaGraphLaunch"], refused])
    return found


def step(*words: str) -> dict:
    """A step of ResNet-34 on 128 images: its nodes by kind; launches without a graph; memory; evaluation."""
    at = device.prepare("cuda", 1)
    with device.stream(at):
        training = resnet(*words)
        first, *_, odd = training.batches()
        training.step.start_epoch(0)
        CUDA.make_believe_clear()
        training.step(first)
        nodes, refused = report()
        CUDA.make_believe_clear()
        training.step(odd)
        launched, more = report()
        CUDA.make_believe_clear()
        training.logits(training.validation)
        training.test_logits(training.test)
        evaluated, most = report()
    return {
        "nodes": by_kind(nodes),
        "odd": [len(odd.index), total(launched, "launched"), launched["cudaGraphLaunch"]],
        "evaluation": [evaluated["cudaStreamBeginCapture"], total(evaluated, "recorded")],
        "peak": CUDA.make_believe_peak(0),
        "refused": refused + more + most,
    }


class Traffic(TorchDispatchMode):
    """Kernels and bytes of each operation of torch: all that it reads and writes, as if there were no cache."""

    TWICE = ("native_batch_norm", "cudnn_batch_norm")  # read their inputs twice: statistics come first
    GATHERS = ("index", "gather", "nll_loss")  # read a part of what they are given
    OF_LISTS = {"_foreach_copy_": 0.0, "_foreach_add_": 1.0, "_fused_sgd_": 2 / 3}  # written in place: a share of it

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        before = total(report()[0], "launched")
        result = function(*args, **(kwargs or {}))
        if launched := total(report()[0], "launched") - before:
            name = function.overloadpacket.__name__
            read, written = (
                sum(t.nbytes for t in tree_leaves(what) if isinstance(t, torch.Tensor)) for what in (args, result)
            )
            if name.startswith(self.TWICE):
                read *= 2
            if name.startswith(self.GATHERS):
                read = written
            written += int(self.OF_LISTS.get(name, 0) * read)
            self.found[name][0] += launched
            self.found[name][1] += read + written
        return result


def traffic(*words: str) -> dict:
    """Kernels and bytes of a step of ResNet-34 on 128 images, by operation."""
    at = device.prepare("cuda", 1)
    with device.stream(at):
        training = resnet(*words)
        first = training.batches()[0]
        training.step.start_epoch(0)
        with Traffic() as counted:
            for name in OF_BATCH_NORM:
                setattr(fused.kernels, name, CountedKernel(getattr(fused.kernels, name), counted.found[name]))
            training.step._on(*first.tensors())
    return dict(sorted(counted.found.items(), key=lambda row: -row[1][1]))


def whole() -> dict:
    """Three epochs with a pruning after each, so that last batches have other sizes."""
    at = device.prepare("cuda", 1)
    evaluate.BATCH = 50  # so that evaluation has full batches
    e = experiment("loss=tgce", "prune.start=1", "prune.every=1")
    sizes: dict[int, list[int]] = collections.defaultdict(list)  # of the batches, by epoch
    with device.stream(at):
        training = training_of(e, at)

        def kept_set(*_: object) -> tuple[torch.Tensor, str]:
            training.kept = torch.arange(len(training.task.noisy)) % 10 > training.progress.epoch
            return training.kept.to(at), ""

        prune.kept_set, prune.report = kept_set, lambda *_: {"kept": int(training.kept[training.task.train].sum())}
        CUDA.make_believe_clear()
        list(fit.fit(training, lambda t, images: sizes[t.progress.epoch].append(images)))
        counts, refused = report()
    return {"sizes": list(sizes.values()), "recorded": counts["cudaStreamBeginCapture"], "refused": refused}


def side_by_side() -> dict:
    """Twelve runs in four threads: how each ended, what was refused, and what memory is left."""
    at = device.prepare("cuda", 1)
    kinds = ("ce", "elr", "gjs", "tgce")
    experiments = [experiment(f"loss={kinds[i % 4]}", f"seed={i}") for i in range(12)]

    def one(e: settings.Experiment) -> str:
        try:
            epoch(e, at)
        except Exception as error:
            return repr(error)
        finally:
            cuda_graph.release()
        return "done"

    with ThreadPoolExecutor(4) as threads:
        ended = collections.Counter(threads.map(one, experiments))
    cuda_graph.release()
    torch.cuda.empty_cache()
    counts, refused = report()
    return {
        "ended": ended,
        "recorded": counts["cudaStreamBeginCapture"],
        "refused": refused,
        "left": CUDA.make_believe_used(0),
    }


def held_open() -> dict:
    """While one thread holds its recording open, another does all else that a run does: what came of each."""
    at = device.prepare("cuda", 1)
    opened, done = threading.Event(), threading.Event()

    class Slow(CE):
        def per_sample(self, logits, labels):
            if torch.cuda.is_current_stream_capturing():
                opened.set()
                done.wait(600)
            return super().per_sample(logits, labels)

    slow, other = with_loss(Slow()), experiment("loss=tgce")
    came: dict[str, str] = {}
    training = epoch(experiment("loss=elr"), at)
    recording = threading.Thread(target=epoch, args=(slow, at))
    recording.start()
    assert opened.wait(600)
    *full, odd = training.batches()
    does = {
        "replays": lambda: [training.step(draw) for draw in full],
        "an odd batch": lambda: training.step(odd),
        "evaluates": lambda: training.logits(training.train),
        "begins an epoch": lambda: training.step.start_epoch(1),
        "saves": lambda: [tensor.cpu() for tensor in training.tensors().values()],
        "begins another run": lambda: training_of(other, at),
        # More than there is, were what it has freed not given back: a neighbour's recording is no reason to fail.
        "takes memory again": lambda: [
            torch.empty(mib << 20, dtype=torch.uint8, device=at).nbytes for mib in (400, 500, 700, 900)
        ],
    }
    with device.stream(at):
        for name, does_it in does.items():
            try:
                does_it()
                came[name] = "done"
            except Exception as error:
                came[name] = repr(error)
    done.set()
    recording.join()
    counts, refused = report()
    return {"came": came, "recorded": counts["cudaStreamBeginCapture"], "refused": refused}


def second_device() -> dict:
    """An epoch on the second of two devices: memory used on each, and what was refused."""
    at = device.prepare("cuda:1", 1)
    epoch(experiment("loss=tgce", at="cuda:1"), at)
    return {"at": at, "used": [CUDA.make_believe_used(d) for d in (0, 1)], "refused": report()[1]}


class ReadsBack(CE):
    def per_sample(self, logits, labels):
        value = super().per_sample(logits, labels)
        return value / max(value.max().item(), 1.0)


class FromTheHost(CE):
    def per_sample(self, logits, labels):
        return super().per_sample(logits, labels) * torch.tensor([1.0]).to(logits.device)


class Synchronises(CE):
    def per_sample(self, logits, labels):
        torch.cuda.synchronize()
        return super().per_sample(logits, labels)


class NotDeterministic(CE):
    def per_sample(self, logits, labels):
        return super().per_sample(logits, labels) + logits.median(1).values


def controls() -> dict:
    """What must be refused: the error of each, and whether the next run in the process goes well."""
    at = device.prepare("cuda", 1)
    found = {}
    for cls in (ReadsBack, FromTheHost, Synchronises, NotDeterministic):
        try:
            epoch(with_loss(cls()), at)
            said = "nothing"
        except Exception as error:
            said = f"{type(error).__name__}: {error}".partition("\n")[0]
        CUDA.make_believe_clear()
        epoch(experiment("loss=ce"), at)
        found[cls.__name__] = [said, report()[1]]
    return found


def command(signal_after: str, *words: str) -> None:
    """``noisygce.train WORDS`` with cross entropy, or a loss of this file; SIGTERM after so many steps."""
    call, left = Step.__call__, int(signal_after)

    def count_down(step: Step, draw: BatchSpec) -> None:
        nonlocal left
        call(step, draw)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    Step.__call__ = count_down
    sys.argv[1:] = [*SMALL, "loss=ce", *words]
    train.main()
    sys.exit()


if __name__ == "__main__":
    fit._measure, Training.batches, cuda_graph.same = measure, batches, lambda *_: True
    fused.difference = lambda *_: 0.0
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])), flush=True)
    # At once: where a check ends right after a step, torch's backward thread may still be freeing it. It would ask for
    # the interpreter while that goes away, and Python up to 3.13 then aborts.
    os._exit(0)
