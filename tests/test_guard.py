"""What a config may hold below ``hydra``; more that it may not is in tests/bad_input.py and test_integrity.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_reliability import ROOT, train
from hydra.core.config_store import ConfigStore

from noisygce.errors import ConfigError
from noisygce.settings import guard

PLUGIN = """
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.experimental.callback import Callback


class Theirs(BasicLauncher):
    def __init__(self, timeout_min, array, setup):
        super().__init__()
        assert setup == ["module"]
        self.timeout_min = timeout_min

    def launch(self, job_overrides, initial_job_idx):
        print("launched with", self.timeout_min, self.task_function.__module__)
        return super().launch(job_overrides, initial_job_idx)


class Said(Callback):
    def on_multirun_end(self, config, **_):
        print("called back")


node = {"_target_": "hydra_plugins.their_launcher.Theirs", "timeout_min": 60, "array": {}, "setup": None}
ConfigStore.instance().store(group="hydra/launcher", name="theirs", node=node)
"""


def test_an_installed_launcher_and_a_callback_work(tmp_path: Path) -> None:
    """As hydra-submitit-launcher comes: a module of hydra_plugins that stores its config."""
    plugin = tmp_path / "site" / "hydra_plugins" / "their_launcher.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PLUGIN)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "noisygce.train", "-m", "hydra/launcher=theirs", "hydra.launcher.timeout_min=240"),
            "hydra.launcher.setup=[module]",
            "+hydra.callbacks.x._target_=hydra_plugins.their_launcher.Said",
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
    assert (code, text.count("must be as hydra/job_logging=none has it")) == (2, 1)
    assert not (tmp_path / "results").exists()


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    """A launcher and a sweeper with the keys that submitit, joblib and Optuna have, and a folder of configs."""
    store = ConfigStore.instance()
    keys = ("setup", "srun_args", "additional_parameters", "submitit_folder", "temp_folder")
    basic = "hydra._internal.core_plugins"
    launcher = {"_target_": f"{basic}.basic_launcher.BasicLauncher", **dict.fromkeys(keys)}
    launcher["submitit_folder"] = "${hydra.sweep.dir}/.submitit/%j"
    sweeper = {"_target_": f"{basic}.basic_sweeper.BasicSweeper", "max_batch_size": None, "params": None}
    store.store(group="hydra/launcher", name="cluster", node=launcher)
    store.store(group="hydra/sweeper", name="search", node={**sweeper, "storage": None})
    (tmp_path / "experiment").mkdir()
    return f"hydra.searchpath=['file://{tmp_path}']"


WORDS = ("hydra/launcher=cluster", "hydra/sweeper=search", "data=digits")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("launcher.setup", "[touch attacked]"),
        ("launcher.srun_args", "[attack]"),
        ("launcher.additional_parameters", "{prolog: attack}"),
        ("launcher.submitit_folder", "/tmp/attacked"),
        ("launcher.temp_folder", "/tmp/attacked"),
        ("sweeper.storage", "mysql://attacker/x"),
        ("callbacks", "{x: {_target_: os.system}}"),
    ],
)
def test_commands_folders_and_servers_are_set_on_the_command_line_alone(
    cluster: str, tmp_path: Path, key: str, value: str
) -> None:
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(["hydra", *key.split(".")])]
    (tmp_path / "experiment" / "theirs.yaml").write_text(f"# @package _global_\n{chr(10).join(lines)} {value}\n")
    beside = [f"+hydra.{key}.mine=1"] if value[0] == "{" else []  # a person's own value lets no other pass
    for words in ([], beside):
        with pytest.raises(ConfigError, match=rf"^hydra\.{key}=.*: a config file may not set it"):
            guard.checked(["-m", cluster, *WORDS, "experiment=theirs", *words])
    text = value if value[0] in "[{" else f"'{value}'"
    guard.checked(["-m", cluster, *WORDS, f"++hydra.{key}={text}"])
    guard.checked(["-m", cluster, *WORDS])


def test_a_name_of_a_plan_is_refused_for_a_single_run() -> None:
    guard.checked(["-m", "hydra.job.name=x", "data=digits"])
    with pytest.raises(ConfigError, match=r"^name=x: it names the plan of a sweep"):
        guard.checked(["hydra.job.name=x", "data=digits"])
