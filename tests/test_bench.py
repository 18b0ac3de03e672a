"""The benchmark prints figures; here it is tested that they are of what they say, and that each part works."""

import json

import pytest
import torch
from conftest import SMALL

from noisygce import check, settings
from noisygce.bench import __main__ as bench
from noisygce.bench import plain, setting, steps
from noisygce.bench.setting import Setting
from noisygce.errors import ConfigError


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(setting, "_LEAST", 0.0)


def of(*words: str) -> Setting:
    words = ("data=digits", "data.subset=200", *words)
    return Setting(settings.read(settings.compose(words)), words, "cpu", 1)


def run(tmp_path, *words: str) -> dict:
    bench.run([*SMALL, f"paths.results={tmp_path}", "runtime.threads=1", "rounds=1", *words])
    (path,) = (tmp_path / "bench").iterdir()
    return json.loads(path.read_text())


def test_operations_of_resnet34_on_cifar_are_those_counted_by_hand():
    """1.159 GMAC an image forward; backward twice that, but for the first convolution, whose input has no gradient."""
    images_of_8x8 = of("model=resnet34", "schedule.batch_size=128")  # 1/16 of the pixels of 32x32, one channel of three
    stem = 9 * 64 * 8 * 8
    linear = 512 * 10
    layers = 64 * (2 * 3 * 9 * 64**2) + 16 * (9 * 64 * 128 + 7 * 9 * 128**2 + 64 * 128)
    layers += 4 * (9 * 128 * 256 + 11 * 9 * 256**2 + 128 * 256) + (9 * 256 * 512 + 5 * 9 * 512**2 + 256 * 512)
    assert images_of_8x8.flop == 128 * 2 * (3 * (layers + linear) + 2 * stem)


def test_the_plain_loop_trains_on_every_image_once_an_epoch():
    s = of("data.subset=100", "schedule.batch_size=32")
    t = s.training(graph="off")
    before = [p.clone() for p in t.network.parameters()]
    loop = plain.steps(t.task, s.experiment.preprocessing, t.network, s.experiment.schedule, "cpu")
    torch.set_deterministic_debug_mode("default")
    sizes = [next(loop) for _ in range(4)]
    loop.close()
    torch.set_deterministic_debug_mode("error")
    assert sizes == [32, 32, 32, 4]
    assert all(not torch.equal(p, b) for p, b in zip(t.network.parameters(), before, strict=True))


def test_two_networks_are_twice_the_work_and_the_plain_loop_beside_them_trains_one():
    both = of("loss=jocor", "schedule.batch_size=32")
    assert both.flop == 2 * of("loss=ce", "schedule.batch_size=32").flop
    loop = steps._plain(both)
    loop(2)


def test_a_setting_s_trainings_share_nothing():
    s = of("loss=elr")
    one, other = s.training(), s.training()
    one.step(one.batches()[0])
    assert not torch.equal(one.loss.state()["targets"], other.loss.state()["targets"])


@pytest.mark.usefixtures("quick")
def test_the_profile_shares_a_step_out_among_its_kernels(tmp_path):
    found = run(tmp_path, "parts=profile")
    assert found["matmul_flop_per_s"] > 0
    assert found["device"].startswith("cpu")
    assert 0.8 < sum(row["share"] for row in found["profile"]) <= 1.0001


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_steps_are_measured_beside_the_plain_loop(tmp_path):
    found = run(tmp_path, "parts=steps", "precision=bf16")
    modes = {row["mode"]: row for row in found["steps"]["modes"]}
    assert list(modes) == ["plain loop", "fp32", "bf16", "bf16, images on the host"]
    assert modes["plain loop"]["ratio_to_plain"] == 1
    assert modes["plain loop"]["difference"] is None
    assert modes["bf16"]["difference"] == 0 < modes["fp32"]["difference"]
    for row in modes.values():
        assert row["ms"] == pytest.approx(sorted(row["ms_each_round"])[0])  # of one round
        assert 0 < row["share_of_matmul_rate"] < 2


def test_each_mode_has_its_own_arithmetic_and_leaves_a_run_s_behind():
    def now() -> tuple[bool, ...]:
        cudnn = torch.backends.cudnn
        return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32

    with setting.arithmetic(deterministic=False, benchmark=True, tf32=True):
        assert now() == (False, False, True, True)
    assert now() == (True, True, False, False)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("compile=true", "compile=true: bench times a row with each"),
        ("runtime.graph=off", "runtime.graph=off: bench times a row with each"),
        ("parts=all", "parts=all: parts must be one of steps, compiled, profile"),
        ("rounds=0", "rounds=0: rounds must be"),
        ("rouds=3", "rouds: there is no such key; did you mean rounds?"),
        ("loss.q=2", "loss.q=2: loss.q must be"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(word, said):
    with pytest.raises((ConfigError, check.Invalid)) as caught:
        bench.run([*SMALL, word])
    assert str(caught.value).startswith(said)
