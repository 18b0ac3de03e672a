"""What a run says to the person who started it: on the console, in its train.log."""

from __future__ import annotations

import contextlib
import functools
import logging
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisygce import settings
from noisygce.data import remarks
from noisygce.data.preprocessing import merged
from noisygce.errors import counted, user_code_error
from noisygce.losses import Loss
from noisygce.runs import atomic
from noisygce.runs.begin import seconds_on_a_core
from noisygce.runs.manifest import ORACLES, RULES
from noisygce.runs.run import Run
from noisygce.settings.command import printable
from noisygce.training import hardware

if TYPE_CHECKING:
    from noisygce.training.fit import Training
    from noisygce.training.task import Task

log = logging.getLogger("noisygce")

HOW_TO_RESUME = "start the same command again to resume"


def to_console(level: int = logging.INFO) -> None:
    """From now on messages of this level or above go to standard error, once each however often this is called."""
    logging.raiseExceptions = False  # a full disk gives one line, not one for train.log too
    for former in [handler for handler in log.handlers if handler.name == "console"]:
        log.removeHandler(former)
    console = logging.StreamHandler()
    console.name = "console"
    console.setLevel(level)
    console.setFormatter(_Named())
    log.addHandler(console)
    log.setLevel(logging.DEBUG)


class _Printable(logging.Formatter):
    """Messages without control characters, which a name in them may have."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


class _Named(_Printable):
    """Runs side by side say which they are: each is a thread that has the run's id as its name."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        name = str(record.threadName)
        alone = threading.current_thread() is threading.main_thread()
        return line if alone or line.startswith(name) else f"{name}: {line}"


@contextlib.contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Within it the messages of this thread, a run's, are appended to a file too, with their times."""
    thread = threading.current_thread()
    name = thread.name
    if thread is not threading.main_thread():
        thread.name = path.parent.name
    with atomic.appended(path) as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(_Printable("%(asctime)s %(message)s"))
        handler.addFilter(lambda record: record.thread == thread.ident)  # no messages of runs side by side
        log.addHandler(handler)
        try:
            yield
        finally:
            thread.name = name
            log.removeHandler(handler)


@contextlib.contextmanager
def trace() -> Iterator[None]:
    """Within it an error in a person's own code is written down with its whole trace, not on the console."""
    try:
        yield
    except Exception as error:
        if user_code_error(error):
            log.debug("", exc_info=True)
        raise


def result(called: object, manifest: Mapping[str, Any]) -> str:
    """The line of a finished run, ``called`` by its folder or its id: test accuracy under every selection rule.

    Without a test set: accuracy on noisy validation, and the command that finds wrong labels.
    """
    shares = manifest["results"]
    loss = manifest["config"]["loss"]
    shown = {key: value for key, value in loss.items() if isinstance(value, int | float | str)}
    if rate := manifest.get("forget_rate"):
        shown["forget_rate"] = f"estimated {rate['rate']:.4f}"
    values = ", ".join(f"{key}={value}" for key, value in shown.items() if key not in ("_target_", "name"))
    name = printable(f"{called} ({values})" if values else f"{called}")
    if not any(share is not None for share in shares.values()):
        noisy = manifest.get("noisy_validation", {})
        held_out = [f"{when} {100 * share:.2f}" for when, share in noisy.items() if share is not None]
        known = f"accuracy on noisy validation in %: {', '.join(held_out)}" if held_out else "nothing held out either"
        run = shlex.quote(str(called)) if isinstance(called, Path) else manifest["run_id"]
        return f"{name}: no test set; {known}; its probably wrong labels: python -m noisygce.suspects {run}"
    percent = {rule: f"{rule} {'-' if shares[rule] is None else format(100 * shares[rule], '.2f')}" for rule in RULES}
    rules, oracles = ([percent[r] for r in RULES if (r in ORACLES) == oracle] for oracle in (False, True))
    return f"{name}: test accuracy in %: {', '.join(rules)}; oracles: {', '.join(oracles)}"


def pruning(rounds: Sequence[Mapping[str, Any]]) -> None:
    """Says what the last round of pruning came to."""
    row, before = rounds[-1], rounds[-2] if len(rounds) > 1 else None

    def percent(share: float | None) -> str:
        return "-" if share is None else f"{100 * share:.1f} %"

    if before is not None and row["by_epoch"] == before["by_epoch"]:
        log.info(f"pruned by the model of epoch {row['by_epoch']} again: the kept set stays the same")
        return
    kept, precision, recall = (percent(row[key]) for key in ("kept_share", "precision", "recall"))
    found = "it is unknown which of the others are mislabelled" if row["kept_share"] < 1 else "nothing is pruned"
    if row["precision"] is not None or row["recall"] is not None:
        found = f"{precision} of the pruned are mislabelled, {recall} of the mislabelled are pruned"
    log.info(f"pruned by the model of epoch {row['by_epoch']}: {kept} are kept, {found}")
    if row["warning"]:
        log.warning(row["warning"])


