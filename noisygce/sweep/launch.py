"""Launching a plan: the runs that are not finished, each kind checked before the first one starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from hydra.core.utils import JobReturn, JobStatus

from noisygce import results
from noisygce.errors import Locked, SweepFailed
from noisygce.settings import command
from noisygce.sweep.jobs import Job, kind
from noisygce.sweep.plan import Plan, identities, plan_of

Launch = Callable[[Sequence[Job]], Sequence[JobReturn]]
Say = Callable[[str], object]


def _to_stderr(line: str) -> None:
    print(command.printable(line), file=sys.stderr)


def plan_and_train(
    arguments: Sequence[str], launch: Launch, say: Say = _to_stderr, followed: bool = False
) -> tuple[Plan, list[JobReturn]]:
    """The plan of a sweep, and how the runs ended that were not finished before.

    launch: trains jobs. say: receives the lines of the end. followed: finished runs are launched too, since their
    loggers may lack them. Raises ConfigError before any run starts, SweepFailed where some have failed.
    """
    plan = plan_of(arguments, launching=True)
    folder = plan.results / "runs"
    finished = [not followed and results.of_folder(folder / run.id).state == "done" for run in plan.runs]
    jobs = [[*run.job] for run, is_finished in zip(plan.runs, finished, strict=True) if not is_finished]
    if not plan.composed:  # a stored plan is not trusted: each kind of run that is left is checked
        hydra = [argument for argument in arguments if argument.startswith("hydra.")]
        list(identities([*{kind(job): job for job in jobs}.values()], hydra, launching=True))
    return plan, launch_all(launch, jobs, sum(finished), say)


def launch_all(launch: Launch, jobs: Sequence[Job], done: int = 0, say: Say = _to_stderr) -> list[JobReturn]:
    """Launches runs, launches once more those that another process held, and says how all ended.

    done: how many more runs of the sweep were finished before. say: receives each line. Raises SweepFailed.
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
    if codes := [command.exit_code(error) for _, error in errors if not isinstance(error, Locked)]:
        raise SweepFailed(f"{len(codes)} of {total} runs failed", codes)
    return ended


def _error(end: JobReturn) -> BaseException | None:
    return end._return_value if end.status == JobStatus.FAILED else None
