"""Engines that start workers: what a sweep makes of dead, stopped and lying ones. Without an engine, on make-believe
launchers; with joblib and submitit where they are installed (slow)."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL
from helpers_reliability import until
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from noisygce import results
from noisygce.check import Invalid
from noisygce.errors import ConfigError, EngineFailed, Locked, Saved, Stopped, SweepFailed, WorkerDied
from noisygce.runs import stops
from noisygce.runs.stops import process
from noisygce.settings import Runtime
from noisygce.sweep import worker
from noisygce.sweep.engines import Engine, absolute
from noisygce.sweep.jobs import from_share
from noisygce.sweep.launch import launch_all
from noisygce.sweep.plan import Plan, Planned

JOBS = [[f"loss={loss}", f"seed={seed}"] for seed in (0, 1, 2) for loss in ("ce", "gce")]
CONFIG = OmegaConf.create(
    {
        "paths": {"data": "data", "results": "results"},
        "hydra": {
            "launcher": {"_target_": "somewhere.Launcher"},
            "runtime": {"choices": {"hydra/launcher": "made_up"}},
        },
    }
)


class Workers:
    """A make-believe launcher: trains jobs one after another; one that is ``deadly`` takes the whole launch with it, as
    with joblib, leaving what a killed worker leaves."""

    def __init__(self, runs, deadly=(), once=False, writes=True):
        self.runs, self.deadly, self.once, self.writes, self.launches = runs, [*deadly], once, writes, []

    def launch(self, jobs, initial_job_idx):
        self.launches.append([job[:2] for job in jobs])
        ended = []
        for job in jobs:
            folder = self.runs / "-".join(job[:2])
            folder.mkdir(parents=True, exist_ok=True)
            if job[:2] in self.deadly:
                (folder / "owner.json").write_text(json.dumps({"pid": 1, "host": "made-up"}))
                if self.once:
                    self.deadly.remove(job[:2])
                raise RuntimeError("a worker was terminated\nat length")
            (folder / "owner.json").unlink(missing_ok=True)
            if self.writes:
                (folder / "manifest.json").write_text(job[1])
            ended.append(JobReturn(status=JobStatus.COMPLETED))
        return ended


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Makes an engine of a launcher; a run is done where its folder has a manifest."""

    class Found:
        def __init__(self, folder):
            self.state = "done" if (folder / "manifest.json").exists() else "stopped"

    monkeypatch.setattr(results, "of_folder", Found)
    planned = tuple(Planned(tuple(job), "-".join(job), {}) for job in JOBS)
    plan = Plan("", (), planned, None, {}, tmp_path)
    return lambda launcher: Engine(launcher, CONFIG, plan)


def errors(ended):
    return [end._return_value if end.status == JobStatus.FAILED else None for end in ended]


def test_a_run_that_is_reported_done_and_is_not_there_is_an_error(engine, tmp_path):
    ended = engine(launcher := Workers(tmp_path / "runs", writes=False)).launch(JOBS)
    assert all(type(error) is EngineFailed for error in errors(ended))
    assert "folder that all machines of the engine share" in str(errors(ended)[0])
    assert len(launcher.launches) == 1
    with pytest.raises(SweepFailed):
        launch_all(engine(Workers(tmp_path / "elsewhere", writes=False)).launch, JOBS)


def test_a_dead_worker_ends_one_run_and_not_the_sweep(engine, tmp_path):
    launcher = Workers(tmp_path / "runs", deadly=[JOBS[2]])
    ended = engine(launcher).launch(JOBS)
    assert [type(error) for error in errors(ended)] == [type(None)] * 2 + [WorkerDied] + [type(None)] * 3
    assert str(errors(ended)[2]) == "made_up: RuntimeError: a worker was terminated"
    assert launcher.launches == [JOBS, JOBS[3:], [JOBS[2]]]


def test_a_run_whose_worker_died_once_is_done_in_the_end(engine, tmp_path):
    launcher = Workers(tmp_path / "runs", deadly=[JOBS[0], JOBS[5]], once=True)
    assert errors(engine(launcher).launch(JOBS)) == [None] * 6
    assert launcher.launches == [JOBS, JOBS[1:], [JOBS[0]], [JOBS[5]]]


def test_an_engine_that_begins_no_run_is_tried_twice(engine):
    class Broken:
        tries = 0

        def launch(self, jobs, initial_job_idx):
            self.tries += 1
            raise FileNotFoundError("sbatch")

    ended = engine(broken := Broken()).launch(JOBS)
    assert {str(error) for error in errors(ended)} == {"made_up: FileNotFoundError: sbatch"}
    assert broken.tries == 2


def test_a_refusal_of_ours_is_no_dead_worker(engine):
    class Refuses:
        def launch(self, jobs, initial_job_idx):
            raise ConfigError("rate=2")

    with pytest.raises(ConfigError, match="rate=2"):
        engine(Refuses()).launch(JOBS)


