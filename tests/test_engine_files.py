"""What starts workers beside Hydra: the scripts of a machine and of SLURM on make-believe programs, the files of
Kubernetes and SkyPilot by what their engines require, Ray where it is installed (slow)."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import util
from pathlib import Path

import pytest
import yaml
from conftest import SMALL
from helpers_reliability import until

from noisygce import results
from noisygce.errors import Stopped
from noisygce.settings import Runtime
from noisygce.sweep.jobs import from_share
from noisygce.sweep.plan import jobs_of

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(folder, *command, **variables):
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("worker", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 75", 75), ("kill -USR1 $$", 75), ("kill -TERM $$", 75)]
)
def test_a_worker_that_a_signal_ended_before_it_listened_is_stopped_not_failed(tmp_path, worker, code):
    ended = run(tmp_path, SCRIPTS / "workers", "2", "", "seed=0", PYTHON=program(tmp_path / "python", worker))
    assert ended.returncode == code


def test_a_killed_worker_is_no_stopped_one(tmp_path):
    killed = run(tmp_path, SCRIPTS / "workers", "2", "", "seed=0", PYTHON=program(tmp_path / "python", "kill -9 $$"))
    assert killed.returncode == 137


def test_the_script_of_workers_waits_until_they_have_saved_and_ends_with_their_code(tmp_path):
    python = program(tmp_path / "python", "trap 'sleep 0.5; exit 75' TERM; touch $$.begun; while :; do sleep 0.1; done")
    command = [SCRIPTS / "workers", "2", "", "seed=0"]
    script = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHON": str(python)})
    while len(list(tmp_path.glob("*.begun"))) < 2:
        assert script.poll() is None
        time.sleep(0.05)
    script.send_signal(signal.SIGTERM)
    assert script.wait(600) == 75


def test_each_worker_of_a_machine_has_its_share(tmp_path):
    python = program(tmp_path / "python", 'echo "$@"')
    said = run(tmp_path, SCRIPTS / "workers", "3", "", "seed=0", PYTHON=python).stdout.splitlines()
    expected = [f"-m noisygce.train -m runtime.share={i}/3 seed=0" for i in range(3)]
    assert sorted(said)[:3] == expected


@pytest.fixture
def slurm(tmp_path):
    """Make-believe srun and scontrol: the one runs a program here, the other writes down what it is asked."""
    program(tmp_path / "srun", 'shift; "$@"')
    program(tmp_path / "scontrol", 'echo "$@" >> asked')
    return tmp_path


def array(slurm, worker, task, **variables):
    of_array = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_COUNT": "3", **variables}
    python = program(slurm / "python", worker)
    return run(
        slurm, SCRIPTS / "slurm_array", "seed=0", PYTHON=python, SLURM_JOB_ID="17", SLURM_ARRAY_JOB_ID="15", **of_array
    )


@pytest.mark.parametrize("worker", ["exit 75", "kill -USR1 $$"])
def test_a_task_that_is_stopped_asks_for_another_turn_also_before_python_listens(slurm, worker):
    assert array(slurm, worker, "4").returncode == 75
    assert (
        slurm / "asked"
    ).read_text() == "requeue 15_4\n"  # not 15, the whole array, nor 17 where it is the last task


def test_a_job_that_is_no_array_asks_by_its_own_number(slurm):
    python = program(slurm / "python", "exit 75")
    assert run(slurm, SCRIPTS / "slurm_array", "seed=0", PYTHON=python, SLURM_JOB_ID="17").returncode == 75
    assert (slurm / "asked").read_text() == "requeue 17\n"


@pytest.mark.parametrize("worker", ["exit 0", "exit 3", "kill -TERM $$"])
def test_a_task_that_is_done_has_failed_or_was_cancelled_does_not(slurm, worker):
    array(slurm, worker, "4")
    assert not (slurm / "asked").exists()


def test_each_task_of_an_array_has_a_share_of_its_own_whatever_its_number(slurm):
    def shares(*tasks, **variables):
        return [array(slurm, 'echo "$4"', task, **variables).stdout.strip() for task in tasks]

    expected = [f"runtime.share={i}/3" for i in range(3)]
    assert shares("4", "5", "6") == expected
    assert shares("4", "6", "8", SLURM_ARRAY_TASK_STEP="2") == expected
    assert shares("4", SLURM_ARRAY_TASK_COUNT="") == ["seed=0"]


def test_the_pods_of_the_kubernetes_job_share_a_sweep_that_can_be_trained():
    job = yaml.safe_load((SCRIPTS / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"  # which sets JOB_COMPLETION_INDEX, and backoffLimitPerIndex needs
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # which podFailurePolicy needs
    (container,) = pod["containers"]
    on_exit = spec["podFailurePolicy"]["rules"][0]
    assert on_exit["onExitCodes"]["containerName"] == container["name"]
    assert (on_exit["action"], on_exit["onExitCodes"]["values"]) == ("Ignore", [Stopped.exit_code])
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    mounted = tuple(mount["mountPath"] for mount in container["volumeMounts"])
    assert container["command"] == ["python", "-m", "noisygce.train", "-m"]
    share, rest = [], []
    for word in container["args"]:
        (share if word.startswith("runtime.share=") else rest).append(word)
    assert all(word.partition("=")[2].startswith(mounted) for word in rest if word.startswith("paths."))
    jobs = jobs_of(rest)
    begun = []
    for index in range(spec["completions"]):
        own = share[0].partition("=")[2].replace("$(JOB_COMPLETION_INDEX)", str(index))
        assert Runtime.share_of(own) == (index, spec["completions"])
        begun.append(from_share(jobs, Runtime.share_of(own))[0])
    assert len({*map(tuple, begun)}) == spec["parallelism"] == spec["completions"]


def test_the_skypilot_task_starts_a_worker_on_each_gpu(tmp_path):
    task = yaml.safe_load((SCRIPTS / "skypilot.yaml").read_text())
    assert {*task} <= {"name", "resources", "workdir", "file_mounts", "envs", "setup", "run"}
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [Stopped.exit_code]
    assert jobs_of([task["envs"]["SWEEP"]])
    assert "setup:" in (SCRIPTS.parent / "Makefile").read_text()
    (tmp_path / "scripts").symlink_to(SCRIPTS)
    python = program(tmp_path / "python", 'echo "$CUDA_VISIBLE_DEVICES $@"')
    variables = {"PYTHON": str(python), "SKYPILOT_NUM_GPUS_PER_NODE": "2", **task["envs"]}
    said = run(tmp_path, "bash", "-c", task["run"], **variables)
    (mounted,) = task["file_mounts"]
    command = "-m noisygce.train -m runtime.share={0}/2 " + f"{task['envs']['SWEEP']} paths.results={mounted}"
    assert sorted(said.stdout.splitlines())[:2] == [f"{gpu} {command.format(gpu)}" for gpu in range(2)]


# With Ray, below: a cluster of two nodes with a core each, on this machine.

SWEEP = [*SMALL, "runtime.threads=1", "loss=ce,gce", "seed=0"]
LONG = ["schedule.epochs=100000", "runtime.keep_model=none", "runtime.keep_predictions=false"]
with_ray = pytest.mark.skipif(not util.find_spec("ray"), reason="needs ray")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        nodes.add_node(**node)
        yield nodes.address
    finally:
        nodes.shutdown()


@pytest.fixture
def start(cluster, tmp_path):
    """Starts the script; it is gone after the test."""
    begun = []

    def start(*arguments):
        command = [sys.executable, SCRIPTS / "ray_workers", "--address", cluster, "--workers", "2", *SWEEP, *arguments]
        with open(tmp_path / "said", "w") as said:
            begun.append(subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said))
        return begun[-1]

    yield start
    for each in begun:
        each.kill()
        each.wait()


def training(folder):
    """The process that trains each run, by run."""
    found = {}
    for metrics in folder.glob("results/runs/*/metrics.csv"):
        if metrics.stat().st_size and results.of_folder(metrics.parent).state == "running":
            found[metrics.parent.name] = json.loads((metrics.parent / "owner.json").read_text())["pid"]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_end(workers):
    deadline = time.monotonic() + 600
    while any(map(alive, workers.values())):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
@with_ray
def test_ray_s_workers_train_the_runs_of_a_sequential_sweep_bit_for_bit(tmp_path, start):
    alone = tmp_path / "alone"
    subprocess.run(
        [sys.executable, "-m", "noisygce.train", "-m", *SWEEP, f"paths.results={alone}"], check=True, cwd=tmp_path
    )
    assert start().wait(600) == 0, (tmp_path / "said").read_text()
    digests = [
        {path.parent.name: json.loads(path.read_text())["state_sha256"] for path in folder.glob("runs/*/manifest.json")}
        for folder in (alone, tmp_path / "results")
    ]
    assert len(digests[0]) == 2
    assert digests[1] == digests[0]


@pytest.mark.slow
@with_ray
def test_ray_starts_a_killed_worker_again_and_ctrl_c_has_all_save_and_stop(tmp_path, start):
    script = start(*LONG, "runtime.checkpoint_every=1")
    begun = until(lambda: len(found := training(tmp_path)) == 2 and found, "a run on each node", script)
    (run, victim), *_ = begun.items()
    # the worker after it may be stopped before its first step, and then has nothing to save
    until((tmp_path / "results" / "runs" / run / "last.ckpt").exists, "the run is saved", script)
    os.kill(victim, signal.SIGKILL)
    until(lambda: training(tmp_path).get(run, victim) != victim, "the run goes on in another process", script)
    workers = training(tmp_path)
    script.send_signal(signal.SIGINT)
    assert script.wait(600) == 75, (tmp_path / "said").read_text()
    assert {path.parent.name for path in tmp_path.glob("results/runs/*/last.ckpt")} == {*workers}
    all_end(workers)


@pytest.mark.slow
@with_ray
def test_ray_s_workers_end_with_a_killed_script(tmp_path, start):
    script = start(*LONG)
    workers = until(lambda: len(found := training(tmp_path)) == 2 and found, "a run on each node", script)
    script.kill()
    script.wait()
    all_end(workers)
