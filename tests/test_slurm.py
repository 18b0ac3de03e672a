"""The array script and submitit on a real SLURM of one node, started here: time limit, requeue, cancel, and starting
again."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
from helpers_reliability import until

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("slurmctld") and shutil.which("munged") and os.geteuid() == 0),
        reason="needs slurmctld and munge (Debian: slurm-wlm), and root to start them",
    ),
]
GRID = ["data=digits", "loss=ce,gce", "seed=range(6)", "schedule.epochs=60", "runtime.threads=1"]


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster of this machine alone, two cores, with its own configuration and state."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    conf = tmp_path / "slurm.conf"
    conf.write_text(
        f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=17817
SlurmdPort=17818
AuthType=auth/munge
StateSaveLocation={tmp_path}/state
SlurmdSpoolDir={tmp_path}/spool
SlurmctldPidFile={tmp_path}/slurmctld.pid
SlurmdPidFile={tmp_path}/slurmd.pid
SlurmctldLogFile={tmp_path}/slurmctld.log
SlurmdLogFile={tmp_path}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=5
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
    )
    monkeypatch.setenv("SLURM_CONF", str(conf))
    if not Path("/etc/munge/munge.key").exists():
        Path("/etc/munge/munge.key").write_bytes(os.urandom(1024))
        shutil.chown("/etc/munge/munge.key", "munge", "munge")
        Path("/etc/munge/munge.key").chmod(0o400)
    if subprocess.run(["munge", "-n"], capture_output=True).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged --force"], check=True, capture_output=True)
    subprocess.run(["slurmctld"], check=True)
    subprocess.run(["slurmd"], check=True)
    until(lambda: "idle" in slurm_says("sinfo", "-h", "-o", "%T"), "the node is up")
    yield
    subprocess.run(["scancel", "--user=root"], capture_output=True)
    until(lambda: slurm_says("squeue", "-h") == "", "the queue is empty")
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run(["kill", (tmp_path / f"{daemon}.pid").read_text().strip()], capture_output=True)


def slurm_says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def state(job: str) -> str:
    return re.search(r"JobState=(\w+)", slurm_says("scontrol", "show", "job", job))[1]


def submit(folder: Path, *options: str, python: str | Path = sys.executable) -> str:
    return slurm_says(
        *["sbatch", "--parsable", f"--chdir={folder}", "--cpus-per-task=1", "--mem=100", *options],
        *[
            f"--export=ALL,PYTHON={python},PYTHONPATH={ROOT},SLURM_CPU_BIND=cores",
            str(ROOT / "scripts" / "slurm_array"),
            *GRID,
        ],
    )


@pytest.mark.usefixtures("cluster")
def test_a_grid_survives_time_limit_requeue_and_cancel_and_no_run_is_trained_twice(tmp_path):
    folder = tmp_path / "work"
    (folder / "results" / "logs").mkdir(parents=True)
    runs = folder / "results" / "runs"

    def started() -> int:
        return len(list(runs.glob("*/train.log")))

    # Task 0 meets its time limit: USR1 comes 40 s before the minute is over, and it asks for another turn.
    job = submit(folder, "--array=0", "--time=1", "--signal=USR1@40")
    until(lambda: started() >= 1, "a run has started")
    until(lambda: state(f"{job}_0") == "PENDING", "it is back in the queue before its time is over")
    log = next((folder / "results" / "logs").glob("slurm-*_0.log")).read_text()
    assert "(SIGUSR1)" in log, log

    # Two more: one is requeued, as by preemption, and one cancelled, in the middle of their work.
    others = submit(folder, "--array=1-2", "--time=5")
    before = started()
    until(lambda: started() >= before + 1, "more runs have started")
    slurm_says("scontrol", "requeue", f"{others}_1")
    slurm_says("scancel", f"{others}_2")
    until(lambda: state(f"{others}_1") == "PENDING", "the requeued task waits")
    until(lambda: state(f"{others}_2") == "CANCELLED", "the cancelled task is gone")

    # The waiting tasks go on, and one more submission fills what the cancelled one left.
    for task in (f"{job}_0", f"{others}_1"):
        slurm_says("scontrol", "update", f"jobid={task}", "StartTime=now", "TimeLimit=5")
    again = submit(folder, "--array=0", "--time=5")
    manifests = lambda: list(runs.glob("*/manifest.json"))  # noqa: E731
    until(lambda: len(manifests()) == 12, "all twelve runs are done")
    until(lambda: slurm_says("squeue", "-h") == "", f"the queue is empty, {again} included")

    for path in manifests():
        assert json.loads(path.read_text())["run_id"] == path.parent.name
        epochs = re.findall(r"epoch (\d+)/60:", (path.parent / "train.log").read_text())
        assert epochs == [str(e) for e in range(1, 61)], f"{path.parent.name}: each epoch exactly once, in order"


@pytest.mark.usefixtures("cluster")
def test_a_worker_has_all_the_cores_of_its_task(tmp_path):
    """Where tasks are bound to cores, Slurm 22.05 binds a step to one core unless srun is told how many."""
    (tmp_path / "results" / "logs").mkdir(parents=True)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho cores: $(nproc)\n")
    python.chmod(0o755)
    submit(tmp_path, "--array=0", "--cpus-per-task=2", "--time=1", python=python)
    until(lambda: slurm_says("squeue", "-h") == "", "the queue is empty")
    assert "cores: 2" in next((tmp_path / "results" / "logs").glob("slurm-*_0.log")).read_text()


@pytest.mark.usefixtures("cluster")
@pytest.mark.skipif(not util.find_spec("submitit"), reason="needs hydra-submitit-launcher")
def test_submitit_s_job_saves_at_its_time_limit_is_requeued_by_submitit_and_resumes(tmp_path):
    run = ["data=digits", "data.subset=200", "model.width=4", "schedule.epochs=100000", "runtime.threads=1"]
    # Submitit has USR2 sent a minute before the time is over; between two turns SLURM waits for two minutes.
    engine = ["hydra/launcher=submitit_slurm", "timeout_min=2", "signal_delay_s=60", "max_num_timeout=9"]
    words = [engine[0], *(f"hydra.launcher.{word}" for word in (*engine[1:], "cpus_per_task=1"))]
    words += ["+hydra.launcher.additional_parameters.mem=300"]
    with open(tmp_path / "said", "w") as said:
        command = [sys.executable, "-m", "noisygce.train", "-m", *run, *words]
        sweep = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=said)

    def going() -> bool:
        assert sweep.poll() is None, (tmp_path / "said").read_text()
        return True

    try:
        until(lambda: going() and list(tmp_path.glob("results/runs/*/metrics.csv")), "the run is under way")
        job = slurm_says("squeue", "-h", "-o", "%A")
        until(lambda: going() and state(job) == "PENDING", "it is back in the queue before its time is over")
        (checkpoint,) = tmp_path.glob("results/runs/*/last.ckpt")
        log = checkpoint.parent / "train.log"
        before = len(epochs(log))
        assert before > 0
        slurm_says("scontrol", "update", f"jobid={job}", "StartTime=now", "TimeLimit=5")
        until(lambda: going() and len(epochs(log)) > before, "its second turn trains")
        assert epochs(log) == [*range(1, len(epochs(log)) + 1)], "each epoch exactly once, in order"
        sweep.terminate()
        assert sweep.wait(600) == 75
        ends = re.search(r"to end them: (scancel \d+)", (tmp_path / "said").read_text())
        assert ends, (tmp_path / "said").read_text()
        slurm_says(*ends[1].split())
        until(lambda: slurm_says("squeue", "-h") == "", "the queue is empty")
    finally:
        sweep.kill()
        sweep.wait()


def epochs(log: Path) -> list[int]:
    return [int(number) for number in re.findall(r" epoch (\d+)/", log.read_text())]
