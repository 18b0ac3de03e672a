"""Whole runs within a time allowance: what ``runtime.whole_runs`` refuses to begin, and the script around it."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time

import pytest

from noisygce import settings
from noisygce.runs import stops

ROOT = settings.config_dir().parent
RUNS = [
    *(
        "data=digits",
        "data.subset=200",
        "model.width=4",
        "schedule.epochs=2",
        "prune.start=1",
        "loss=ce,gce",
        "seed=0,1",
    ),
    *("runtime.threads=1", "runtime.device=cpu"),
]


@pytest.mark.parametrize(
    ("stop_after", "whole", "longest", "refused"),
    [("100s", True, 70.0, True), ("100s", True, 30.0, False), ("100s", False, 70.0, False), (None, False, 1e9, False)],
)
def test_a_run_that_could_not_end_in_time_is_not_begun(stop_after, whole, longest, refused):
    process = stops.Process()
    process.started, process.longest_run = time.monotonic() - 50, longest
    runtime = settings.Runtime("cpu", None, "auto", "auto", 1, 300, stop_after, whole, None, None, False, "none", False)
    assert bool(process.reason_not_to_start(runtime)) == refused


def within(folder, allowance):
    command = [str(ROOT / "scripts" / "within"), allowance, str(folder), *RUNS]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_the_script_packs_finished_runs_and_goes_on_from_them(tmp_path):
    stopped = within(tmp_path, "0.01s")
    assert stopped.returncode == 75, stopped.stderr
    assert "0 finished runs" in stopped.stdout
    done = within(tmp_path, "10m")
    assert done.returncode == 0, done.stderr
    assert "4 finished runs" in done.stdout
    with tarfile.open(tmp_path / "runs.tar.gz") as archive:
        names = archive.getnames()
        first = {name: archive.extractfile(name).read() for name in names}
    assert sorted(name.rpartition("/")[2] for name in names) == sorted(
        4 * ["config.yaml", "manifest.json", "metrics.csv"] + 2 * ["transition_hat.json"]
    )
    again = within(tmp_path, "10m")
    assert again.returncode == 0, again.stderr
    assert "images on" not in again.stderr  # nothing was trained again
    with tarfile.open(tmp_path / "runs.tar.gz") as archive:
        assert {name: archive.extractfile(name).read() for name in archive.getnames()} == first


@pytest.mark.slow
def test_a_damaged_archive_stops_the_script_and_stays(tmp_path):
    damaged = b"\x1f\x8b no archive"
    (tmp_path / "runs.tar.gz").write_bytes(damaged)
    ended = within(tmp_path, "10m")
    assert ended.returncode == 4
    assert "runs.tar.gz is damaged" in ended.stderr
    assert (tmp_path / "runs.tar.gz").read_bytes() == damaged


@pytest.mark.slow
def test_a_signal_to_the_script_packs_what_is_finished(tmp_path):
    long = [word for word in RUNS if not word.startswith("schedule.epochs")] + ["schedule.epochs=5,100000"]
    script = subprocess.Popen(
        [str(ROOT / "scripts" / "within"), "10m", str(tmp_path), *long, "schedule.milestones=[]"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(tmp_path)},
    )
    assert script.stdout is not None
    script.stdout.readline()  # the first finished run
    script.terminate()
    out, _ = script.communicate(timeout=600)
    assert script.returncode == 75
    assert "1 finished runs" in out


def test_without_enough_words_it_says_how_it_is_used():
    ended = subprocess.run([str(ROOT / "scripts" / "within")], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "scripts/within 9m FOLDER" in ended.stderr


def test_a_second_script_in_the_same_folder_is_refused(tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = within(tmp_path, "10m")
    assert refused.returncode == 5
    assert f"another one works in {tmp_path}" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("script", ["within", "workers"])
def test_the_scripts_use_nothing_that_only_gnu_has(script):
    code = re.sub(r"(?m)^# .*$", "", (ROOT / "scripts" / script).read_text())
    assert not re.findall(r"(?<![.\w])(?:realpath|readlink|flock|timeout|nproc|tac|mapfile|readarray) ", code)


def test_workers_work_in_the_folder_that_they_are_started_in(tmp_path):
    command = [str(ROOT / "scripts" / "workers"), "2", "", *RUNS]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": str(tmp_path)}
    here = os.uname().nodename
    logs = [tmp_path / "results" / "logs" / f"worker-{here}-{pid}-0.log" for pid in (os.getpid(), 2**22 + 1)]
    logs[0].parent.mkdir(parents=True)
    for log in logs:
        log.write_text("mine")
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(list(tmp_path.glob("results/runs/*/manifest.json"))) == 4
    assert [log.exists() for log in logs] == [True, False]  # that of workers that run stays
    assert len(list(tmp_path.glob("results/logs/worker-*.log"))) == 1 + 2


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_clean_leaves_results_and_data_and_nothing_that_set_up_tests_and_lint_make(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = [".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", "build", "dist", "noisygce.egg-info"]
    made += ["noisygce/losses/__pycache__", "tests/__pycache__", "hydra_plugins/__pycache__"]
    kept = ["results/runs/a", "data/tests/__pycache__"]
    for name in (*made, *kept):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"Makefile", *(f"{name}/file" for name in kept)}
