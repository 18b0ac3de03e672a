"""Launching a plan: the runs that are not finished, each kind checked before the first one starts."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence

from hydra.core.utils import JobReturn, JobStatus

from noisygce import results
from noisygce.errors import Locked, Saved, Stopped, SweepFailed
from noisygce.runs import Run
from noisygce.runs.messages import HOW_TO_RESUME
from noisygce.settings import command
from noisygce.sweep.jobs import Job, from_share, kind
from noisygce.sweep.plan import Plan, identities, plan_of

Launch = Callable[[Sequence[Job]], Sequence[JobReturn]]
Say = Callable[[str], object]


def _to_stderr(line: str) -> None:
    print(command.printable(line), file=sys.stderr)


def plan_and_train(
    arguments: Sequence[str],
    launch: Callable[[Plan, Sequence[Job]], Sequence[JobReturn]],
    say: Say = _to_stderr,
    followed: bool = False,
    share: tuple[int, int] = (0, 1),
) -> tuple[Plan, list[JobReturn]]:
    """The plan of a sweep, and how the runs ended that were not finished before.

    launch: trains jobs of the plan. say: receives the lines of the end. followed: finished runs are launched too,
    since their loggers may lack them. share: which worker this is, of how many (``from_share``). Raises ConfigError
    before any run starts, SweepFailed where some have failed, Stopped where a worker was asked to stop.
    """
    plan = plan_of(arguments, launching=True)
    folder = plan.results / "runs"
    finished = [not followed and results.of_folder(folder / run.id).state == "done" for run in plan.runs]
    for run in itertools.compress(plan.runs, finished):
        Run(plan.results, run.identity).drop_left_over()
    jobs = [[*run.job] for run, is_finished in zip(plan.runs, finished, strict=True) if not is_finished]
    if not plan.composed:  # a stored plan is not trusted: each kind of run that is left is checked
        hydra = [argument for argument in arguments if argument.startswith("hydra.")]
        list(identities([*{kind(job): job for job in jobs}.values()], hydra, launching=True))
    jobs = from_share(jobs, share)
    return plan, launch_all(lambda some: launch(plan, some), jobs, sum(finished), say)


def launch_all(launch: Launch, jobs: Sequence[Job], done: int = 0, say: Say = _to_stderr) -> list[JobReturn]:
    """Launches runs, launches once more those that another process held, and says how all ended.

    done: how many more runs of the sweep were finished before. say: receives each line. Raises SweepFailed, or Stopped
    where a worker was asked to stop.
    """
    ended = list(launch(jobs)) if jobs else []
    if held := [place for place, end in enumerate(ended) if isinstance(_error(end), Locked)]:
        for place, end in zip(held, launch([jobs[place] for place in held]), strict=True):
            ended[place] = end
    errors = [(job, error) for job, end in zip(jobs, ended, strict=True) if (error := _error(end)) is not None]
    total = done + len(ended)
    say(f"{total - len(errors)} of {total} runs are done")
    by_reason: dict[str, list[Job]] = {}
    for job, error in errors:
        by_reason.setdefault(str(error) or type(error).__name__, []).append(job)
    for reason, same in by_reason.items():
        more = f", and {len(same) - 1} more" if len(same) > 1 else ""
        say(f"  {' '.join(same[0])}{more}: {reason}")
    if saved := sum(isinstance(error, Saved) for _, error in errors):
        raise Stopped(f"{saved} of {total} runs are stopped; {HOW_TO_RESUME}")
    if codes := [command.exit_code(error) for _, error in errors if not isinstance(error, Locked)]:
        raise SweepFailed(f"{len(codes)} of {total} runs failed", codes)
    return ended


def _error(end: JobReturn) -> BaseException | None:
    return end._return_value if end.status == JobStatus.FAILED else None