def begin(run: Run, training: Training, place: str) -> None:
    """Says, before the first step of a run, where it trains, how long that takes on a CPU, and what will not happen."""
    log.info(f"{run.id}: {counted(len(training.train), 'image')} on {place}")
    if judged := training.task.verdicts:
        log.info(f"verdicts: {', '.join(f'{kind} {count:,}' for kind, count in judged.items())}")
    if any(key.startswith("data.") for key in run.identity.get("contents", {})):
        _own_data(training)
    if 0 < (held_out := len(training.validation)) < 100:
        log.info(f"{counted(held_out, 'validation sample')}: one is {100 / held_out:.1f} points")
    if place == "cpu":
        _how_long(training, run.identity["data"]["name"] == "cifar10")
    for line in never_reached(training):
        log.warning(line)
    if wrong := majority_flipped_classes(training.task):
        log.warning(
            f"rate={run.identity['rate']}: in {len(wrong)} of {len(training.task.arrays.classes)} classes another "
            "label is likelier than the true one: a loss that is not told T learns that one"
        )
    if not len(training.validation):
        log.info(
            "nothing is held out for validation: the rules val and val_clean have no number, the last model is kept"
        )


def never_reached(training: Training) -> Iterator[str]:
    """The epochs and steps that are configured and come after the end of a run, each with its outcome."""
    schedule, pruning = training.schedule, training.pruning
    epochs = counted(schedule.epochs, "epoch")
    steps = schedule.epochs * len(training.loader.sizes(len(training.train)))
    for loss, key in _parts(training.loss, "loss"):
        for name, outcome in loss.needs_epochs.items():
            if (epoch := getattr(loss, name)) is not None and epoch >= schedule.epochs:
                yield f"{key}.{name}={epoch}, and this run ends after {epochs}: {outcome}"
        for name, outcome in loss.needs_steps.items():
            if (step := getattr(loss, name)) > steps:
                yield f"{key}.{name}={step}, and this run ends after {counted(steps, 'step')}: {outcome}"
    if training.loss.prunes and pruning.start >= schedule.epochs:
        yield f"prune.start={pruning.start}, and this run ends after {epochs}: nothing is pruned"
    if late := [epoch for epoch in schedule.milestones if epoch >= schedule.epochs]:
        yield (
            f"schedule.milestones={schedule.milestones}, and this run ends after {epochs}: the learning rate does not "
            f"fall after {', '.join(map(str, late))}"
        )
    if schedule.ema is not None and (left := schedule.ema**steps) > 0.01:
        yield (
            f"schedule.ema={schedule.ema:g}, and this run ends after {counted(steps, 'step')}: {100 * left:.0f} % of "
            "the average that is evaluated are initial weights"
        )


def _parts(loss: Loss, key: str) -> Iterator[tuple[Loss, str]]:
    """A loss and the losses that it is made of, each with its key."""
    yield loss, key
    for name, part in loss.parts().items():
        yield from _parts(part, f"{key}.{name}")


@functools.cache
def workers() -> None:
    """Says, once a process, how a sweep uses more than this one core."""
    log.info("the same command, started a second time beside this one, is a second worker: they share the runs")


def _own_data(training: Training) -> None:
    """Says how a person's own labels and vectors were understood, and what of it looks odd."""
    arrays, pixels = training.task.arrays, training.images.pixels
    log.info(remarks.counted(arrays))
    for line in remarks.odd(arrays):
        log.warning(line)
    if pixels.is_floating_point():
        some = slice(None, None, -(-len(pixels) // 10_000))
        vectors = arrays.train_images[some].reshape(-1, pixels.shape[-1])
        if lost := merged(vectors, pixels[some].flatten(1).cpu().numpy()):
            far, unscaled = "some lie too far from the others", "data.normalise=standard scales them first"
            log.warning(
                f"{len(lost):,} of {pixels.shape[-1]:,} columns of data.features, column {lost[0]} first: different "
                f"values become equal in float32 ({far if training.images.units else unscaled})"
            )


def majority_flipped_classes(task: Task) -> list[int]:
    """The classes y of which another label is likelier than y: T[y, y] is not the largest of its row. Empty where
    it is not known which labels are true."""
    return [y for y, row in enumerate(task.transition) if task.arrays.truth and row[y] < max(row) - 1e-9]


_COMPACT = "table_cifar10_compact"  # the table of real images that a CPU can fill
_SMOKE = "experiment=cifar10_compact"  # a whole run of it on 2,000 images, half a minute of a core; tgce prunes in it


def _how_long(training: Training, cifar10: bool) -> None:
    seconds = training.estimate()
    if training.precision == "bf16" and not hardware.fast_bf16_cpu():
        log.info("this processor emulates bf16: precision=fp32 is faster here, and is another run")
    if seconds > 600:
        smoke = f"{_SMOKE if cifar10 else 'model=resnet8 schedule.epochs=4 prune.start=2'} data.subset=2000"
        log.info(
            f"no GPU: this run will take about {duration(seconds)} here; for a smoke run: {smoke}; for a whole run in "
            "seconds: data=digits"
        )
    if seconds > 7200 and cifar10:
        compact = seconds_on_a_core(settings.read(settings.compose([f"experiment={_COMPACT}"])))
        log.info(
            f"a table of CIFAR-10 for a CPU, with a compact network: -m experiment={_COMPACT}; a run of it takes about "
            f"{duration(compact)} of one core"
        )


def duration(seconds: float) -> str:
    """A time, to two digits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
