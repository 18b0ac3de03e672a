"""Batch norm, addition and ReLU in one: Triton's interpreter computes them on the CPU, and its compiler builds them."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch

from noisygce import settings
from noisygce.errors import ConfigError
from noisygce.models.resnet import BasicBlock, BatchNorm
from noisygce.runs.begin import training_of
from noisygce.training import device

with_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def python(code: str, **environment: str) -> dict:
    """What code prints last, as JSON, in a process of its own: the interpreter is chosen as Triton is imported."""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


INTERPRETED = """
import json, torch
from noisygce.models import fused

# Channels that do not fill a tile, rows that do not, one row a channel and image, several tiles and parts.
shapes = [(5, 80, 9, 7), (2, 3, 4, 4), (3, 1, 1, 1), (20, 5, 17, 16)]
found = {"errors": [fused.difference("cpu", torch.bfloat16, shape) for shape in shapes]}

x = 1000 + torch.randn(64, 2, 8, 8, generator=torch.Generator().manual_seed(0))
one, variance = torch.ones(2), torch.zeros(2)
fused.batch_norm(x, None, one, one, torch.zeros(2), variance, 1.0, 1e-5, False)
found["variance"] = [variance.tolist(), x.double().var((0, 2, 3)).tolist()]

x[0, 0, 0, 0] = torch.nan
y = fused.batch_norm(x, None, one, one, torch.zeros(2), torch.zeros(2), 0.1, 1e-5, True)
found["nan"] = y.isnan().all((0, 2, 3)).tolist()

right = fused.by_torch
fused.by_torch = lambda x, *more: right(x + 0.01 * x.square(), *more)
found["wrong"] = fused.unusable("cpu")

def fails(*_):
    raise RuntimeError("Failed to find C compiler.\\nMore")

fused.unusable.cache_clear()
fused.difference = fails
found["fails"] = fused.unusable("cpu")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def interpreted() -> dict:
    return python(INTERPRETED, TRITON_INTERPRET="1")


@with_triton
def test_results_gradients_and_statistics_are_torchs_within_rounding(interpreted):
    assert max(interpreted["errors"]) <= 1, interpreted


@with_triton
def test_no_cancellation_where_the_mean_is_large(interpreted):
    """Variance 1 at a mean of 1,000: from sums of squares float32 would lose it."""
    found, expected = interpreted["variance"]
    assert found == pytest.approx(expected, rel=1e-5)


@with_triton
def test_nan_stays_nan_in_its_channel(interpreted):
    assert interpreted["nan"] == [True, False]


@with_triton
def test_kernels_that_are_wrong_or_cannot_be_built_are_not_used(interpreted):
    assert "times what rounding explains" in interpreted["wrong"]
    assert interpreted["fails"] == "the fused kernels cannot be built (RuntimeError: Failed to find C compiler.)"


@with_triton
@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_a_gpu(capability, tmp_path):
    """Down to machine code, without a GPU: for an A100 and an H100."""
    sizes = python(
        f"""
import json
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from noisygce.models import fused, fused_kernels

IMAGES = ("x", "residual", "y", "dy", "dx", "d_residual")
SIZES = ("rows", "channels", "of_a_part", "n_parts", "of_a_program")
constants = {{k: v for k, v in fused._ALL.items() if k.isupper()}} | {{"ADD": True, "RELU": True}}
found = []
for name in ("moments", "normalise", "gradient_sums", "gradients"):
    kernel = getattr(fused_kernels, name)
    given = {{n: constants[n] for n in kernel.arg_names if n in constants}}
    types = {{
        n: "constexpr" if n in given else "*bf16" if n in IMAGES else "i32" if n in SIZES
        else "fp32" if n in ("eps", "momentum") else "*fp32"
        for n in kernel.arg_names
    }}
    source, gpu = ASTSource(kernel, types, given), GPUTarget("cuda", {capability}, 32)
    found.append(len(compile(source, target=gpu, options={{"num_warps": 8}}).asm["cubin"]))
print(json.dumps(found))
""",
        TRITON_CACHE_DIR=str(tmp_path),
    )
    assert min(sizes) > 1000


def test_on_a_cpu_nothing_is_fused_and_asking_for_it_is_refused():
    words = ["data=digits", "data.subset=100", "model=resnet18", "precision=bf16", "runtime.device=cpu"]
    training = training_of(settings.read(settings.compose(words)), "cpu")
    layers = [layer for layer in training.network.modules() if isinstance(layer, BatchNorm)]
    assert len(layers) == 20
    assert not any(layer.fused for layer in layers)
    with pytest.raises(ConfigError, match="precision=bf16 and compile=false"):
        device.fused("cuda:0", "on", "fp32", False)
    with pytest.raises(ConfigError, match=r"runtime\.fused=on: the fused kernels need a GPU"):
        device.fused("cpu", "on", "bf16", False)


def test_a_block_is_torchvisions_bit_for_bit():
    """Batch norm that adds and applies ReLU itself is what torchvision's block computes, gradients as well."""
    from torchvision.models.resnet import BasicBlock as Theirs

    torch.manual_seed(0)
    ours = BasicBlock(4, 8, 2)
    theirs = Theirs(4, 8, 2, downsample=ours.downsample)
    theirs.load_state_dict(ours.state_dict())
    results = []
    for block in (ours, theirs):
        x = torch.linspace(-1, 1, 2 * 4 * 6 * 6).view(2, 4, 6, 6).requires_grad_()
        y = block(x)
        (y * y).sum().backward()
        results.append([y.detach(), x.grad, block.conv1.weight.grad, block.bn2.weight.grad])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@on_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(128, 64, 32, 32), (128, 512, 4, 4), (101, 80, 9, 7)])
def test_on_a_gpu_they_are_torchs_within_rounding_and_repeat(shape):
    from noisygce.models import fused

    assert fused.difference("cuda:0", torch.bfloat16, shape) <= 1
    draw = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to("cuda:0", torch.bfloat16)
    x = draw.contiguous(memory_format=torch.channels_last)
    one = torch.ones(shape[1], device="cuda:0")
    results = [
        fused.batch_norm(x, x, one, one, torch.zeros_like(one), torch.ones_like(one), 0.1, 1e-5, True) for _ in range(5)
    ]
    assert all(torch.equal(results[0], other) for other in results)
