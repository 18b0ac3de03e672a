"""Where a run computes: picking the device and making its arithmetic repeatable."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from noisygce.errors import ConfigError, NoisygceError
from noisygce.training import hardware

log = logging.getLogger("noisygce")
_of_thread = threading.local()
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
_not_loaded: list[str] = []  # why PyTorch could not be loaded, at each attempt of this process


def prepare(device: str, threads: int | None) -> str:
    """Makes torch deterministic and returns the device's torch name, such as cpu or cuda:0. Raises ConfigError.

    threads: of the CPU; None is torch's choice, also after a run of another number in this process.
    """
    os.environ.setdefault(_CUBLAS, ":4096:8")  # cuBLAS is repeatable only with a fixed workspace
    torch = _torch()
    torchs_choice = _first_threads()
    if (wanted := threads or torchs_choice) != torch.get_num_threads():
        torch.set_num_threads(wanted)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms, without its import of Inductor (4 s)
    change(torch.utils.deterministic, "fill_uninitialized_memory", False)  # type: ignore[attr-defined]
    change(torch.backends.cudnn, "benchmark", False)  # it picks by timing
    change(torch.backends.cudnn, "deterministic", True)
    _compute_fp32_in_fp32(torch)
    missing = hardware.no_gpu() if device != "cpu" else ""
    if device == "auto":
        if missing and hardware.has_driver(missing):
            _warn(f"training on the CPU: {missing}")
        device = "cpu" if missing else "cuda"
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        if missing:
            raise ConfigError(f"runtime.device={device}: {missing}; runtime.device=cpu needs none")
        if index >= torch.cuda.device_count():
            raise ConfigError(f"runtime.device={device}: there are {torch.cuda.device_count()} GPUs, counted from 0")
        device = f"cuda:{index}"
        if reason := hardware.no_kernels(device):
            raise ConfigError(f"runtime.device={device}: {reason}; runtime.device=cpu needs none")
        _require_repeatable_products(device)
    return device


@functools.cache  # torch reads the variable once
def _require_repeatable_products(device: str) -> None:
    """Raises ConfigError where this process had computed on a GPU before cuBLAS was told to be repeatable."""
    import torch

    try:
        torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    except RuntimeError as error:
        if _CUBLAS not in str(error):
            raise
        raise ConfigError(
            f"this Python has computed on the GPU before a run, and torch has read {_CUBLAS} then; start Python again "
            f"and train first, or set {_CUBLAS}=:4096:8 before it starts"
        ) from None


def _compute_fp32_in_fp32(torch: Any) -> None:
    """Neither TF32 nor bf16 in its place, whichever of torch's two interfaces a program has asked for them by."""
    on = torch.backends
    whole = [on.cudnn, on.mkldnn]
    parts = [on.cuda.matmul, *(getattr(each, part) for each in whole for part in ("conv", "rnn")), on.mkldnn.matmul]
    # The whole sets its parts, so it is restored before them.
    _Before.changed += [(each, "fp32_precision", each.fp32_precision) for each in (*parts, *whole)]
    with contextlib.suppress(RuntimeError):  # of the older interface, where a program has used the newer one
        _Before.changed.append((on.cudnn, "allow_tf32", on.cudnn.allow_tf32))
    on.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    for each in (*whole, *parts):
        each.fp32_precision = "ieee"


def _matmul_precision(torch: Any) -> str | None:
    """As the older interface has it; None where a program has used the newer one, for which it raises an error."""
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:
        return None


def _torch() -> Any:
    """PyTorch. Raises NoisygceError where it cannot be loaded, with the first reason in every run of a sweep: Python's
    reason for a second attempt is the first attempt."""
    try:
        import torch
    except (ImportError, MemoryError, OSError) as error:
        _not_loaded.append(f"{type(error).__name__}: {error}".partition("\n")[0].strip(": "))
        raise NoisygceError(
            f"PyTorch cannot be loaded: {_not_loaded[0]}; it needs about 4 GB of address space (ulimit -v)"
        ) from None
    return torch


@functools.cache
def _first_threads() -> int:
    """The number of CPU threads before any run that is under way has set another."""
    import torch

    return torch.get_num_threads()


class _Before:
    """What the runs that are under way have changed in torch, and how it was before."""

    lock = threading.Lock()
    runs = 0  # under way
    threads = mode = 0
    cublas: str | None = None
    matmul_precision: str | None = None
    changed: ClassVar[list[tuple[Any, str, Any]]] = []


