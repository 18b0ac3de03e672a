"""``python -m noisygce.doctor``: checks whether this machine can train, and prints what to do if not.

    python -m noisygce.doctor                                 for a run with the default settings
    python -m noisygce.doctor data=digits precision=fp32      for this run; settings as of noisygce.train

Checks packages, GPU and driver, bf16, memory, threads, data sets and the results folder. Trains and fetches nothing.
Exit code 1 if there is something to do. Add the output to a bug report.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import noisygce
from noisygce import data, settings
from noisygce.errors import first_line
from noisygce.runs.manifest import commit
from noisygce.settings import Experiment, arguments
from noisygce.training import hardware

# GiB that a run of ResNet-34 on CIFAR-10 in batches of 128 takes on a GPU, data set and both graphs included: counted
# on a simulated CUDA runtime (LOG.md, 2026-11-27). cuDNN's workspaces and CUDA itself come on top: some 0.6 (estimate).
NEEDS = {"bf16": 2.2, "fp32": 3.7}
_ON_DISK = 1.0  # GiB: two checkpoints of ResNet-34 and one being written


class Finding(NamedTuple):
    """What was looked at and found, and what to do about it; empty where all is well."""

    what: str
    found: str
    to_do: str = ""


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Prints what this machine has, and what to do where it lacks something; exits with 1 where it does."""
    _, rest = arguments.split(argv, {})
    e = settings.read(settings.compose(rest))
    made = commit()
    changed = ", changed" if made["dirty"] else ""
    print(" ".join([f"noisygce {noisygce.__version__}, commit {(made['commit'] or 'unknown')[:12]}{changed};", *rest]))
    to_do = 0
    for finding in examine(e):
        print(f"{'TO DO' if finding.to_do else 'ok':6}{finding.what:9} {finding.found}", flush=True)
        if finding.to_do:
            to_do += 1
            print(f"{'':16}-> {finding.to_do}")
    if to_do:
        print(f"{to_do} problem{'s' if to_do > 1 else ''} to solve before a run can train here")
        sys.exit(1)
    print("ready to train; a bug report needs this output, the command, its output, and train.log of the run")


def examine(e: Experiment) -> Iterator[Finding]:
    """All findings, in the order of what depends on what; nothing raises."""
    checks: list[Callable[[Experiment], Iterator[Finding]]] = [_system, _packages, _gpu, _cpu, _data, _results]
    for check in checks:
        try:
            yield from check(e)
        except ImportError:
            continue  # _packages names the package
        except Exception as error:
            name, reason = check.__name__.strip("_"), first_line(error)
            yield Finding(name, reason, "if you do not know why, report it with this output")


def _system(_: Experiment) -> Iterator[Finding]:
    yield Finding("system", f"{platform.platform()}, Python {platform.python_version()}")


def _needed() -> list[str]:
    """The packages that pyproject.toml names, but for the extras; of an uninstalled checkout the first two."""
    try:
        lines = requires("noisygce") or []
    except PackageNotFoundError:
        lines = ["torch", "torchvision"]
    return [re.split("[<>=!~; ]", line)[0] for line in lines if "extra ==" not in line]


def _packages(_: Experiment) -> Iterator[Finding]:
    found, missing = [], []
    for name in _needed():
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    to_do = f"missing: {', '.join(missing)}; make setup" if missing else ""
    try:
        import torch

        found.append(f"torch for {f'CUDA {torch.version.cuda}' if torch.version.cuda else torch.version.hip or 'CPUs'}")
    except (ImportError, OSError) as error:  # OSError: a library of its own that is not there
        to_do = to_do or f"torch cannot be imported ({error}); make clean setup".replace("\n", " ")
    yield Finding("packages", ", ".join(found), to_do)


