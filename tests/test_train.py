"""The command, in processes of its own, on the embedded digits."""

import json
import os
import re
import subprocess
import sys

from noisygce import runs, settings

ROOT = settings.config_dir().parent
# Two prunings; four epochs of at most eleven steps.
RUN = ["data=digits", "loss=tgce", "loss.k=0.12", "schedule.epochs=4", "prune.start=2", "prune.every=1"]


def train(results, *arguments):
    # Hydra wants -m, which may come first in ``arguments``, before all overrides.
    command = [sys.executable, "-m", "noisygce.train", *arguments, *RUN]
    command += [f"paths.results={results}", "runtime.threads=1"]
    environment = {k: v for k, v in os.environ.items() if k != "NOISYGCE_DATA"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def folder(results, *arguments):
    """Where the run of these arguments must be."""
    cfg = settings.compose([a for a in (*RUN, *arguments) if a != "-m"])
    return results / "runs" / runs.run_id(runs.identity(settings.resolved(cfg)))


def manifest(results, *arguments):
    return json.loads((folder(results, *arguments) / "manifest.json").read_text())


def test_a_run_made_twice_has_the_same_bytes_and_a_finished_one_is_told_at_once(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    said = train(first)
    assert said.returncode == 0, said.stderr
    assert "is a second worker" not in said.stderr
    assert train(second).returncode == 0
    for name in ("metrics.csv", "config.yaml"):
        assert (folder(first) / name).read_bytes() == (folder(second) / name).read_bytes()
    one, other = manifest(first), manifest(second)
    for key in ("run_id", "config", "results", "noise", "pruning", "state_sha256", "threads", "versions"):
        assert one[key] == other[key]
    assert sorted(p.name for p in folder(first).iterdir() if p.name != "lock") == [
        "config.yaml",
        "manifest.json",
        "metrics.csv",
        "model.safetensors",
        "predictions.npz",
        "train.log",
    ]

    rows = (folder(first) / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 4
    assert [p["after_epoch"] for p in one["pruning"]] == [2, 3]
    assert one["noise"]["nominal_rate"] == 0.4
    assert abs(one["noise"]["realised_rate"] - 0.4) < 4 * (0.24 / 1500) ** 0.5
    assert f"val {100 * one['results']['val']:.2f}" in said.stdout

    before = {p: p.stat().st_mtime_ns for p in folder(first).iterdir()}
    computing = os.times().children_user
    again = train(first)
    assert os.times().children_user - computing < 3  # of a busy machine; torch is not imported
    assert (again.returncode, again.stdout) == (0, said.stdout.rstrip("\n") + " (finished before)\n")
    assert {p: p.stat().st_mtime_ns for p in folder(first).iterdir()} == before


def test_a_sweep_makes_the_same_runs_as_one_at_a_time(tmp_path):
    """The second run of a process that has trained before, against the first of a new one."""
    swept, alone = tmp_path / "swept", tmp_path / "alone"
    done = train(swept, "-m", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs are done" in done.stderr
    assert done.stderr.count("is a second worker") == 1
    assert train(alone, "seed=1").returncode == 0
    assert manifest(swept, "seed=1")["state_sha256"] == manifest(alone, "seed=1")["state_sha256"]
    name = "metrics.csv"
    assert (folder(swept, "seed=1") / name).read_bytes() == (folder(alone, "seed=1") / name).read_bytes()
    assert manifest(swept, "seed=0")["state_sha256"] != manifest(swept, "seed=1")["state_sha256"]
    assert len(list((swept / "runs").iterdir())) == 2


def test_a_long_run_shows_about_twenty_epochs_and_its_log_has_all(tmp_path):
    long = ["data.subset=100", "model.width=2", "schedule.epochs=90", "prune.start=90", "schedule.milestones=[]"]
    said = train(tmp_path, *(word for word in long if not word.startswith(("schedule.epochs", "prune"))))
    assert len(re.findall(r"epoch \d+/4:", said.stderr)) == 4  # a short one shows each
    command = [sys.executable, "-m", "noisygce.train", "data=digits", "loss=ce", *long, f"paths.results={tmp_path}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert said.returncode == 0, said.stderr
    shown = re.findall(r"epoch (\d+)/90:", said.stderr)
    assert shown == ["1", *map(str, range(5, 91, 5))]
    (log,) = tmp_path.glob("runs/*-ce-*/train.log")
    assert re.findall(r"epoch (\d+)/90:", log.read_text()) == [*map(str, range(1, 91))]
