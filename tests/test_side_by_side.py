"""Runs side by side in one process, here on the CPU: nothing of one reaches another."""

import gc
import json
import logging
import threading
from types import SimpleNamespace

import pytest
from conftest import SMALL
from omegaconf import open_dict

from noisygce import runs, settings, train
from noisygce.errors import ConfigError, NonFinite, Stopped
from noisygce.runs.stops import process
from noisygce.runs.watch import RunMonitor
from noisygce.sweep.jobs import at_once, side_by_side
from noisygce.training.fit import Training
from noisygce.training.step import Step

FAILS = ["loss=ce", "schedule.lr=100", "schedule.epochs=30"]
JOBS = [
    ["loss=ce"],
    ["loss=tgce", "prune.start=2", "prune.every=1"],
    ["loss=elr"],
    ["loss=gce", "seed=1"],
    ["loss=jocor"],
    FAILS,
]


def configs(folder, jobs):
    fixed = [*SMALL, "runtime.threads=1", "runtime.device=cpu", "runtime.checkpoint_every=0", f"paths.results={folder}"]
    return [settings.compose([*fixed, *job]) for job in jobs]


def manifests(folder):
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("runs/*/manifest.json")}
    return {name: (m["state_sha256"], m["noisy_validation"], m["results"], m["pruning"]) for name, m in found.items()}


@pytest.fixture(autouse=True)
def logged():
    """As ``prepare_process`` sets it, so that train.log is written."""
    log = logging.getLogger("noisygce")
    level = log.level
    log.setLevel(logging.DEBUG)
    yield
    log.setLevel(level)


def test_runs_side_by_side_are_those_alone_and_one_s_failure_is_its_own(tmp_path):
    for cfg in configs(tmp_path / "alone", JOBS[:-1]):
        train.run_one_of_many(cfg)
    beside = configs(tmp_path / "beside", JOBS)
    ended = side_by_side(train.run_one_of_many, beside, JOBS, 3)
    assert isinstance(ended[-1]._return_value, NonFinite)
    for end, cfg in zip(ended[:-1], beside, strict=False):
        name = runs.run_id(runs.identity(settings.resolved(cfg)))
        assert end.return_value == manifests(tmp_path / "beside")[name][1]["best"]
    assert manifests(tmp_path / "beside") == manifests(tmp_path / "alone")
    assert len(manifests(tmp_path / "alone")) == len(JOBS) - 1


def test_a_failed_run_keeps_no_training_in_memory(tmp_path):
    ended = side_by_side(train.run_one_of_many, configs(tmp_path, [FAILS]), [FAILS], 2)
    assert isinstance(ended[0]._return_value, NonFinite)
    assert not [thing for thing in gc.get_objects() if type(thing) is Training]


def test_an_unexpected_error_is_shown_with_its_trace_and_the_others_go_on(tmp_path, monkeypatch, caplog):
    # A fault of ours: a function written here would be a person's own code, whose errors are told otherwise.
    monkeypatch.setattr(Step, "start_epoch", (1.0).__truediv__)  # of epoch 0
    jobs = [["seed=0"], ["seed=1"]]
    ended = side_by_side(train.run_one_of_many, configs(tmp_path, jobs), jobs, 2)
    assert [type(end._return_value) for end in ended] == [ZeroDivisionError] * 2
    assert caplog.text.count("start_epoch") >= 2


def test_a_log_is_of_its_run_alone(tmp_path):
    jobs = [["seed=0"], ["seed=1"], ["seed=2"]]
    side_by_side(train.run_one_of_many, configs(tmp_path, jobs), jobs, 3)
    logs = [path.read_text() for path in tmp_path.glob("runs/*/train.log")]
    assert len(logs) == 3
    for text in logs:
        assert [text.count(f"epoch {i}/5:") for i in range(1, 6)] == [1] * 5
        assert sum(f"-s{seed}-" in text for seed in range(3)) == 1


def test_a_request_to_stop_saves_all_that_are_under_way_and_begins_no_other(tmp_path, monkeypatch):
    jobs = [[f"seed={seed}", "schedule.epochs=1000"] for seed in range(4)]
    monkeypatch.setattr(process, "signal", "")
    save = RunMonitor.save
    both = threading.Barrier(2)

    def save_once_two_are_under_way(watch):
        save(watch)
        if not process.signal:
            both.wait(600)
            process.signal = "SIGTERM"

    monkeypatch.setattr(RunMonitor, "save", save_once_two_are_under_way)
    with pytest.raises(Stopped):
        side_by_side(train.run_one_of_many, configs(tmp_path, jobs), jobs, 2)
    assert len(list(tmp_path.glob("runs/*/last.ckpt"))) == 2
    assert len(list(tmp_path.glob("runs/*"))) == 2
    assert process.trainings == 0


def test_on_a_cpu_runs_go_one_after_another_and_it_says_so(tmp_path, caplog):
    cfg = settings.compose([*SMALL, "runtime.concurrent=3", f"paths.results={tmp_path}", "runtime.device=cpu"])
    with open_dict(cfg):
        cfg.hydra = {"launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}}
    with caplog.at_level(logging.INFO, "noisygce"):
        assert at_once(cfg) == 1
    assert "one run fills a CPU" in caplog.text
    cfg.hydra.launcher._target_ = "somewhere.SubmititLauncher"
    with pytest.raises(ConfigError, match="use one of the two"):
        at_once(cfg)


def test_configs_are_composed_when_a_thread_is_free_for_them_and_none_after_a_stop():
    composed = []

    def each():
        for i in range(60):
            composed.append(i)
            yield i

    def trained(i):
        if i == 3:
            raise Stopped("stopped")
        assert len(composed) <= i + 3  # this one, the one beside it, and the one that waits
        return float(i)

    with pytest.raises(Stopped):
        side_by_side(trained, each(), [[str(i)] for i in range(60)], 2)
    assert len(composed) < 60
    ended = side_by_side(float, iter(range(6)), [[str(i)] for i in range(6)], 2)
    assert [end.return_value for end in ended] == [0, 1, 2, 3, 4, 5]


def test_the_speed_of_a_resumed_run_is_that_of_all_its_processes(tmp_path):
    run = SimpleNamespace(id="a run", folder=tmp_path)
    progress = SimpleNamespace(epoch=1, step=0)
    training = SimpleNamespace(
        progress=progress, schedule=SimpleNamespace(epochs=1, batch_size=1), images_an_epoch=lambda: 0
    )
    runtime = SimpleNamespace(progress=False)
    saved = {"seconds": 100.0, "images": 5000, "made": []}
    assert RunMonitor(run, training, runtime, saved, {}).record()["images_per_s"] == pytest.approx(50, rel=0.01)
    monitor = RunMonitor(run, training, runtime, saved, {})
    monitor.images = 1000
    assert monitor.record()["images_per_s"] == pytest.approx(60, rel=0.01)
