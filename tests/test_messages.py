"""What is said to a person without a GPU who asks for days of training: how long, and what a CPU can do instead."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import SMALL

from noisygce import losses, settings
from noisygce.runs import messages

ROOT = settings.config_dir().parent


def said(caplog: pytest.LogCaptureFixture, seconds: float, cifar10: bool) -> str:
    caplog.clear()
    training = SimpleNamespace(estimate=lambda: seconds, precision="fp32")
    with caplog.at_level("INFO", "noisygce"):
        messages._how_long(training, cifar10)  # type: ignore[arg-type]
    return caplog.text


def test_a_run_of_days_names_the_table_for_a_cpu_and_what_a_run_of_it_costs(caplog: pytest.LogCaptureFixture) -> None:
    text = said(caplog, 26 * 3600, True)
    assert "no GPU: this run will take about 26.0 h here" in text
    assert re.search(
        r"-m experiment=table_cifar10_compact; a run of it takes about \d[\d.]* (s|min|h) of one core", text
    )
    assert "table_cifar10_compact" not in said(caplog, 26 * 3600, False)
    assert "table_cifar10_compact" not in said(caplog, 700, True)
    assert said(caplog, 500, True) == ""


def test_the_smoke_run_that_a_cpu_is_offered_is_of_a_compact_network(caplog: pytest.LogCaptureFixture) -> None:
    for cifar10, begun in ((True, ["data=cifar10"]), (False, ["data=cifar100"])):
        (words,) = re.findall(r"for a smoke run: (.*?); ", said(caplog, 700, cifar10))
        e = settings.read(settings.compose([*begun, *words.split(), "loss=tgce"]))
        assert (type(e.model).__name__, e.split.subset) == ("CompactResNet", 2000)
        assert any(map(e.pruning.due, range(1, e.schedule.epochs)))


@pytest.mark.parametrize(
    ("words", "classes"),
    [
        (["noise=pair", "rate=0.6"], 10),
        (["noise=pair", "rate=0.5"], 0),
        (["noise=class_map", "rate=0.6"], 5),
        (["noise=uniform", "rate=0.8"], 0),
        (["noise=uniform", "rate=0.95"], 10),
        (["noise=instance", "rate=0.2"], 0),
    ],
)
def test_it_is_known_of_which_classes_another_label_is_likelier(make, words: list[str], classes: int) -> None:
    assert len(messages.majority_flipped_classes(make(*words).task)) == classes


def test_a_run_says_at_its_begin_that_another_label_is_likelier(make, caplog: pytest.LogCaptureFixture) -> None:
    run = SimpleNamespace(id="a run", identity={"rate": 0.6, "data": {"name": "digits"}})
    with caplog.at_level("WARNING", "noisygce"):
        messages.begin(run, make("noise=pair", "rate=0.6", "schedule.milestones=[]"), "cuda")  # type: ignore[arg-type]
    (said,) = caplog.messages
    assert said.startswith("rate=0.6: in 10 of 10 classes another label is likelier than the true one")


@pytest.mark.parametrize(
    ("loss", "key"),
    [
        ("t_revision", "loss.start"),
        ("co_teaching", "loss.gradual"),
        ("jocor", "loss.gradual"),
        ("co_teaching_plus", "loss.warm_up"),
        ("tgce", "prune.start"),
        ("ce", "schedule.milestones"),
    ],
)
def test_a_run_warns_of_an_epoch_that_it_ends_before(
    make, caplog: pytest.LogCaptureFixture, loss: str, key: str
) -> None:
    run, training = SimpleNamespace(id="a run", identity={"rate": 0.4, "data": {"name": "digits"}}), make()
    for epochs, warned in ((5, True), (6, False)):
        value = "[2,5]" if key == "schedule.milestones" else 5
        e = settings.read(settings.compose([*SMALL, f"loss={loss}", f"{key}={value}", f"schedule.epochs={epochs}"]))
        training.loss, training.pruning, training.schedule = e.loss, e.pruning, e.schedule
        caplog.clear()
        messages.begin(run, training, "cuda")  # type: ignore[arg-type]
        assert any(key in line for line in caplog.messages) == warned


@pytest.mark.parametrize("key", ["ramp", "lam_ramp"])
def test_a_run_warns_of_a_step_that_it_ends_before(make, key: str) -> None:
    steps = 2 * 4  # 200 images in batches of 64
    words = ["loss=elr_plus", "loss.ramp=0", "loss.lam_ramp=0", "schedule.epochs=2", "schedule.milestones=[1]"]
    assert not [*messages.never_reached(make(*words, f"loss.{key}={steps}"))]
    (line,) = messages.never_reached(make(*words, f"loss.{key}={steps + 1}"))
    assert line.startswith(f"loss.{key}=9, and this run ends after 8 steps: ")


def test_a_run_warns_of_a_moving_average_that_keeps_its_initial_weights(make) -> None:
    words = ["schedule.epochs=2", "schedule.milestones=[]"]  # 8 steps, and 0.5 ** 8 < 0.01 < 0.9 ** 8 = 0.43
    assert not [*messages.never_reached(make(*words, "schedule.ema=0.5"))]
    (line,) = messages.never_reached(make(*words, "schedule.ema=0.9"))
    assert line.startswith("schedule.ema=0.9, and this run ends after 8 steps: 43 % of the average that")


def test_a_run_warns_of_an_epoch_of_a_loss_in_a_sum_by_its_whole_key(make) -> None:
    class Late(losses.GCE):
        needs_epochs = {"start": "nothing begins"}
        start = 5

    training = make("schedule.milestones=[]")
    training.loss = losses.Mixup(of=losses.WeightedSum(1, 1, losses.CE(), Late()))
    assert [*messages.never_reached(training)] == [
        "loss.of.second.start=5, and this run ends after 5 epochs: nothing begins"
    ]


def test_a_loss_that_leaves_out_nothing_warns_of_no_epoch_until_which_it_leaves_out_less(
    make, caplog: pytest.LogCaptureFixture
) -> None:
    run = SimpleNamespace(id="a run", identity={"rate": 0.4, "data": {"name": "digits"}})
    for rate, warned in ((0.2, True), (0, False)):
        caplog.clear()
        messages.begin(run, make("loss=co_teaching", f"loss.forget_rate={rate}", "schedule.epochs=2"), "cuda")  # type: ignore[arg-type]
        assert any("loss.gradual" in line for line in caplog.messages) == warned


@pytest.mark.slow
def test_the_resnet_table_is_not_begun_on_a_cpu_and_the_compact_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def asked(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / "before_table"), name, "2", ""]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    refused, begun = asked("table_cifar10_resnet34"), asked("table_cifar10_compact")
    assert (begun.returncode, begun.stdout) == (0, "2\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.search(
        r"no GPU: the \d+ runs that experiment=table_cifar10_resnet34 lacks take about \S+ h of one core",
        refused.stderr,
    )
    assert "make reproduce-table TABLE=table_cifar10_compact, 160 runs of about" in refused.stderr
