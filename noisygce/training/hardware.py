"""What there is to compute on: the processor and the GPU, what they cannot do and why, and their description."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from noisygce.data.base import memory_of_machine

_DRIVER = Path("/proc/driver/nvidia")  # there while NVIDIA's kernel module is loaded
_DRIVER_OF_WSL = Path("/usr/lib/wsl/lib/libcuda.so.1")  # whose kernel module is Windows'
_TOO_OLD = "driver on your system is too old"  # as torch says it
OLDER = "torch for an older CUDA: make clean setup TORCH=cu126"


def processor() -> str:
    """Maker, family, model and stepping of the CPU, of ARM maker and part, of a Mac its name: libraries choose their
    kernels by these too."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
        return platform.processor()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    maker = next((told[key] for key in ("vendor_id", "CPU implementer") if key in told), "")
    numbers = [told[key] for key in ("cpu family", "model", "stepping", "CPU part", "CPU variant") if key in told]
    return f"{maker} {'-'.join(numbers)}" if maker else platform.processor()


def cpu_kernels() -> str:
    """Which vector instructions torch's CPU kernels use here."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def fast_bf16_cpu() -> bool:
    """Whether this processor has bf16 arithmetic of its own; elsewhere it is emulated, exact and slow."""
    import torch

    has_avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    if platform.machine() in ("arm64", "aarch64"):  # not all of them; and on macOS torch has no oneDNN, which uses it
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return has_avx512() or has_amx()


def no_gpu() -> str:
    """Why torch sees no GPU, and what to do about it; empty where it sees one."""
    import torch

    with warnings.catch_warnings():
        # Torch warns of the same reason.
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


def has_driver(missing: str) -> bool:
    """Whether a GPU that torch does not see may be here all the same; ``missing``: what ``no_gpu`` says."""
    there = _DRIVER.exists() or _DRIVER_OF_WSL.exists()
    return (there and "CUDA_VISIBLE_DEVICES" not in missing) or _TOO_OLD in missing


def memory(device: str) -> float:
    """Bytes of a GPU's memory that this process can still take; of a CPU, the memory of the machine."""
    if not device.startswith("cuda"):
        return memory_of_machine()
    import torch

    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, from finished runs
    return torch.cuda.mem_get_info(device)[0] + kept


def name(device: str) -> str:
    """A GPU and its compute capability, such as Tesla T4 (sm_75)."""
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)} (sm_{major}{minor})"


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


def describe(device: str, fused: bool = False, pictures: bool = False) -> dict[str, Any]:
    """What the numbers of a run may depend on: device, processor, threads and versions, for its manifest. fused: its
    kernels are those of noisygce.models.fused. pictures: its images are decoded from files."""
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
            **({"pillow": version("pillow")} if pictures else {}),
        },
    }


def _triton() -> str:
    """Its version; the package has several names."""
    import triton

    return triton.__version__
