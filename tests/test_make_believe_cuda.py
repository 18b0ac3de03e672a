"""The GPU path without a GPU, on a make-believe CUDA runtime (tests/make_believe_cuda/README.md)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from noisygce import settings
from noisygce.doctor import NEEDS

HERE = Path(__file__).resolve().parent / "make_believe_cuda"
pytestmark = [
    pytest.mark.skipif(
        not (shutil.which("g++") and str(torch.version.cuda).startswith("13.")),
        reason="needs g++ and a build of torch for CUDA 13",
    ),
    pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
]


def slow(*case):
    """A case of a parametrized test that is left out with the slow ones: each starts a Python."""
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The runtime, built."""
    built = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    wheels = Path(torch.__file__).parent.parent
    headers = [wheels / "nvidia" / "cu13" / "include", wheels / "triton" / "backends" / "nvidia" / "include"]
    options = ["-O1", "-shared", "-fPIC", "-std=c++17", f"-Wl,-soname,{built.name}"]
    subprocess.run(
        ["g++", *options, *(f"-I{folder}" for folder in headers), str(HERE / "runtime.cpp"), "-o", str(built)],
        check=True,
    )
    return built


@pytest.fixture
def on(library):
    """Runs Python with these arguments on a make-believe machine, described by environment variables."""

    def run(*arguments: str, **machine: int) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("FAKE_", "CUDA_"))}
        environment |= {"TRITON_LIBCUDA_PATH": str(library.parent), "TRITON_CACHE_DIR": str(library.parent / "triton")}
        environment |= {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent.parent)}
        environment |= {key: str(value) for key, value in machine.items()}
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=600
        )

    return run


@pytest.fixture
def check(on):
    """What a check of make_believe_cuda/checks.py returns."""

    def run(*words: str, **machine: int):
        done = on(str(HERE / "checks.py"), *words, **machine)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def train(on, tmp_path):
    """The training command on small digits, with SIGTERM after so many steps: exit code and what it says."""

    def run(*words: str, signal_after: int = 0, **machine: int) -> tuple[int, list[str]]:
        command = [str(HERE / "checks.py"), "command", str(signal_after), f"paths.results={tmp_path}", *words]
        done = on(*command, **machine)
        aside = "validation samples: one is"  # of a subset as small as this
        return done.returncode, [line for line in done.stderr.splitlines() if aside not in line]

    return run


def test_every_loss_is_recorded_without_a_refused_call(check):
    found = check("losses")
    assert set(found) == {path.stem for path in (settings.config_dir() / "loss").glob("*.yaml")}
    assert {loss: refused for loss, (_, _, refused) in found.items() if refused} == {}
    for loss, (nodes, replays, _) in found.items():
        assert 50 < nodes < 400, loss
        assert replays == 5, loss  # two to check the recording, then three full batches


@pytest.mark.slow
def test_clipped_gradients_a_cosine_and_no_validation_are_recorded_too(check):
    cosine = "data.validation=0 schedule.annealing=cosine schedule.milestones=[]"
    (plain, _, _), (clipped, replays, refused) = check("recorded", "loss=ce", f"loss=ce schedule.clip_norm=1 {cosine}")
    assert refused == []  # such as reading the norm back
    assert replays == 5
    assert plain < clipped <= plain + 18  # a norm of each of 10 tensors, their norm, the factor, the product


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "fused", "batch_norm", "at_most"),
    [("bf16", "on", 4 * 36, 335), ("bf16", "off", 5 * 36, 525), ("fp32", "auto", 2 * 36, 340)],
)
def test_a_step_of_resnet34_has_so_many_nodes(check, precision, fused, batch_norm, at_most):
    found = check("step", f"precision={precision}", f"runtime.fused={fused}")
    assert found["refused"] == []
    nodes = found["nodes"]
    assert nodes["convolution"] == 107  # 36 forward; backward by weight, and by input for all but the first
    assert nodes["batch norm"] >= batch_norm
    assert nodes["sgd"] in (1, 3)  # torch 2.15, torch 2.11
    assert sum(nodes.values()) <= at_most, nodes
    images, launches, replays = found["odd"]
    assert images == 1000 % 128
    assert replays == 0
    assert launches < sum(nodes.values()) + 20  # the same step, launched one by one
    assert found["evaluation"][0] == 2  # graphs: of the training images and of the test images
    others = 57_000 * 40 * 40 * 3  # bytes of the images of CIFAR-10, padded, that were not there
    assert found["peak"] + others == pytest.approx(NEEDS[precision] * 2**30, rel=0.05)  # what noisygce.doctor says


@pytest.mark.slow
def test_bytes_of_a_step_are_those_counted_by_hand(check):
    """What LOG.md counts (2026-11-27) of a step of ResNet-34 in bf16, 128 images of 32x32."""
    found = check("traffic")
    # What 36 batch norms give, an image: 7 of 64 x 32 x 32, 9 of 128 x 16 x 16, 13 of 256 x 8 x 8, 7 of 512 x 4 x 4.
    activations = 128 * 2 * (7 * 2**16 + 9 * 2**15 + 13 * 2**14 + 7 * 2**13)
    added = 128 * 2 * (3 * 2**16 + 4 * 2**15 + 6 * 2**14 + 3 * 2**13)  # at the ends of the 16 blocks
    plain = 128 * 2 * (2**15 + 2**14 + 2**13)  # in the 3 shortcuts: no ReLU
    weights = 4 * 21_282_122
    for operation, expected in {
        "moments": activations,
        "normalise": 2 * activations + added,
        "gradient_sums": 3 * activations - plain,  # the ReLU's result as well
        "gradients": 4 * activations - plain + added,
        "_fused_sgd_": 5 * weights,  # weights, gradients and momenta read, weights and momenta written
        "_foreach_copy_": 3 * weights,  # to bf16 and back, all but batch norm
    }.items():
        assert found[operation][1] == pytest.approx(expected, rel=0.01), operation


