"""Which devices are refused, and why."""

import logging
import operator
import platform
from pathlib import Path

import pytest
import torch
from helpers_reliability import call

from noisygce import settings
from noisygce.errors import ConfigError
from noisygce.training import device, hardware

WHEEL = ["sm_75", "sm_80", "sm_90a", "sm_100f", "compute_120"]  # in the manner of torch.cuda.get_arch_list()


@pytest.fixture
def card(monkeypatch):
    """Pretends that there is a card of this compute capability."""

    def there_is(major: int, minor: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: WHEEL)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (major, minor))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Card")
        monkeypatch.setattr(device, "_require_repeatable_products", lambda _: None)

    return there_is


@pytest.fixture
def no_card(monkeypatch):
    """There is none; says why, as torch does."""

    def there_is_none(said: str) -> None:
        def init() -> None:
            raise RuntimeError(said)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(hardware.platform, "system", lambda: "Linux")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    device._warn.cache_clear()
    yield there_is_none
    device._warn.cache_clear()


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        ((7, 0), False),  # older than all
        ((7, 5), True),
        ((8, 9), True),  # by the machine code for 8.0
        ((9, 0), True),
        ((9, 1), False),  # sm_90a is for 9.0 alone
        ((10, 3), True),  # a family
        ((11, 0), False),  # newer than all machine code of its major version
        ((12, 0), True),
        ((13, 0), True),  # by PTX
    ],
)
def test_a_card_that_torch_has_no_kernels_for_is_refused(card, capability, runs):
    card(*capability)
    if runs:
        assert device.prepare("auto", None) == "cuda:0"
    else:
        with pytest.raises(ConfigError, match=r"sm_75.*not for Card \(sm_\d+\).*TORCH=cu126.*runtime\.device=cpu"):
            device.prepare("auto", None)


def test_bf16_is_refused_where_the_card_has_none(card):
    card(7, 5)
    device.require("cuda:0", "fp32", compile=False)
    with pytest.raises(ConfigError, match=r"^precision=bf16: Card \(sm_75\) .*precision=fp32"):
        device.require("cuda:0", "bf16", compile=False)
    card(8, 0)
    device.require("cuda:0", "bf16", compile=False)
    device.require("cpu", "bf16", compile=False)


OLD = "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU driver"


@pytest.mark.parametrize(
    ("said", "driver", "warned"),
    [
        (OLD, False, "TORCH=cu126"),
        ("No CUDA GPUs are available", True, "No CUDA GPUs are available"),
        ("Found no NVIDIA driver on your system.", False, None),  # a machine without a GPU: nothing to say
    ],
)
def test_training_on_the_cpu_beside_a_driver_is_said_once(no_card, monkeypatch, tmp_path, caplog, said, driver, warned):
    no_card(said)
    monkeypatch.setattr(hardware, "_DRIVER", tmp_path if driver else tmp_path / "none")
    with caplog.at_level(logging.WARNING, "noisygce"):
        assert [device.prepare("auto", 1), device.prepare("auto", 1)] == ["cpu", "cpu"]
    messages = [record.message for record in caplog.records]
    assert len(messages) == (warned is not None)
    assert all(warned in message for message in messages)
    with pytest.raises(ConfigError, match=r"^runtime\.device=cuda: .*runtime\.device=cpu"):
        device.prepare("cuda", 1)


def test_a_gpu_hidden_on_purpose_is_not_spoken_of(no_card, monkeypatch, tmp_path, caplog):
    no_card("No CUDA GPUs are available")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(hardware, "_DRIVER", tmp_path)
    assert device.prepare("auto", 1) == "cpu"
    assert not caplog.records
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES hides"):
        device.prepare("cuda", 1)


@pytest.mark.parametrize(
    ("cpuinfo", "said"),
    [
        (
            "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 207\nstepping\t: 2\n\nprocessor: 1\n",
            "GenuineIntel 6-207-2",
        ),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\n", "0x41 0xd0c-0x3"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", platform.processor()),
    ],
)
def test_a_processor_is_named_by_what_libraries_choose_their_kernels_by(monkeypatch, cpuinfo, said):
    monkeypatch.setattr(Path, "read_text", lambda _: cpuinfo)
    assert hardware.processor() == said
    assert hardware.describe("cpu")["processor"] == said


