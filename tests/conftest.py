"""What many tests start from: a small training on the embedded digits, and the official files where there are any."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import signal
from pathlib import Path

import pytest
import torch

from noisygce import settings
from noisygce.runs import stops
from noisygce.runs.begin import training_of
from noisygce.sweep import stored
from noisygce.sweep.plan import Plan, plan_of
from noisygce.training import cuda_graph, device
from noisygce.training.fit import Training

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it in the background; tests press Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

# 200 images in four batches of 64, a network of four channels: an epoch takes some 20 ms.
SMALL = ["data=digits", "data.subset=200", "model.width=4", "schedule.epochs=5", "schedule.batch_size=64"]


@pytest.fixture(scope="session", autouse=True)
def as_in_a_run():
    """One CPU thread and deterministic kernels, in every test."""
    device.prepare("cpu", 1)


@pytest.fixture(scope="session", autouse=True)
def caches_aside(tmp_path_factory):
    """Tests, and the processes that they start, leave nothing in the user's cache folder."""
    os.environ["NOISYGCE_CACHE"] = str(tmp_path_factory.getbasetemp() / "cache")
    yield
    del os.environ["NOISYGCE_CACHE"]


@pytest.fixture(autouse=True)
def process_as_before():
    """Signal handlers and logging are as before after a test in which a command has run in this process. What a test
    draws from torch's generator does not depend on the tests before it."""
    torch.manual_seed(0)
    log = logging.getLogger("noisygce")
    logged = (list(log.handlers), log.level, log.propagate)
    handlers = {number: signal.getsignal(number) for number in map(signal.Signals.__getitem__, stops.SIGNALS)}
    state = {**vars(stops.process), "before": dict(stops.process.before)}
    yield
    log.handlers[:], log.level, log.propagate = logged
    vars(stops.process).update(state)
    for number, handler in handlers.items():
        if handler is not None:  # not one of Python's
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def plans_aside(monkeypatch, tmp_path_factory):
    """Tests that run in the checkout store their plans in a folder of the session, and leave none in its results."""
    checkout, original = Path.cwd(), stored.path_of
    aside = tmp_path_factory.getbasetemp() / "plans"

    def path_of(arguments):
        path = original(arguments)
        below = Path.cwd() == checkout and not path.is_absolute()
        return aside / "plans" / path.name if below else path

    aside.mkdir(exist_ok=True)
    monkeypatch.setattr(stored, "path_of", path_of)


@pytest.fixture
def make():
    """Makes a small training; the arguments are overrides, as on the command line."""

    def build(*overrides: str) -> Training:
        return training_of(settings.read(settings.compose([*SMALL, *overrides])), "cpu")

    return build


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """On the CPU, all that surrounds a graph: a replay calls the function again. Counts the replays."""
    replays = []

    def record(call, _pool):
        changed = list(call.__self__.changes())
        before = [tensor.detach().clone() for tensor in changed]
        result = call()  # a GPU would not compute it yet
        with torch.no_grad():
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)

        def replay():
            replays.append(call)
            again = call()
            if result is not None:
                result.copy_(again)

        return replay, result

    monkeypatch.setattr(cuda_graph, "record", record)
    monkeypatch.setattr(device, "graphs", lambda *_: "on")
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    return replays


@pytest.fixture
def official():
    """The checked arrays of a data set by the name of its leaf; skips where its official files are not."""

    def load(name: str):
        data = settings.read(settings.compose([f"data={name}"])).data
        root = os.environ.get("NOISYGCE_DATA")
        if not root:
            pytest.skip("NOISYGCE_DATA names no folder with the official files")
        missing = [file for file in data.files if not (Path(root) / file).is_file()]
        if missing:
            pytest.skip(f"NOISYGCE_DATA has no {missing[0]}")
        return data, data.load(Path(root))

    return load


@functools.cache
def _demo() -> Plan:
    return plan_of(["experiment=demo", "seed=0,1"])


@pytest.fixture
def demo(tmp_path):
    """The plan of the demo with two seeds, its results below a folder of the test."""
    return dataclasses.replace(_demo(), results=tmp_path)
