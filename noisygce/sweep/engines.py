"""Engines: the launchers of Hydra that start runs in processes of their own, such as joblib's and submitit's: where
results go, which runs are done, which worker has died."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from noisygce import results
from noisygce.errors import EngineFailed, NoisygceError, Stopped, WorkerDied, first_line
from noisygce.runs.messages import HOW_TO_RESUME
from noisygce.runs.stops import process

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher

    from noisygce.sweep.jobs import Job
    from noisygce.sweep.plan import Plan

log = logging.getLogger("noisygce")

_PATHS = ("data", "results")  # of the config


def is_engine(config: DictConfig) -> bool:
    """Whether the launcher of a config starts processes."""
    return not str(config.hydra.launcher._target_).endswith(".BasicLauncher")


class Engine:
    """A launcher whose workers may die, be stopped, or write elsewhere."""

    def __init__(self, launcher: Launcher, config: DictConfig, plan: Plan) -> None:
        """config: of the sweep, with Hydra's own values."""
        self.launcher, self.config = launcher, config
        self.folders = {run.job: plan.results / "runs" / run.id for run in plan.runs}
        self.name = str(config.hydra.runtime.choices["hydra/launcher"])
        self.jobs_left: list[Any] = []  # of submitit, as it calls what it has submitted

    def launch(self, jobs: Sequence[Job]) -> list[JobReturn]:
        """How each run has ended. A run whose worker has died is launched once more, alone: its end is then its own.

        Raises Stopped, which says how many runs are done and what the engine leaves running.
        """
        try:
            return self._launch_all(jobs)
        except Stopped as stopped:
            done = sum(self._is_done(job) for job in jobs)
            raise Stopped(f"{stopped} ({done} of {len(jobs)} runs are done){self._left_running()}") from None

    def _launch_all(self, jobs: Sequence[Job]) -> list[JobReturn]:
        ended: dict[int, JobReturn] = {}
        waiting, lost, idle = list(range(len(jobs))), [], 0
        while waiting:
            claimed = {place: self._claimed(jobs[place]) for place in waiting}
            try:
                found = self._call([jobs[place] for place in waiting])
                ended.update(zip(waiting, found, strict=True))
                lost += [place for place, end in zip(waiting, found, strict=True) if _worker_died(end)]
                break
            except Exception as error:  # one worker has died, and with it what the engine knew of all runs
                if isinstance(error, NoisygceError):
                    raise
                self._raise_if_stopped()
                log.warning(f"{self.name}: {first_line(error)}")
                before = len(waiting)
                for place in [place for place in waiting if self._is_done(jobs[place])]:
                    ended[place] = JobReturn(status=JobStatus.COMPLETED)
                    waiting.remove(place)
                died = [place for place in waiting if self._claimed(jobs[place]) != claimed[place]]
                waiting = [place for place in waiting if place not in died]
                lost += died
                idle = idle + 1 if before == len(waiting) else 0
                if idle == 2:  # it dies before it begins a run
                    ended.update((place, self._failed(error)) for place in waiting)
                    break
        for place in lost:
            self._raise_if_stopped()
            log.warning(f"{' '.join(jobs[place])}: its worker has died; it is launched once more, alone")
            ended[place] = self._call_alone(jobs[place])
        return [ended[place] for place in range(len(jobs))]

    def _raise_if_stopped(self) -> None:
        if process.signal:
            raise Stopped(f"stopped ({process.signal}); {HOW_TO_RESUME}")

    def _call_alone(self, job: Job) -> JobReturn:
        try:
            return self._call([job])[0]
        except NoisygceError:
            raise
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> JobReturn:
        return _failure(WorkerDied(f"{self.name}: {first_line(error)}"))

    def _call(self, jobs: Sequence[Job]) -> list[JobReturn]:
        """Has the engine train, with the same folders wherever it does; a run that it calls done is looked for."""
        paths = {key: str(self.config.paths[key]) for key in _PATHS}
        with self._prepared():
            ended = self.launcher.launch([absolute(job, paths) for job in jobs], initial_job_idx=0)
        return [self._looked_for(job, end) for job, end in zip(jobs, ended, strict=True)]

    def _looked_for(self, job: Job, end: JobReturn) -> JobReturn:
        if end.status == JobStatus.FAILED or self._is_done(job):
            return end
        return _failure(
            EngineFailed(
                f"{self.name} reports this run as done, and {self._folder(job)} has no manifest: paths.results must be "
                "a folder that all machines of the engine share"
            )
        )

    def _folder(self, job: Job) -> Path:
        return self.folders[tuple(job)]

    def _is_done(self, job: Job) -> bool:
        folder = self._folder(job)
        with contextlib.suppress(OSError):  # reading a folder has NFS look again
            os.listdir(folder.parent)
            os.listdir(folder)
        return results.of_folder(folder).state == "done"

    def _claimed(self, job: Job) -> int:
        """When a process claimed the run that has not let go of it; 0 where none did. A killed one never lets go."""
        try:
            return (self._folder(job) / "owner.json").stat().st_mtime_ns
        except OSError:
            return 0

    @contextlib.contextmanager
    def _prepared(self) -> Iterator[None]:
        target = str(self.config.hydra.launcher._target_)
        if "joblib" in target:
            with _passing_signals_on():
                yield
        elif "submitit" in target:
            with self._waiting_for_each_job():
                yield
        else:
            yield

    @contextlib.contextmanager
    def _waiting_for_each_job(self) -> Iterator[None]:
        """Submitit's launcher gives up all jobs at the first that has died, and does not tell which it has submitted.
        Within this a dead job is a failed run."""
        import submitit

        patched: Any = submitit.AutoExecutor
        submit = patched.map_array
        died = self._failed

        class Waited:
            def __init__(self, job: Any) -> None:
                self.job = job

            def results(self) -> list[Any]:
                try:
                    return list(self.job.results())
                except Exception as error:
                    return [died(error)]

        def map_array(executor: Any, *args: Any) -> list[Any]:
            self.jobs_left = list(submit(executor, *args))
            return [Waited(job) for job in self.jobs_left]

        patched.map_array = map_array
        try:
            yield
        finally:
            patched.map_array = submit

    def _left_running(self) -> str:
        """What runs on when this process has ended, and the command that ends it."""
        local = "local" in self.name
        patience = time.monotonic() + (3 if local else 0)  # a terminal's Ctrl-C has reached local jobs too
        while left := [str(job.job_id) for job in self.jobs_left if not job.done(force_check=True)]:
            if time.monotonic() >= patience:
                break
            time.sleep(0.1)
        if not left:
            return ""
        names = left if local else dict.fromkeys(name.partition("_")[0] for name in left)
        command = "kill" if local else "scancel"
        return f"; {len(left)} of its jobs are still there: to end them: {command} {' '.join(names)}"


