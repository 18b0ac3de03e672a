"""What import-linter and ruff (pyproject.toml) cannot see: which modules are there after an import."""

import subprocess
import sys
import tomllib

import pytest

from noisygce import settings

ROOT = settings.config_dir().parent
PACKAGE = ROOT / "noisygce"
HEAVY = {"torch", "torchvision", "triton", "pandas", "matplotlib", "scipy", "sklearn"}
# These import torch when they are imported, so nothing that starts a command may import them.
COMPUTES = (
    {
        f"noisygce.training.{name}"
        for name in (
            "augment",
            "bf16",
            "cuda_graph",
            "dropout",
            "evaluate",
            "fit",
            "images",
            "loader",
            "moving_average",
            "own_loss",
            "philox",
            "predictions",
            "prune",
            "step",
        )
    }
    | {f"noisygce.models.{name}" for name in ("resnet", "fused", "fused_kernels", "peers", "pool")}
    | {"noisygce.losses.torch"}
    | {f"noisygce.bench.{path.stem}" for path in (PACKAGE / "bench").glob("[a-z]*.py")}
)


def test_every_package_is_in_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {module(path) for path in PACKAGE.rglob("__init__.py")}
    assert packages == {name for name in listed if name.startswith("noisygce")} - {"noisygce.configs"}


def module(path):
    """The dotted name of a file of the package."""
    return ".".join(("noisygce", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def modules_after(code):
    code = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_modules_that_compute_nothing_import_nothing_heavy():
    names = {module(path) for path in PACKAGE.rglob("*.py") if path.stem != "__main__"}
    assert names > COMPUTES - {"noisygce.bench.__main__"}
    light = sorted(names - COMPUTES)
    assert not modules_after("; ".join(f"import {name}" for name in light)) & HEAVY


@pytest.mark.parametrize(
    ("code", "there", "absent"),
    [
        ("from noisygce import settings; settings.read(settings.compose(['loss=tgce']))", {"hydra"}, HEAVY),
        ("from noisygce import results; assert results.found('results/reference')", set(), {"torch", "hydra"}),
        ("import noisygce", {"noisygce"}, HEAVY | {"hydra", "omegaconf", "numpy", "noisygce.settings"}),
    ],
    ids=["reading a config", "reading results", "the package"],
)
def test_an_import_brings_only_what_it_needs(code, there, absent):
    found = modules_after(code)
    assert there <= found
    assert not found & absent