def test_a_stop_says_how_many_runs_are_done(engine, tmp_path):
    class Stops(Workers):
        def launch(self, jobs, initial_job_idx):
            super().launch(jobs[:2], 0)
            raise Stopped("stopped (SIGINT)")

    with pytest.raises(Stopped, match=r"stopped \(SIGINT\) \(2 of 6 runs are done\)"):
        engine(Stops(tmp_path / "runs")).launch(JOBS)


def test_saved_runs_end_a_sweep_as_stopped_whatever_else_has_failed(capsys):
    failed = [JobReturn(status=JobStatus.FAILED, _return_value=e) for e in (Saved("at epoch 3"), EngineFailed("no"))]
    ended = [*failed, JobReturn(status=JobStatus.COMPLETED)]
    with pytest.raises(Stopped, match="1 of 3 runs are stopped; start the same command again"):
        launch_all(lambda _: ended, JOBS[:3])
    said = capsys.readouterr().err
    assert "1 of 3 runs are done" in said
    assert "at epoch 3" in said
    assert Saved.exit_code == Stopped.exit_code == 75


def test_folders_are_absolute_in_what_is_launched(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    paths = {"data": "data", "results": "/there/results"}
    assert absolute(["seed=0"], paths) == ["seed=0", f"paths.data={tmp_path}/data", "paths.results=/there/results"]
    own = absolute(["paths.results='it\\'s'", "seed=0"], paths)
    assert own == ["seed=0", f"paths.data={tmp_path}/data", f"paths.results='{tmp_path}/it\\'s'"]
    assert absolute(own, paths) == own


def test_only_a_process_that_an_engine_has_started_hands_a_stop_back_as_the_error_of_its_run(monkeypatch, tmp_path):
    with pytest.raises(Stopped), worker.launched(str(tmp_path)):
        raise Stopped("saved")
    monkeypatch.setattr(process, "launched", True)
    monkeypatch.setattr(worker, "_end_with_parent", lambda: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Saved, match="saved"), worker.launched("/"):
        raise Stopped("saved")
    assert Path.cwd() == Path("/")
    with pytest.raises(Locked), worker.launched("/"):
        raise Locked("held")


def test_no_further_signal_interrupts_the_handler_that_was_there_before():
    """As submitit's: it has SLURM requeue the job, which sends TERM, and ends the process."""
    own = stops.Process()
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    requeued = []

    def requeue(number, _frame):
        signal.raise_signal(signal.SIGTERM)
        requeued.append(number)
        raise SystemExit(-1)

    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, requeue)
        own.listen()
        with pytest.raises(SystemExit), own.handing_on():
            signal.raise_signal(signal.SIGUSR2)
        assert requeued == [signal.SIGUSR2]
        signal.raise_signal(signal.SIGTERM)
    finally:
        for name in stops.SIGNALS:
            signal.signal(getattr(signal, name), before.get(getattr(signal, name), signal.SIG_DFL))
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_shares_are_the_whole_list_each_beginning_at_its_own_part():
    for workers in (1, 2, 4, 6, 9):
        lists = [from_share(JOBS, (i, workers)) for i in range(workers)]
        assert all(sorted(each) == sorted(JOBS) for each in lists)
        part = len(JOBS) // workers
        begun = [tuple(job) for each in lists for job in each[:part]]
        assert len({*begun}) == len(begun) == part * workers
    assert from_share(JOBS, Runtime.share_of(None)) == JOBS
    assert from_share([], (1, 2)) == []


@pytest.mark.parametrize("share", ["2/2", "-1/2", "1", "0/0", 0.5, "a/b", "1/2/3"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(Invalid, match="share"):
        Runtime.share_of(share)


# With real engines, below.

SWEEP = [*SMALL, "runtime.threads=1", "loss=ce,gce", "seed=0"]
LONG = ["schedule.epochs=100000", "runtime.keep_model=none", "runtime.keep_predictions=false"]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
LOCAL = ["hydra/launcher=submitit_local"]


@pytest.fixture
def start():
    """Starts a sweep in a session of its own, as in a terminal of its own; nothing of it outlives the test."""
    begun = []

    def start(folder, *arguments):
        begun.append(sweep(folder, *arguments))
        return begun[-1]

    yield start
    for each in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.wait()


def sweep(folder, *arguments):
    with open(folder / "said", "w") as said:
        command = [sys.executable, "-m", "noisygce.train", "-m", *SWEEP, *arguments]
        return subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True)


def training(folder, at_least=1):
    """The processes that train a run each, by run, once there are so many."""
    found = {}
    for run in folder.glob("results/runs/*"):
        metrics = run / "metrics.csv"
        if results.of_folder(run).state == "running" and metrics.exists() and metrics.stat().st_size:
            found[run.name] = json.loads((run / "owner.json").read_text())["pid"]
    return found if len(found) >= at_least else None


def digests(folder):
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("results/runs/*/manifest.json")}
    return {name: manifest["state_sha256"] for name, manifest in found.items()}


