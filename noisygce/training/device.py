"""Where a run computes: picking the device, making its arithmetic repeatable, and saying what it was."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import platform
import re
import shutil
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noisygce.errors import ConfigError, NoisygceError

log = logging.getLogger("noisygce")
_of_thread = threading.local()
_DRIVER = Path("/proc/driver/nvidia")  # there while NVIDIA's kernel module is loaded


def prepare(device: str, threads: int | None) -> str:
    """Makes torch deterministic and returns the device's torch name, such as cpu or cuda:0. Raises ConfigError."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is repeatable only with a fixed workspace
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms, without its import of Inductor (4 s)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False  # it picks by timing
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    missing = no_gpu() if device != "cpu" else ""
    if device == "auto":
        if missing and has_driver(missing):
            _warn(f"training on the CPU: {missing}")
        device = "cpu" if missing else "cuda"
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        if missing:
            raise ConfigError(f"runtime.device={device}: {missing}; runtime.device=cpu needs none")
        if index >= torch.cuda.device_count():
            raise ConfigError(f"runtime.device={device}: there are {torch.cuda.device_count()} GPUs, counted from 0")
        device = f"cuda:{index}"
        if reason := no_kernels(device):
            raise ConfigError(f"runtime.device={device}: {reason}; runtime.device=cpu needs none")
    return device


@functools.cache
def _warn(message: str) -> None:
    """Once a process, not once a run."""
    log.warning(message)


def no_gpu() -> str:
    """Why torch sees no GPU, and what to do about it; empty where it sees one."""
    import torch

    # Torch's own words for what is said here.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.cuda$")
    if torch.cuda.is_available():
        return ""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    if platform.system() == "Darwin":
        return "macOS has no CUDA, and Apple's GPU is not used"
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built without CUDA; for the build with it: make clean setup"
    try:
        torch.cuda.init()
        return "torch sees no GPU"
    except RuntimeError as error:
        said = str(error).partition(". ")[0].partition("\n")[0]
    if _TOO_OLD in said:
        return (
            f"{said}; torch {torch.__version__} needs one for CUDA {torch.version.cuda}: update it, or install {OLDER}"
        )
    return f"torch sees no GPU ({said})"


_TOO_OLD = "driver on your system is too old"  # as torch says it
OLDER = "torch for an older CUDA: make clean setup TORCH=cu126"


def has_driver(missing: str) -> bool:
    """Whether a GPU that torch does not see may be here all the same; ``missing``: what ``no_gpu`` says."""
    return (_DRIVER.exists() and "CUDA_VISIBLE_DEVICES" not in missing) or _TOO_OLD in missing


def no_kernels(device: str) -> str:
    """Why this build of torch cannot compute on a GPU, and what to do about it; empty where it can.

    Machine code for sm_XY runs on capability X.Z, Z >= Y; sm_XYa on X.Y alone; PTX, compute_XY, on all from X.Y on.
    """
    import torch

    built = torch.cuda.get_arch_list()
    here = torch.cuda.get_device_capability(device)
    if torch.version.hip or not built:
        return ""
    for arch in built:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
        if match is None:
            continue
        for_one = (int(match[2]), int(match[3]))
        if here == for_one or (match[4] != "a" and for_one < here and (match[1] == "compute" or for_one[0] == here[0])):
            return ""
    return f"torch {torch.__version__} has kernels for {', '.join(built)} and not for {name(device)}; install {OLDER}"


def no_bf16(device: str) -> str:
    """Why bf16 is not for a device, and what to do about it; empty where it is."""
    import torch

    if not device.startswith("cuda") or torch.version.hip or torch.cuda.get_device_capability(device) >= (8, 0):
        return ""
    return f"{name(device)} has no bf16 arithmetic, which came with sm_80; precision=fp32 trains there"


def name(device: str) -> str:
    """A GPU and its compute capability, such as Tesla T4 (sm_75)."""
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)} (sm_{major}{minor})"


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
        said = ". ".join(str(error).split(". ")[:3])  # what was asked for, and what there is
        raise NoisygceError(
            f"{said}: lower runtime.concurrent or schedule.batch_size, or end what else runs on that GPU"
        ) from None


def release(device: str) -> None:
    """Frees what finished trainings held on a GPU."""
    if device.startswith("cuda"):
        from noisygce.training import cuda_graph

        cuda_graph.release()


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
    reason = no_fused(device) if wanted or not on_gpu else "it is for precision=bf16 and compile=false"
    if reason and choice == "on":
        raise ConfigError(f"runtime.fused=on: {reason}; runtime.fused=auto uses them where it can")
    if reason:
        _warn(f"going on with torch's batch norm, which is slower: {reason}")
    return not reason


def no_fused(device: str) -> str:
    """Why the kernels of noisygce.models.fused are not for a device; empty where they are."""
    if not device.startswith("cuda"):
        return "the fused kernels need a GPU"
    if reason := no_bf16(device):
        return reason
    import torch

    try:
        from noisygce.models import fused
    except Exception as error:  # whatever a Triton that does not fit may raise
        return f"the fused kernels need Triton ({type(error).__name__}: {error})".replace("\n", " ")
    with torch.cuda.device(device):  # Triton builds for the current one
        return fused.unusable(device)


def require(device: str, precision: str, compile: bool) -> None:
    """Raises ConfigError where a device cannot compute so."""
    if precision == "bf16" and (reason := no_bf16(device)):
        raise ConfigError(f"precision=bf16: {reason}")
    if compile and not any(map(shutil.which, (os.environ.get("CXX") or "g++", "g++", "clang++"))):
        raise ConfigError("compile=true: there is no C++ compiler, such as g++; install one, or use compile=false")


def describe(device: str, fused: bool = False) -> dict[str, Any]:
    """What the numbers of a run may depend on: device, processor, threads and versions, for its manifest. fused: its
    kernels are those of noisygce.models.fused."""
    import numpy
    import torch

    import noisygce

    on_gpu = device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else f"cpu ({platform.machine()}, {cpu_kernels()})",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "versions": {
            "noisygce": noisygce.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),  # a class of its own, which a checkpoint may not hold
            "numpy": numpy.__version__,
            "cuda": torch.version.cuda if on_gpu else None,
            "triton": _triton() if fused else None,
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        },
    }


def _triton() -> str:
    """Its version; the package has several names."""
    import triton

    return triton.__version__


def processor() -> str:
    """Maker, family, model and stepping of the CPU: libraries choose their kernels by these too."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    numbers = [told[key] for key in ("cpu family", "model", "stepping") if key in told]
    return f"{told['vendor_id']} {'-'.join(numbers)}" if "vendor_id" in told else platform.processor()


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