def absolute(job: Job, paths: Mapping[str, str]) -> Job:
    """A job whose folders are the same wherever it is started. paths: the folders of a job that sets none."""
    from noisygce.settings.compose import parsed, setting

    found, rest = dict(paths), []
    for override in job:
        key = override.partition("=")[0].lstrip("+")
        if key in {f"paths.{name}" for name in _PATHS}:
            found[key.partition(".")[2]] = str(parsed([override])[0].value())
        else:
            rest.append(override)
    return [*rest, *(setting(f"paths.{key}", str(Path(value).expanduser().absolute())) for key, value in found.items())]


def _failure(error: Exception) -> JobReturn:
    end = JobReturn(status=JobStatus.FAILED)
    end.return_value = error
    return end


def _worker_died(end: JobReturn) -> bool:
    return end.status == JobStatus.FAILED and isinstance(end._return_value, WorkerDied)


@contextlib.contextmanager
def _passing_signals_on() -> Iterator[None]:
    """Within it a signal does not end this process but reaches its workers, which save; a second Ctrl-C ends it."""
    over = threading.Event()

    def pass_on() -> None:
        while not over.wait(0.2):
            if process.signal:
                for child in multiprocessing.active_children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child.pid or 0, signal.SIGTERM)
                return

    with process.training():
        threading.Thread(target=pass_on, daemon=True).start()
        try:
            yield
        finally:
            over.set()