def _gpu(e: Experiment) -> Iterator[Finding]:
    import torch

    wanted = e.runtime.device
    if wanted == "cpu":
        yield Finding("GPU", "not used (runtime.device=cpu)")
        return
    if missing := hardware.no_gpu():
        needed = wanted != "auto" or hardware.has_driver(missing)
        found = "none; runs train on the CPU"
        yield Finding("GPU", found if needed else f"{found}: {missing}", missing if needed else "")
        return
    place = f"cuda:{wanted.partition(':')[2] or 0}"
    if place not in (there := [f"cuda:{i}" for i in range(torch.cuda.device_count())]):
        yield Finding("GPU", ", ".join(there), f"runtime.device={wanted} is none of these")
        return
    versions = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, driver {_driver()}"
    found = f"{hardware.name(place)}, {place} of {len(there)}; {versions}"
    yield Finding("GPU", found, hardware.no_kernels(place))
    if hardware.no_kernels(place):
        return
    torch.zeros(1, device=place)  # something runs on it
    torch.cuda.synchronize(place)
    reason = hardware.no_bf16(place)
    yield Finding("bf16", "no" if reason else "yes", reason if e.precision == "bf16" else "")
    if not reason:
        slower = hardware.no_fused(place)
        yield Finding("kernels", f"torch's own, which are slower: {slower}" if slower else "fused batch norm")
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info(place))
    needs = f"a run of ResNet-34 on CIFAR-10 needs {NEEDS['bf16']}, with precision=fp32 {NEEDS['fp32']}"
    full = free < NEEDS[e.precision] * e.runtime.concurrent and e.data.files
    to_do = "end what else runs on it, or lower runtime.concurrent or schedule.batch_size" if full else ""
    yield Finding("memory", f"{free:.1f} of {total:.1f} GiB free on the GPU; {needs}", to_do)


def _driver() -> str:
    """The version of NVIDIA's kernel module."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text().split()
    except OSError:
        return "unknown"
    return next((word for word in words if word[0].isdigit() and word.count(".") >= 1), "unknown")


def _cpu(e: Experiment) -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = e.threads or torch.get_num_threads()
    bf16 = "bf16 arithmetic" if hardware.fast_bf16_cpu() else "no bf16 arithmetic, so that fp32 is faster"
    found = f"{cores} cores, {threads} threads; {hardware.cpu_kernels()}, {bf16}"
    yield Finding("CPU", found, f"more threads than cores: runtime.threads={cores}" if threads > cores else "")


def _data(e: Experiment) -> Iterator[Finding]:
    root = e.paths.data
    kinds = [kind for kind in vars(data).values() if isinstance(kind, type)]
    sets: list[type[data.Data]] = [kind for kind in kinds if issubclass(kind, data.Data)]
    there = {kind.__name__: all((root / file).is_file() for file in kind.files) for kind in sets if kind.files}
    found, others = ([name for name, is_there in there.items() if is_there is which] for which in (True, False))
    fetched = f"; fetched by the first run that needs it: {', '.join(others)}" if others else ""
    missing = (
        "" if root.is_dir() or root == data.published.HOME else "there is no such folder: make it, or name another"
    )
    yield Finding("data", f"below {root.absolute()}: {', '.join(found) or 'nothing'}{fetched}", missing)


# Another process must not get a lock that this one holds.
_TRY = "import sys, filelock; filelock.FileLock(sys.argv[1], timeout=0).acquire()"


def _results(e: Experiment) -> Iterator[Finding]:
    from filelock import FileLock

    folder = e.paths.results
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".doctor.", dir=folder) as below:
            (Path(below) / "new").write_bytes(bytes(1 << 20))
            os.replace(Path(below) / "new", Path(below) / "file")
            lock = Path(below) / "lock"
            with FileLock(lock, timeout=1):
                other = subprocess.run([sys.executable, "-c", _TRY, lock], capture_output=True, timeout=60)
    except OSError as error:
        yield Finding("results", f"{folder}: {error}", "name a folder that you may write to: paths.results=FOLDER")
        return
    free = shutil.disk_usage(folder).free / 2**30
    found = f"{folder.absolute()}: can be written{' and locked' if other.returncode else ''}, {free:.1f} GiB free"
    if not other.returncode:
        to_do = (
            "locks do not hold there: two workers could train the same run; docs/cluster.md names what file systems do"
        )
    else:
        to_do = f"a run needs {_ON_DISK} GiB for its checkpoints" if free < _ON_DISK else ""
    yield Finding("results", found, to_do)


if __name__ == "__main__":
    main()
