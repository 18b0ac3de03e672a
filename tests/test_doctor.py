"""What noisygce.doctor finds here, and on GPUs that are not here."""

import itertools
import sys

import pytest
import torch

from noisygce import doctor
from noisygce.training import hardware


@pytest.fixture
def asked(monkeypatch, capsys, tmp_path):
    """Asks the doctor: exit code and lines."""

    def ask(*words: str) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", ["doctor", "data=digits", f"paths.results={tmp_path / 'results'}", *words])
        try:
            doctor.main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().out.splitlines()

    return ask


def to_do(lines):
    """What is to be done, by what was looked at."""
    return {
        line.split()[2]: advice.partition("-> ")[2]
        for line, advice in itertools.pairwise(lines)
        if line.startswith("TO DO")
    }


def test_a_machine_that_can_train(asked, tmp_path):
    code, lines = asked("runtime.device=cpu")
    assert (code, to_do(lines)) == (0, {}), lines
    found = [line.split()[1] for line in lines[1:-1]]
    assert found == ["system", "packages", "GPU", "CPU", "data", "results"]
    assert "can be written and locked" in lines[-2]
    assert list((tmp_path / "results").iterdir()) == []  # what it tried is gone


def test_a_results_folder_that_is_none(asked, tmp_path):
    (tmp_path / "results").write_text("a file")
    code, lines = asked("runtime.device=cpu")
    assert (code, list(to_do(lines))) == (1, ["results"])
    assert "paths.results=FOLDER" in to_do(lines)["results"]


def test_locks_that_do_not_hold(asked, monkeypatch):
    monkeypatch.setattr(doctor, "_TRY", "")  # the other process gets it
    code, lines = asked("runtime.device=cpu")
    assert (code, list(to_do(lines))) == (1, ["results"])
    assert "docs/cluster.md" in to_do(lines)["results"]


def test_more_threads_than_cores(asked):
    code, lines = asked("runtime.device=cpu", "runtime.threads=1024")
    assert code == 1
    assert to_do(lines)["CPU"].startswith("more threads than cores: runtime.threads=")


def test_a_package_that_is_missing(asked, monkeypatch):
    monkeypatch.setattr(doctor, "_needed", lambda: ["torch", "no-such-package"])
    code, lines = asked("runtime.device=cpu")
    assert (code, to_do(lines)) == (1, {"packages": "missing: no-such-package; make setup"})


def test_every_package_that_noisygce_needs_is_looked_for(asked):
    _, lines = asked("runtime.device=cpu")
    found = next(line for line in lines if line.startswith("ok") and " packages " in line)
    assert {"torch", "hydra-core", "pillow"} <= {word.split()[0] for word in found.partition("packages")[2].split(", ")}
    assert "wandb" not in found


def test_what_cannot_be_looked_at_is_said_and_the_rest_is_looked_at(asked, monkeypatch):
    def fails():
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor.hardware, "cpu_kernels", fails)
    code, lines = asked("runtime.device=cpu")
    assert (code, list(to_do(lines))) == (1, ["cpu"])
    assert any("results" in line for line in lines)


def test_a_setting_that_cannot_be_is_refused_as_by_train(asked):
    code, lines = asked("loss.q=2")
    assert (code, lines) == (2, [])


@pytest.mark.parametrize(
    ("capability", "free", "found", "needed"),
    [
        ((9, 0), 80, "ok    bf16      yes", set()),
        ((7, 5), 16, "TO DO bf16      no", {"bf16"}),
        ((7, 0), 16, "TO DO GPU       Card (sm_70)", {"GPU"}),
        ((9, 0), 1, "TO DO memory    1.0 of 80.0 GiB free on the GPU", {"memory"}),
    ],
    ids=["Hopper", "Turing", "Volta", "little memory"],
)
def test_a_gpu_that_cannot_train_is_named_with_what_to_do(asked, monkeypatch, capability, free, found, needed):
    zeros = torch.zeros
    patches = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_arch_list": lambda: ["sm_75", "sm_90"],
        "get_device_capability": lambda _: capability,
        "get_device_name": lambda _: "Card",
        "synchronize": lambda _: None,
        "mem_get_info": lambda _: (free << 30, 80 << 30),
    }
    for name, value in patches.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92000)
    monkeypatch.setattr(torch, "zeros", lambda *sizes, **_: zeros(*sizes))
    monkeypatch.setattr(hardware, "no_fused", lambda _: "no Triton here")
    code, lines = asked("data=cifar10", "precision=bf16")
    assert any(line.startswith(found) for line in lines), lines
    assert set(to_do(lines)) - {"data", "results"} == needed
    assert code == (1 if to_do(lines) else 0)


def test_a_driver_that_is_too_old_is_named_with_what_to_install(asked, monkeypatch):
    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12040). Please update")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(hardware.platform, "system", lambda: "Linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    code, lines = asked()
    assert code == 1
    assert "TORCH=cu126" in to_do(lines)["GPU"]