def said(folder):
    return (folder / "said").read_text()


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """The digests of the sweep as one process trains it."""
    folder = tmp_path_factory.mktemp("sequential")
    assert sweep(folder).wait(600) == 0, said(folder)
    found = digests(folder)
    assert len(found) == 2
    return found


def installed(launcher):
    return pytest.mark.skipif(
        subprocess.run([sys.executable, "-c", f"import hydra_plugins.{launcher}"], capture_output=True).returncode != 0,
        reason=f"needs {launcher}",
    )


with_joblib = installed("hydra_joblib_launcher")
with_submitit = installed("hydra_submitit_launcher")
each_engine = pytest.mark.parametrize(
    "engine",
    [pytest.param(JOBLIB, marks=with_joblib, id="joblib"), pytest.param(LOCAL, marks=with_submitit, id="local")],
)


@pytest.mark.slow
@each_engine
def test_an_engine_trains_the_runs_of_a_sequential_sweep_bit_for_bit(tmp_path, start, sequential, engine):
    assert start(tmp_path, *engine).wait(600) == 0, said(tmp_path)
    assert "2 of 2 runs are done" in said(tmp_path)
    assert digests(tmp_path) == sequential


@pytest.mark.slow
@each_engine
def test_a_killed_worker_ends_no_run_but_its_own_and_that_one_is_launched_again(tmp_path, start, engine):
    slow = ["runtime.checkpoint_every=1", "schedule.epochs=300"]  # long enough to be killed
    alone = tmp_path / "alone"
    alone.mkdir()
    assert start(alone, "schedule.epochs=300").wait(600) == 0, said(alone)
    sweep = start(tmp_path, *engine, *slow)
    victim = min(until(lambda: training(tmp_path), "a run has begun", sweep).values())
    os.kill(victim, signal.SIGKILL)
    assert sweep.wait(600) == 0, said(tmp_path)
    assert "its worker has died; it is launched once more, alone" in said(tmp_path)
    assert "bad config" not in said(tmp_path)
    assert digests(tmp_path) == digests(alone)


@pytest.mark.slow
@with_joblib
@pytest.mark.parametrize("signals", ["Ctrl-C", "TERM"])
def test_joblib_s_workers_save_when_their_sweep_is_stopped(tmp_path, start, signals):
    sweep = start(tmp_path, *JOBLIB, *LONG)
    workers = until(lambda: training(tmp_path, 2), "two runs are under way", sweep)
    if signals == "TERM":
        sweep.terminate()
    else:
        os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does
    assert sweep.wait(600) == 75, said(tmp_path)
    assert "0 of 2 runs are done" in said(tmp_path)
    assert "start the same command again" in said(tmp_path)
    assert {path.parent.name for path in tmp_path.glob("results/runs/*/last.ckpt")} == {*workers}
    until(lambda: all(map(gone, workers.values())), "the workers are gone")


@pytest.mark.slow
@with_joblib
def test_joblib_s_workers_save_and_end_once_their_parent_is_gone(tmp_path, start):
    sweep = start(tmp_path, *JOBLIB, *LONG)
    workers = until(lambda: training(tmp_path, 2), "two runs are under way", sweep)
    sweep.kill()
    sweep.wait()
    until(lambda: all(map(gone, workers.values())), "the workers are gone")
    assert {path.parent.name for path in tmp_path.glob("results/runs/*/last.ckpt")} == {*workers}


@pytest.mark.slow
@with_submitit
def test_a_job_of_submitit_that_gets_term_saves_and_the_sweep_asks_to_be_started_again(tmp_path, start):
    sweep = start(tmp_path, *LOCAL, *LONG, "loss=ce")
    (run, worker), *_ = until(lambda: training(tmp_path), "a run is under way", sweep).items()
    os.kill(worker, signal.SIGTERM)
    assert sweep.wait(600) == 75, said(tmp_path)
    assert "(SIGTERM)" in said(tmp_path)
    assert (tmp_path / "results" / "runs" / run / "last.ckpt").exists()


@pytest.mark.slow
@with_submitit
def test_jobs_of_submitit_that_stay_are_named_with_the_command_that_ends_them(tmp_path, start):
    sweep = start(tmp_path, *LOCAL, *LONG, "loss=ce")
    workers = until(lambda: training(tmp_path), "a run is under way", sweep)
    sweep.terminate()
    assert sweep.wait(600) == 75, said(tmp_path)
    command = said(tmp_path).partition("to end them: ")[2].split()
    assert command[0] == "kill"
    subprocess.run(command, check=True)
    until(lambda: all(map(gone, workers.values())), "the jobs are gone")
    assert [path.parent.name for path in tmp_path.glob("results/runs/*/last.ckpt")] == [*workers]
