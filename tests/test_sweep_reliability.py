"""Sweeps and neighbours: one run's end is its own, and its numbers do not depend on who runs beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from helpers_reliability import BOUND, EACH_STEP, ROOT, SMALL, Command, one_line, train

# Cross entropy at this learning rate is not finite within some epochs; the bounded losses are.
DIVERGES = ("data=digits", "loss=ce", "schedule.lr=100", "schedule.momentum=0.99", "runtime.threads=1")
BASE = tuple(a for a in SMALL if not a.startswith("loss"))
SWEEP = ("-m", *BASE, "seed=0,1,2", "loss=gce,tgce")


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("results/runs/*/manifest.json")}
    return {name: {k: m[k] for k in ("results", "state_sha256", "noise", "pruning")} for name, m in found.items()}


def started(folder: Path) -> dict[str, int]:
    """How often each run was started or gone on with."""
    return {
        path.parent.name: sum("images on cpu" in line or "resumes at" in line for line in path.read_text().splitlines())
        for path in folder.glob("results/runs/*/train.log")
    }


def under_way(folder: Path) -> list[Path]:
    """Checkpoints of runs that are not finished: one that is has its own for a moment longer."""
    found = folder.glob("results/runs/*/last.ckpt")
    return [path for path in found if not (path.parent / "manifest.json").exists()]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    code, text = train(folder, *SWEEP)
    assert code == 0, text
    assert "6 of 6 runs are done" in text
    return folder


@pytest.mark.slow
def test_a_run_gives_the_same_numbers_alone_and_beside_others_as_in_a_sweep(swept: Path, tmp_path: Path) -> None:
    beside = [Command(tmp_path, *BASE, "loss=tgce", f"seed={seed}") for seed in (0, 1)]
    assert [command.wait() for command in beside] == [0, 0]
    assert train(tmp_path, *BASE, "loss=gce", "seed=2")[0] == 0
    alone = manifests(tmp_path)
    assert len(alone) == 3
    for name, manifest in alone.items():
        assert manifests(swept)[name] == manifest


@pytest.mark.slow
def test_two_processes_share_a_sweep_and_no_run_is_trained_twice(swept: Path, tmp_path: Path) -> None:
    first, second = Command(tmp_path, *SWEEP), Command(tmp_path, *SWEEP)
    assert (first.wait(), second.wait()) == (0, 0)
    assert manifests(tmp_path) == manifests(swept)
    assert set(started(tmp_path).values()) == {1}


@pytest.mark.slow
def test_what_a_killed_sweep_has_done_is_not_done_again(swept: Path, tmp_path: Path) -> None:
    command = Command(tmp_path, *SWEEP, EACH_STEP, before=_third_run_never_ends)
    command.until(lambda: len(manifests(tmp_path)) == 2 and under_way(tmp_path))
    command.kill()
    assert train(tmp_path, *SWEEP)[0] == 0
    assert manifests(tmp_path) == manifests(swept)
    assert sorted(started(tmp_path).values()) == [1, 1, 1, 1, 1, 2]


@pytest.mark.slow
def test_a_sweep_takes_over_the_run_of_a_killed_neighbour(swept: Path, tmp_path: Path) -> None:
    neighbour = Command(tmp_path, *BASE, "loss=gce", "seed=1", EACH_STEP, before=_never_ends)
    neighbour.until(lambda: list(tmp_path.glob("results/runs/*/last.ckpt")))
    sweep = Command(tmp_path, *SWEEP)
    sweep.until(lambda: len(manifests(tmp_path)) >= 3)  # it has passed over the neighbour's
    neighbour.kill()
    assert sweep.wait() == 0, sweep.text()
    assert "6 of 6 runs are done" in sweep.text()
    assert manifests(tmp_path) == manifests(swept)


def _third_run_never_ends() -> None:
    """From its first save on."""
    from noisygce.runs.watch import RunMonitor

    def save(self: Any) -> None:
        save_(self)
        if len(list(self.run.folder.parent.glob("*/manifest.json"))) >= 2:
            time.sleep(10 * BOUND)

    save_, RunMonitor.save = RunMonitor.save, save  # type: ignore[assignment, method-assign]


def _never_ends() -> None:
    """From its first save on."""
    from noisygce.runs.watch import RunMonitor

    RunMonitor.save_, RunMonitor.save = RunMonitor.save, lambda self: (self.save_(), time.sleep(10 * BOUND))  # type: ignore


@pytest.mark.slow
def test_a_run_that_another_process_holds_to_the_end_is_named_and_is_no_failure(tmp_path: Path) -> None:
    neighbour = Command(tmp_path, *BASE, "loss=gce", "seed=1", EACH_STEP, before=_never_ends)
    neighbour.until(lambda: list(tmp_path.glob("results/runs/*/last.ckpt")))
    code, text = train(tmp_path, *SWEEP)
    neighbour.kill()
    assert code == 0
    assert "5 of 6 runs are done" in text
    assert f"is being trained by process {neighbour.pid} on " in text


def test_a_run_that_raises_stops_no_other_and_is_not_tried_again(tmp_path: Path) -> None:
    arguments = ("-m", *DIVERGES, "schedule.epochs=6", "loss=mae,ce,gce")
    code, text = train(tmp_path, *arguments)
    assert code == 3
    assert "2 of 3 runs are done" in text
    assert re.search(r"loss=ce.*: the loss was not finite at epoch \d, step \d+", text)
    assert one_line(text) == "noisygce: 1 of 3 runs failed"
    assert len(manifests(tmp_path)) == 2
    before = started(tmp_path)
    code, text = train(tmp_path, *arguments)
    assert code == 3
    assert "has failed: the loss was not finite at epoch" in text
    assert started(tmp_path) == before


def test_a_non_finite_loss_stops_with_exit_code_3_epoch_and_step_and_marks_the_run(tmp_path: Path) -> None:
    code, text = train(tmp_path, *DIVERGES)
    assert code == 3
    assert re.search(r"the loss was not finite at epoch \d, step \d+", said := one_line(text))
    (failed,) = tmp_path.glob("results/runs/*/failed.json")
    assert json.loads(failed.read_text())["cause"] in said
    left = sorted(path.name for path in failed.parent.iterdir())
    assert left == ["config.yaml", "failed.json", "lock", "metrics.csv", "train.log"]
    code, text = train(tmp_path, *DIVERGES)
    assert code == 3
    assert f"delete {failed.relative_to(tmp_path)} to try again" in one_line(text)
    failed.unlink()
    assert "images on cpu" in train(tmp_path, *DIVERGES)[1]


@pytest.mark.slow
def test_a_signal_ends_a_sweep_and_frees_its_run(swept: Path, tmp_path: Path) -> None:
    command = Command(tmp_path, *SWEEP)
    command.until(lambda: command.text().count("epoch 2/") >= 2)
    command.send(signal.SIGTERM)
    assert command.wait() == 75
    assert "is saved at epoch" in one_line(command.text())
    assert len(manifests(tmp_path)) < 6
    assert not list(tmp_path.glob("results/runs/*/owner.json"))
    assert train(tmp_path, *SWEEP)[0] == 0
    assert manifests(tmp_path) == manifests(swept)


def test_a_full_disk_in_a_sweep_is_said_for_each_run_with_exit_code_4(tmp_path: Path) -> None:
    code, text = train(tmp_path, *SWEEP, EACH_STEP, file_limit=20_000)
    assert code == 4
    assert text.count("File too large") == 6
    assert one_line(text) == "noisygce: 6 of 6 runs failed"


def test_a_missing_data_set_is_tried_once_and_said_once_with_exit_code_2_and_other_runs_are_made(
    tmp_path: Path,
) -> None:
    code, text = train(
        tmp_path,
        *("-m", "data=cifar10,digits", "seed=0,1", "schedule.epochs=2", "runtime.threads=1", "paths.data=data"),
        before=_no_network,
    )
    assert code == 2
    assert text.count("fetching") == 1
    assert text.count("Cifar10 is not in data and could not be fetched (URLError: <urlopen error no network>)") == 1
    assert re.search("\n  data=cifar10 seed=0 .*, and 1 more: Cifar10 is not in", text)
    assert one_line(text) == "noisygce: 2 of 4 runs failed"
    assert [name[:6] for name in manifests(tmp_path)] == ["digits"] * 2


def _no_network() -> None:
    from noisygce.data import Cifar10

    def fetch(*_: Any) -> None:
        print("fetching", flush=True)
        raise urllib.error.URLError("no network")

    Cifar10._fetch = fetch  # type: ignore[method-assign]


# As Hydra's joblib and submitit launchers start a run: in a process that never sees noisygce.train.main.
LAUNCHED = """
import sys
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict
from noisygce import settings, train
cfg = settings.compose(sys.argv[1:], with_hydra=True)
HydraConfig.instance().set_config(cfg)
with open_dict(cfg):
    del cfg["hydra"]
train._task(cfg)
"""


def test_a_run_in_a_process_of_a_launcher_has_its_train_log_and_is_saved_by_a_signal(tmp_path: Path) -> None:
    words = ("hydra.mode=MULTIRUN", *SMALL, "schedule.epochs=100000", "runtime.checkpoint_every=3600")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", LAUNCHED, *words], cwd=tmp_path, env=environment) as launched:
        try:
            deadline = time.monotonic() + BOUND
            while not any("epoch 1" in path.read_text() for path in tmp_path.glob("results/runs/*/train.log")):
                assert launched.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            launched.send_signal(signal.SIGTERM)
            assert launched.wait(BOUND) == 1  # Stopped, which the launcher is left to handle
        finally:
            launched.kill()
    assert [*tmp_path.glob("results/runs/*/last.ckpt")]
