"""What a config may not say of Hydra is in tests/bad_input.py and test_integrity.py; here: what it may."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_reliability import ROOT, train

PLUGIN = """
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.experimental.callback import Callback


class Theirs(BasicLauncher):
    def __init__(self, timeout_min, array):
        super().__init__()
        self.timeout_min = timeout_min

    def launch(self, job_overrides, initial_job_idx):
        print("launched with", self.timeout_min, self.task_function.__module__)
        return super().launch(job_overrides, initial_job_idx)


class Said(Callback):
    def on_multirun_end(self, config, **_):
        print("called back")


node = {"_target_": "hydra_plugins.their_launcher.Theirs", "timeout_min": 60, "array": {"parallelism": 2}}
ConfigStore.instance().store(group="hydra/launcher", name="theirs", node=node)
"""


def test_an_installed_launcher_a_callback_and_hydra_s_own_logging_work(tmp_path: Path) -> None:
    """As hydra-submitit-launcher comes: a module of hydra_plugins that stores its config."""
    plugin = tmp_path / "site" / "hydra_plugins" / "their_launcher.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PLUGIN)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "noisygce.train", "-m", "hydra/launcher=theirs", "hydra.launcher.timeout_min=240"),
            *("+hydra.callbacks.x._target_=hydra_plugins.their_launcher.Said", "hydra/job_logging=stdout"),
            *("data=digits", "data.subset=200", "schedule.epochs=2", "seed=0,1", "runtime.threads=1"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path / 'site'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "launched with 240 noisygce.train" in done.stdout  # another process finds the task by this name
    assert "called back" in done.stdout
    assert len(list(tmp_path.glob("results/runs/*/manifest.json"))) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "site"]


@pytest.mark.parametrize("words", [["hydra/sweeper=basic", "loss=gce,loud"], ["loss=gce,loud"]])
def test_a_choice_that_a_sweep_makes_is_looked_at_before_any_run(tmp_path: Path, words: list[str]) -> None:
    leaf = tmp_path / "theirs" / "loss" / "loud.yaml"
    leaf.parent.mkdir(parents=True)
    leaf.write_text(
        "# @package _global_\nhydra: {job_logging: {root: {handlers: [x]}, handlers: {x: {(): os.system}}}}\n"
    )
    code, text = train(tmp_path, "-m", "data=digits", "--config-dir", "theirs", *words)
    assert (code, text.count("hydra.job_logging: a config may choose")) == (2, 1)
    assert not (tmp_path / "results").exists()