@pytest.mark.parametrize("model", ["resnet6", "resnet8", "cnn8", "convnet", "mlp", "linear"])
def test_a_small_model_trains_on_one_thread_unless_more_are_asked_for(model):
    assert settings.read(settings.compose([f"model={model}"])).threads == 1
    assert settings.read(settings.compose([f"model={model}", "runtime.threads=3"])).threads == 3


@pytest.mark.parametrize("model", ["resnet18", "resnet34"])
def test_a_large_model_trains_on_as_many_threads_as_torch_chooses_also_after_a_small_one(model, monkeypatch):
    monkeypatch.setattr(device, "_first_threads", lambda: 2)
    device.prepare("cpu", 1)
    device.prepare("cpu", settings.read(settings.compose([f"model={model}"])).threads)
    assert torch.get_num_threads() == 2
    device.prepare("cpu", 1)


@pytest.mark.parametrize(
    ("place", "threads", "load", "warnings"),
    [("cpu", 2, 6.0, 1), ("cpu", 1, 6.0, 0), ("cpu", 2, 4.0, 0), ("cuda:0", 2, 6.0, 0)],
)
def test_a_run_on_several_threads_of_a_crowded_machine_is_warned_once(
    place, threads, load, warnings, monkeypatch, caplog
):
    monkeypatch.setattr(device.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(device.os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    device._warn.cache_clear()
    with caplog.at_level(logging.WARNING, "noisygce"):
        for _ in range(2):
            device.warn_if_crowded(place)
    device._warn.cache_clear()
    assert sum("runtime.threads=1" in message for message in caplog.messages) == warnings


def test_what_needs_a_gpu_or_a_compiler_is_refused_by_its_key(monkeypatch):
    with pytest.raises(ConfigError, match=r"runtime\.graph=on: CUDA graphs need a GPU"):
        device.graphs("cpu", "on")
    assert device.graphs("cpu", "auto") == "off"
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match=r"compile=true: there is no C\+\+ compiler"):
        device.require("cpu", "fp32", compile=True)


def _precisions() -> list[object]:
    """What torch's two interfaces say of float32; None where one raises, since the other was used."""
    on = torch.backends
    parts = [on.cuda.matmul, on.cudnn, on.cudnn.conv, on.cudnn.rnn, on.mkldnn.matmul, on.mkldnn.conv]
    found: list[object] = [each.fp32_precision for each in parts]
    for old in (torch.get_float32_matmul_precision, lambda: on.cuda.matmul.allow_tf32, lambda: on.cudnn.allow_tf32):
        try:
            found.append(old())
        except RuntimeError:
            found.append(None)
    return found


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"matmul": "medium"},
        {"backends.cuda.matmul": "tf32"},
        {"backends.cudnn": "tf32"},
        {"backends": "tf32"},
        {"matmul": "high", "backends.cudnn": "tf32"},
        {"allow_tf32": "matmul"},
    ],
    ids=str,
)
def test_float32_is_float32_in_a_run_whatever_a_program_has_asked_for_and_afterwards_as_it_was(asked) -> None:
    call(_trains_in_float32, asked)


def _trains_in_float32(asked: dict[str, str]) -> None:
    x, w = (torch.randn(n, 512, generator=torch.Generator().manual_seed(0)) for n in (64, 256))
    exact = (x.double() @ w.double().T).float()
    for where, how in asked.items():
        if where == "matmul":
            torch.set_float32_matmul_precision(how)
        elif where == "allow_tf32":
            torch.backends.cuda.matmul.allow_tf32 = True
        else:
            operator.attrgetter(where)(torch).fp32_precision = how
    before = _precisions()
    with device.prepared("cpu", 1):
        assert (torch.nn.functional.linear(x, w) - exact).abs().max() < 1e-3
        assert _precisions() == ["ieee"] * 6 + ["highest", False, False]
    assert _precisions() == before
    if not asked:  # what a program asks for afterwards reaches all parts, as it would have before
        torch.backends.fp32_precision = "tf32"
        assert _precisions()[:6] == ["tf32"] * 6
