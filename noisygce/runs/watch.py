"""What goes on around the steps: the progress bar, checkpoints by time, and requests to stop."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from noisygce.errors import Stopped
from noisygce.runs import checkpoint
from noisygce.runs.messages import GO_ON, duration

if TYPE_CHECKING:
    from noisygce.runs import Run
    from noisygce.settings import Runtime
    from noisygce.training.fit import Row, Training

log = logging.getLogger("noisygce")
_process_started = time.monotonic()
_asked_to_stop = ""  # by which signal
_counting = threading.Lock()
_to_save = 0  # trainings under way, which must be saved before stopping
_longest = 0.0  # seconds that the longest run took of those that this process has ended
_MARGIN = 1.05  # by which a run may take longer than those before


def listen() -> None:
    """From now on SIGTERM, SIGINT and SIGUSR1 ask to save and stop; a second SIGINT stops at once.

    While there is nothing to save, such as during imports and downloads, each of them stops at once.
    """

    def on_signal(number: int, _frame: FrameType | None) -> None:
        global _asked_to_stop
        _asked_to_stop = signal.Signals(number).name
        if not _to_save:
            raise Stopped(f"stopped ({_asked_to_stop}); {GO_ON}")
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            print("\nsaving and stopping; Ctrl-C again stops at once", file=sys.stderr)

    for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), on_signal)


def reason_to_stop(runtime: Runtime) -> str:
    """Why to stop now; empty while there is no reason."""
    if runtime.stop_after is not None and time.monotonic() - _process_started >= runtime.stop_after:
        return f"runtime.stop_after={runtime.stop_after:g}s"
    return _asked_to_stop


def reason_not_to_start(runtime: Runtime) -> str:
    """Why not to start a run, which could not end in time; empty where it could."""
    if runtime.stop_after is None or not runtime.whole_runs:
        return ""
    left = runtime.stop_after - (time.monotonic() - _process_started)
    return f"a run takes {_longest:.0f} s, and {left:.0f} s are left" if left < _MARGIN * _longest else ""


@contextlib.contextmanager
def timed() -> Iterator[None]:
    """Around a whole run, start-up included; what is stopped or fails does not count."""
    global _longest
    started = time.monotonic()
    yield
    with _counting:
        _longest = max(_longest, time.monotonic() - started)


class Watch:
    """Follows one training; called after each step. A training that is stopped while followed is saved.

    seconds: spent on the run before, by processes that were stopped. made: device, threads, versions and commit of each
    process that worked on it, this one last.
    """

    def __init__(
        self, run: Run, training: Training, runtime: Runtime, seconds: float, made: list[dict[str, Any]]
    ) -> None:
        from tqdm import tqdm

        self.run, self.training, self.runtime = run, training, runtime
        self.made = [each for i, each in enumerate(made) if each not in made[i + 1 :]]
        self.before, self.started = seconds, time.monotonic()
        self.saved = self.started
        self.images = 0  # trained on by this process
        beside = threading.current_thread() is not threading.main_thread()  # of other runs, whose bars would collide
        shown = sys.stderr.isatty() and not beside if runtime.progress == "auto" else runtime.progress
        self.bar: Any = tqdm(
            desc=self._epoch(),
            unit="img",
            unit_scale=True,
            disable=not shown,
            leave=False,
            dynamic_ncols=True,
            smoothing=0.1,
        )
        self.bar.total = self._left()

    def __enter__(self) -> Watch:
        global _to_save
        with _counting:
            _to_save += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _trace: object) -> None:
        global _to_save
        try:
            if isinstance(error, Stopped):
                self.save()  # here, because an evaluation has the network hold other weights until it is left
        finally:
            with _counting:
                _to_save -= 1
            self.bar.close()

    @property
    def seconds(self) -> float:
        """Spent on the run so far, start-up left out."""
        return self.before + time.monotonic() - self.started

    def images_per_s(self) -> float:
        """Training images over all seconds of this process's share, evaluation and pruning included."""
        return self.images / max(time.monotonic() - self.started, 1e-9)

    def __call__(self, training: Training, batch: int) -> None:
        """After each step of ``batch`` images."""
        self.images += batch
        self.bar.update(batch)
        self.stop_if_asked()
        if time.monotonic() - self.saved >= self.runtime.checkpoint_every:
            self.save()

    def stop_if_asked(self) -> None:
        """Raises Stopped where there is a reason to; called between the batches of an evaluation too."""
        if reason := reason_to_stop(self.runtime):
            at = self.training.progress
            epoch = min(at.epoch + 1, self.training.schedule.epochs)
            raise Stopped(f"{self.run.id} is saved at epoch {epoch}, step {at.step} ({reason}); {GO_ON}")

    def epoch(self, row: Row) -> None:
        """After each epoch."""
        line = (
            f"{row['train_loss']:.4f} loss, {100 * row['val_accuracy']:.2f} % on noisy validation, "
            f"{100 * row['test_accuracy']:.2f} % on test"
        )
        left = self._left()
        self.bar.set_description(self._epoch(), refresh=False)
        self.bar.set_postfix_str(f"val {100 * row['val_accuracy']:.1f} % test {100 * row['test_accuracy']:.1f} %")
        self.bar.total = self.bar.n + left
        speed = self.images_per_s()
        log.log(
            logging.DEBUG if not self.bar.disable else logging.INFO,
            f"epoch {row['epoch']}/{self.training.schedule.epochs}: {line}, {row['kept']:,} kept, "
            f"{speed:,.0f} images/s, {duration(left / max(speed, 1e-9))} left",
        )

    def save(self) -> None:
        """Writes a checkpoint."""
        training = self.training
        tensors = {name: tensor.detach().cpu() for name, tensor in training.tensors().items()}
        progress = dataclasses.asdict(training.progress)
        content: dict[str, Any] = {"run_id": self.run.id, "tensors": tensors, "progress": progress}
        content |= {"seconds": self.seconds, "made": self.made}
        checkpoint.write(self.run.folder, content)
        self.saved = time.monotonic()

    def _epoch(self) -> str:
        epochs = self.training.schedule.epochs
        return f"epoch {min(self.training.progress.epoch + 1, epochs)}/{epochs}"

    def _left(self) -> int:
        """Training images until the end, with the kept set as it is."""
        at = self.training.progress
        each = self.training.images_an_epoch()
        return (self.training.schedule.epochs - at.epoch) * each - at.step * self.training.schedule.batch_size