@pytest.mark.slow
def test_prunings_odd_batches_and_evaluation_beside_the_graph(check):
    found = check("whole")
    assert found["sizes"] == [[64, 64, 64, 8], [64, 64, 51], [64, 64, 35]]  # of 200, then 9 and 8 tenths of them
    assert found["recorded"] == 2  # the step and the evaluation, each once
    assert found["refused"] == []


@pytest.mark.slow
def test_runs_side_by_side_break_no_recording_and_leave_no_memory(check):
    found = check("side_by_side")
    assert found["ended"] == {"done": 12}
    assert found["recorded"] == 12
    assert found["refused"] == []
    assert found["left"] < 32 << 20  # workspaces of the libraries


@pytest.mark.slow
def test_while_one_run_records_another_does_all_that_a_run_does(check):
    found = check("held_open", FAKE_MB=1400)
    assert set(found["came"].values()) == {"done"}, found["came"]
    assert len(found["came"]) == 7
    assert found["recorded"] == 2
    assert found["refused"] == []


@pytest.mark.slow
def test_a_run_on_the_second_device_touches_the_first_one_nowhere(check):
    found = check("second_device", FAKE_DEVICES=2)
    assert found["at"] == "cuda:1"
    assert found["used"][0] == 0
    assert found["used"][1] > 1 << 20
    assert found["refused"] == []


@pytest.mark.slow
def test_what_must_be_refused_is_and_the_next_run_goes_well(check):
    found = check("controls")
    assert "value.max().item()" in found["ReadsBack"][0]
    assert "pinned" in found["FromTheHost"][0]
    assert "torch.cuda.synchronize()" in found["Synchronises"][0]
    assert "deterministic" in found["NotDeterministic"][0]
    assert all("runtime.graph=off" in said for said, _ in found.values())
    assert [refused for _, refused in found.values()] == [[]] * 4


@pytest.mark.parametrize(
    ("machine", "words", "says"),
    [
        ({"FAKE_CC": 75}, "precision=bf16", "precision=bf16: Make-believe GPU (sm_75) has no bf16 arithmetic"),
        slow(
            {"FAKE_CC": 70}, "runtime.device=cuda", "not for Make-believe GPU (sm_70); install torch for an older CUDA"
        ),
        slow({"NODRIVER": 1}, "runtime.device=cuda", "driver on your system is too old (found version 12040); torch"),
    ],
    ids=["Turing has no bf16", "Volta has no kernels", "an old driver"],
)
def test_an_old_card_or_driver_is_refused_in_one_line(train, machine, words, says):
    code, said = train(words, **machine)
    assert (code, len(said)) == (2, 1), said
    assert says in said[0]
    assert any(what in said[0] for what in ("precision=fp32", "TORCH=cu126"))


@pytest.mark.parametrize(
    ("machine", "code", "says"),
    [
        slow({"FAKE_CC": 90}, 0, "ok    bf16      yes"),
        slow(
            {"FAKE_CC": 80},
            0,
            "ok    kernels   torch's own, which are slower: the fused kernels differ from torch's by",
        ),
        slow({"FAKE_CC": 75}, 1, "TO DO bf16      no"),
        ({"NODRIVER": 1}, 1, "TO DO GPU       none; runs train on the CPU"),
        slow({"FAKE_MB": 1400}, 1, "TO DO memory    1.4 of 1.4 GiB free on the GPU"),
    ],
    ids=["Hopper", "kernels that do nothing", "Turing", "an old driver", "little memory"],
)
def test_the_doctor_says_what_to_do(on, tmp_path, machine, code, says):
    done = on("-m", "noisygce.doctor", f"paths.results={tmp_path}", **machine)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stdout
    assert done.stdout.count("TO DO") == done.stdout.count("-> ") == code


@pytest.mark.slow
def test_memory_that_is_full_is_one_line_with_what_to_lower(train):
    code, said = train("runtime.device=cuda", "model.width=512", FAKE_MB=700)
    assert (code, len(said)) == (1, 2), said  # what is trained, and why not
    assert "CUDA out of memory. Tried to allocate" in said[1]
    assert "of which" in said[1]
    assert "lower runtime.concurrent or schedule.batch_size" in said[1]


@pytest.mark.slow
@pytest.mark.parametrize(("graph", "code", "lines"), [("on", 1, 1), ("auto", 75, 2)])
def test_a_loss_that_reads_back_is_named_with_its_line(train, graph, code, lines):
    """An error where a graph is asked for; else one warning, and the run goes on without."""
    ended, said = train(
        "runtime.device=cuda", f"runtime.graph={graph}", "loss._target_=checks.ReadsBack", signal_after=2
    )
    said = [line for line in said if "images on cuda" not in line]
    assert (ended, len(said)) == (code, lines), said
    assert "checks.py:" in said[0]
    assert "return value / max(value.max().item(), 1.0)" in said[0]
    assert "SIGTERM" in said[-1] if graph == "auto" else "runtime.graph=off" in said[0]


@pytest.mark.slow
def test_a_signal_between_replays_saves_the_run(train, tmp_path):
    code, said = train("runtime.device=cuda", signal_after=2)
    assert (code, "SIGTERM" in said[-1]) == (75, True), said
    assert len(list(tmp_path.glob("runs/*/last.ckpt"))) == 1
