"""Where a run computes: picking the device, making its arithmetic repeatable, and saying what it was."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import threading
from contextlib import AbstractContextManager
from typing import Any

from noisygce.errors import ConfigError

_of_thread = threading.local()


def prepare(device: str, threads: int | None) -> str:
    """Makes torch deterministic and returns the device's torch name, such as cpu or cuda:0."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is repeatable only with a fixed workspace
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms, without its import of Inductor (4 s)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False  # it picks by timing
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            there = f"there are {torch.cuda.device_count()} GPUs, counted from 0" if torch.cuda.is_available() else ""
            raise ConfigError(f"runtime.device={device}: {there or 'torch sees no GPU here; runtime.device=cpu'}")
        device = f"cuda:{index}"
    return device


def stream(device: str) -> AbstractContextManager[Any]:
    """Within it all work of this thread goes to its own CUDA stream: graphs are not recorded on the default one, and
    runs side by side do not wait for each other. Nothing on a CPU."""
    if not device.startswith("cuda"):
        return contextlib.nullcontext()
    import torch

    streams = vars(_of_thread)  # kept, because torch has 32 of them and then gives out the first ones again
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)
    return torch.cuda.stream(streams[device])


def graphs(device: str, choice: str) -> bool:
    """Whether to replay CUDA graphs, for ``runtime.graph``. Raises ConfigError for "on" without a GPU."""
    on_gpu = device.startswith("cuda")
    if choice == "on" and not on_gpu:
        raise ConfigError("runtime.graph=on: CUDA graphs need a GPU; runtime.graph=auto uses them where there is one")
    return on_gpu and choice != "off"


def require_compiler() -> None:
    """Raises ConfigError where ``compile=true`` cannot work."""
    if not any(map(shutil.which, (os.environ.get("CXX") or "g++", "g++", "clang++"))):
        raise ConfigError("compile=true: needs a C++ compiler, such as g++, which is not there; compile=false does not")


def describe(device: str) -> dict[str, Any]:
    """What the numbers of a run may depend on: device, threads and versions, for its manifest."""
    import numpy
    import torch

    import noisygce

    on_gpu = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else f"cpu ({platform.machine()}, {cpu_kernels()})",
        "threads": torch.get_num_threads(),
        "versions": {
            "noisygce": noisygce.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),  # a class of its own, which a checkpoint may not hold
            "numpy": numpy.__version__,
            "cuda": torch.version.cuda if on_gpu else None,
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        },
    }


def cpu_kernels() -> str:
    """Which vector instructions torch's CPU kernels use here."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def fast_bf16_cpu() -> bool:
    """Whether this processor has bf16 arithmetic of its own; elsewhere it is emulated, exact and slow."""
    import torch

    has_avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return has_avx512() or has_amx() or platform.machine() in ("arm64", "aarch64")
