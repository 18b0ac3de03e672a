"""When a process stops: at a signal, or when its allowance of time is used up. What is under way is saved first."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from noisygce.errors import Stopped
from noisygce.runs.messages import GO_ON

if TYPE_CHECKING:
    from noisygce.settings import Runtime

_MARGIN = 1.05  # by which a run may take longer than those before


class Process:
    """This process: how long it has run, whether a signal has asked it to stop, and what it must save before."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.listens = False
        self.signal = ""  # that has asked to stop
        self.trainings = 0  # under way, which must be saved before stopping
        self.longest_run = 0.0  # in seconds, of those that have ended here
        self._counting = threading.Lock()

    def listen(self) -> None:
        """From now on SIGTERM, SIGINT and SIGUSR1 ask to save and stop; a second SIGINT stops at once.

        While there is nothing to save, such as during imports and downloads, each of them stops at once. Called again
        it changes nothing: a second SIGINT still stops at once.
        """
        if self.listens:
            return
        self.listens = True

        def on_signal(number: int, _frame: FrameType | None) -> None:
            self.signal = signal.Signals(number).name
            if not self.trainings:
                raise Stopped(f"stopped ({self.signal}); {GO_ON}")
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                print("\nsaving and stopping; Ctrl-C again stops at once", file=sys.stderr)

        for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), on_signal)

    def reason_to_stop(self, runtime: Runtime) -> str:
        """Why to stop now; empty while there is no reason."""
        if runtime.stop_after is not None and time.monotonic() - self.started >= runtime.stop_after:
            return f"runtime.stop_after={runtime.stop_after:g}s"
        return self.signal

    def reason_not_to_start(self, runtime: Runtime) -> str:
        """Why not to start a run, which could not end in time; empty where it could."""
        if runtime.stop_after is None or not runtime.whole_runs:
            return ""
        left = runtime.stop_after - (time.monotonic() - self.started)
        too_late = left < _MARGIN * self.longest_run
        return f"a run takes {self.longest_run:.0f} s, and {left:.0f} s are left" if too_late else ""

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Around a whole run, start-up included, to know how long one takes; none that is stopped or fails."""
        started = time.monotonic()
        yield
        with self._counting:
            self.longest_run = max(self.longest_run, time.monotonic() - started)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Around what must be saved before the process may stop."""
        with self._counting:
            self.trainings += 1
        try:
            yield
        finally:
            with self._counting:
                self.trainings -= 1


process = Process()
