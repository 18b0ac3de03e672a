"""The monitor of a training: its progress bar, checkpoints by time, requests to stop."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from noisygce.errors import Stopped
from noisygce.runs import checkpoint, messages
from noisygce.runs.manifest import commit
from noisygce.runs.stops import process

if TYPE_CHECKING:
    from noisygce.runs.run import Run
    from noisygce.settings import Runtime
    from noisygce.training.fit import Row, Training

log = logging.getLogger("noisygce")

_LINES = 20  # of epochs that a run shows where there is no bar, besides the first and the last; train.log has all


class RunMonitor:
    """Follows one training from step to step. One that is stopped while followed is saved.

    made: device, threads, versions and commit of each process that worked on the run, this one last.
    """

    def __init__(
        self, run: Run, training: Training, runtime: Runtime, saved: dict[str, Any] | None, device: dict[str, Any]
    ) -> None:
        """saved: the checkpoint that the training resumes from. device: ``hardware.describe`` of this process."""
        from tqdm import tqdm

        self.run, self.training, self.runtime = run, training, runtime
        before = saved or {"seconds": 0.0, "images": 0, "made": []}
        made = [*before["made"], {**device, **commit()}]
        self.made = [each for i, each in enumerate(made) if each not in made[i + 1 :]]
        self.seconds_before, self.images_before = before["seconds"], before.get("images", 0)
        self.saved = self.started = time.monotonic()
        self.images = 0  # trained on by this process
        alone = threading.current_thread() is threading.main_thread()  # the bars of runs side by side would collide
        shown = sys.stderr.isatty() and alone if runtime.progress == "auto" else runtime.progress
        bar = {"unit": "img", "unit_scale": True, "leave": False, "dynamic_ncols": True, "smoothing": 0.1}
        self.bar: Any = tqdm(desc=self._epoch(), disable=not shown, **bar)
        self.bar.total = self._images_left()

    def __enter__(self) -> RunMonitor:
        self._unsaved = contextlib.ExitStack()
        self._unsaved.enter_context(process.training())
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._unsaved:
            if isinstance(error, Stopped):
                self.save()  # here, because an evaluation has the network hold other weights until it is left
        self.bar.close()

    @property
    def seconds(self) -> float:
        """Spent on the run so far, start-up left out."""
        return self.seconds_before + time.monotonic() - self.started

    def images_per_s(self) -> float:
        """Training images over all seconds of this process's share, evaluation and pruning included."""
        return self.images / max(time.monotonic() - self.started, 1e-9)

    def record(self) -> dict[str, Any]:
        """How the run was made, for its manifest."""
        return {
            "images_per_s": round((self.images_before + self.images) / max(self.seconds, 1e-9), 1),
            "seconds": round(self.seconds, 2),
            **self.made[-1],
            "also_made": self.made[:-1],
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def after_step(self, training: Training, images: int) -> None:
        """After each step on so many images."""
        self.images += images
        self.bar.update(images)
        self.stop_if_asked()
        if time.monotonic() - self.saved >= self.runtime.checkpoint_every:
            self.save()

    def stop_if_asked(self) -> None:
        """Raises Stopped where there is a reason to."""
        if reason := process.reason_to_stop(self.runtime):
            progress = self.training.progress
            epoch = min(progress.epoch + 1, self.training.schedule.epochs)
            raise Stopped(
                f"{self.run.id} is saved at epoch {epoch}, step {progress.step} ({reason}); {messages.HOW_TO_RESUME}"
            )

    def after_epoch(self, row: Row) -> None:
        """After each epoch: its metrics are written and shown."""
        self.run.write_metrics(self.training.progress.rows)
        named = {"val_accuracy": "noisy validation", "test_accuracy": "test"}
        shares = [f"{100 * row[key]:.2f} % on {name}" for key, name in named.items() if row[key] is not None]
        left, speed = self._images_left(), self.images_per_s()
        self.bar.set_description(self._epoch(), refresh=False)
        self.bar.set_postfix_str(", ".join(shares))
        self.bar.total = self.bar.n + left
        log.log(
            logging.INFO if self.bar.disable and self._shown(row["epoch"]) else logging.DEBUG,
            f"epoch {row['epoch']}/{self.training.schedule.epochs}: "
            + ", ".join([f"{row['train_loss']:.4f} loss", *shares, f"{row['kept']:,} kept"])
            # a run that is resumed in an evaluation has no step in that epoch
            + (f", {speed:,.0f} images/s, {messages.duration(left / speed)} left" if speed else ""),
        )
        prunings = self.training.progress.prunings
        if prunings and prunings[-1]["after_epoch"] == row["epoch"]:
            messages.pruning(prunings)

    def save(self) -> None:
        """Writes a checkpoint."""
        training = self.training
        tensors = {name: tensor.detach().cpu() for name, tensor in training.tensors().items()}
        progress = dataclasses.asdict(training.progress)
        content: dict[str, Any] = {"run_id": self.run.id, "tensors": tensors, "progress": progress}
        content |= {"seconds": self.seconds, "images": self.images_before + self.images, "made": self.made}
        checkpoint.write(self.run.folder, content)
        self.saved = time.monotonic()

    def _shown(self, epoch: int) -> bool:
        epochs = self.training.schedule.epochs
        return epoch in (1, epochs) or epoch % math.ceil(epochs / _LINES) == 0

    def _epoch(self) -> str:
        epochs = self.training.schedule.epochs
        return f"epoch {min(self.training.progress.epoch + 1, epochs)}/{epochs}"

    def _images_left(self) -> int:
        """Training images until the end, with the kept set as it is."""
        progress, schedule = self.training.progress, self.training.schedule
        epochs = schedule.epochs - progress.epoch
        return epochs * self.training.images_an_epoch() - progress.step * schedule.batch_size