def change(owner: Any, name: str, value: object) -> None:
    """Sets an attribute of torch for the runs that are under way (``prepared``)."""
    _Before.changed.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


@contextlib.contextmanager
def prepared(device: str, threads: int | None) -> Iterator[str]:
    """Within it torch computes as a run does (``prepare``, ``stream``), on the device that it gives; once no run is
    under way, torch is as it was before. Raises as both do."""
    torch = _torch()
    with _Before.lock:
        if not _Before.runs:
            _Before.changed.clear()
            _Before.cublas = os.environ.get(_CUBLAS)
            _Before.matmul_precision = _matmul_precision(torch)
            _Before.threads, _Before.mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
        _Before.runs += 1
    try:
        place = prepare(device, threads)
        warn_if_crowded(place)
        try:
            with stream(place):
                yield place
        finally:
            if place.startswith("cuda"):
                from noisygce.training import cuda_graph

                cuda_graph.release()
    finally:
        with _Before.lock:
            _Before.runs -= 1
            torch.set_num_threads(_Before.threads)  # each thread of a process has a number of its own
            if not _Before.runs:
                _first_threads.cache_clear()
                torch.set_deterministic_debug_mode(_Before.mode)
                if _Before.matmul_precision is not None:  # which sets parts of the newer interface
                    torch.set_float32_matmul_precision(_Before.matmul_precision)
                while _Before.changed:
                    setattr(*_Before.changed.pop())
                if _Before.cublas is None:
                    os.environ.pop(_CUBLAS, None)


def warn_if_crowded(device: str) -> None:
    """Warns once where a run on several CPU threads will wait for cores that other processes use."""
    import torch

    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    if device != "cpu" or threads == 1 or not hasattr(os, "getloadavg"):
        return
    if os.getloadavg()[0] > cores + 0.5:  # a run that has this machine to itself makes a load of its cores
        _warn(
            f"the load average is above the {cores} cores: a run on {threads} threads may be 10 times slower here; "
            "runtime.threads=1 waits for no core"
        )


@functools.cache
def _warn(message: str) -> None:
    """Once a process, not once a run."""
    log.warning(message)


@contextlib.contextmanager
def stream(device: str) -> Iterator[None]:
    """Within it all work of this thread goes to its own CUDA stream: graphs are not recorded on the default one, and
    runs side by side do not wait for each other. Nothing on a CPU. Raises NoisygceError where the GPU's memory is full.
    """
    if not device.startswith("cuda"):
        yield
        return
    import torch

    streams = vars(_of_thread)  # kept, because torch has 32 of them and then gives out the first ones again
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)
    try:
        with torch.cuda.stream(streams[device]):
            yield
    except torch.OutOfMemoryError as error:
        request = ". ".join(str(error).split(". ")[:3])  # the size asked for, and the memory there is
        raise NoisygceError(
            f"{request}: lower runtime.concurrent or schedule.batch_size, or end what else runs on that GPU"
        ) from None


def graphs(device: str, choice: str) -> str:
    """How to use CUDA graphs on a device, for ``runtime.graph``: auto, on or off. Raises ConfigError for "on" without
    a GPU."""
    on_gpu = device.startswith("cuda")
    if choice == "on" and not on_gpu:
        raise ConfigError("runtime.graph=on: CUDA graphs need a GPU; runtime.graph=auto uses them where there is one")
    return choice if on_gpu else "off"


def fused(device: str, choice: str, precision: str, compile: bool) -> bool:
    """Whether to use the kernels of noisygce.models.fused, for ``runtime.fused``: auto, on or off. Raises ConfigError
    for "on" where they cannot be used."""
    on_gpu = device.startswith("cuda")
    wanted = on_gpu and precision == "bf16" and not compile
    if choice == "off" or (choice == "auto" and not wanted):
        return False
    reason = hardware.no_fused(device) if wanted or not on_gpu else "it is for precision=bf16 and compile=false"
    if reason and choice == "on":
        raise ConfigError(f"runtime.fused=on: {reason}; runtime.fused=auto uses them where it can")
    if reason:
        _warn(f"training with torch's batch norm, which is slower: {reason}")
    return not reason


def require(device: str, precision: str, compile: bool) -> None:
    """Raises ConfigError where a device cannot compute so."""
    if precision == "bf16" and (reason := hardware.no_bf16(device)):
        raise ConfigError(f"precision=bf16: {reason}")
    if compile and not any(map(shutil.which, (os.environ.get("CXX") or "g++", "g++", "clang++"))):
        raise ConfigError("compile=true: there is no C++ compiler, such as g++; install one, or use compile=false")
