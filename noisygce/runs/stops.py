"""When a process stops: at a signal, or when its allowance of time is used up. What is under way is saved first."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from noisygce.errors import Stopped
from noisygce.runs.messages import HOW_TO_RESUME

if TYPE_CHECKING:
    from noisygce.settings import Runtime

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")  # of batch systems and of a lost terminal
Handler = Callable[[int, FrameType | None], object]

_MARGIN = 1.05  # by which a run may take longer than those before


class Process:
    """This process: how long it has run, whether a signal has asked it to stop, and what it must save before."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.listens = False
        self.leaving = False  # a handler of before has taken over, which is not to be interrupted
        self.launched = False  # by an engine (sweep/worker.py)
        self.before: dict[int, Handler] = {}  # handlers that were there before ours, by signal
        self.signal = ""  # that has asked to stop
        self.at_once: Stopped | None = None  # raised by a signal in the middle of whatever was running
        self.trainings = 0  # under way, which must be saved before stopping
        self.longest_run = 0.0  # in seconds, of those that have ended here
        self.thread = threading.local()  # its ``started``: of a call of Python in another thread than the main one
        self._counting = threading.Lock()

    def listen(self) -> None:
        """From now on each of ``SIGNALS`` asks to save and stop; a second SIGINT stops at once.

        While there is nothing to save, such as during imports and downloads, each of them stops at once; where that is
        swallowed, the next run does not start. A signal that is ignored when this is called, as by nohup, stays so. A
        handler that is there, such as submitit's, is called after saving (``handing_on``). Called again it changes
        nothing: a second SIGINT still stops at once. In another thread than the main one it does nothing: Python
        delivers signals to the main thread alone.
        """
        if self.listens or threading.current_thread() is not threading.main_thread():
            return
        self.listens = True

        def on_signal(number: int, _frame: FrameType | None) -> None:
            if self.leaving:
                return
            self.signal = signal.Signals(number).name
            if not self.trainings:
                self.at_once = Stopped(f"stopped ({self.signal}); {HOW_TO_RESUME}")
                raise self.at_once
            if number == signal.SIGINT:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                with contextlib.suppress(OSError, RuntimeError):  # tee died of the same Ctrl-C; stderr is being written
                    print("\nsaving and stopping; Ctrl-C again stops at once", file=sys.stderr, flush=True)

        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is None or (former := signal.getsignal(number)) in (signal.SIG_IGN, None):  # None: not Python's
                continue
            if callable(former) and former is not signal.default_int_handler:
                self.before[number] = former
            signal.signal(number, on_signal)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """``listen`` for what is within alone, to which an allowance of time then applies: after it every handler is
        the one of before, and a signal goes there, whether it has stopped what is within or came too late to. So Ctrl-C
        is a KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            with self._in_thread():
                yield
            return
        if self.listens:
            yield
            return
        numbers = [number for name in SIGNALS if (number := getattr(signal, name, None)) is not None]
        handlers = {number: signal.getsignal(number) for number in numbers}
        started, self.started, self.longest_run = self.started, time.monotonic(), 0.0
        name = late = message = ""
        self.listen()
        try:
            yield
            late = self.signal
        except Stopped as stopped:
            name, message = self.signal, str(stopped)
            if not name:
                raise
        except Exception:
            late = self.signal
            raise
        finally:
            for number, handler in handlers.items():
                if handler is not None:
                    signal.signal(number, handler)
            self.started, self.listens, self.signal = started, False, ""
            self.before.clear()
            if late:
                signal.raise_signal(getattr(signal, late))
        if name:
            raise _handed_back(name, message)

    @contextlib.contextmanager
    def handing_on(self) -> Iterator[None]:
        """Around all that a signal may stop: once that has been saved, the handler that was there before is called.

        No further signal interrupts that handler, or what it raises to end the process: submitit's has SLURM requeue
        the job, which sends TERM.
        """
        try:
            with self._not_replaced():
                yield
        except Stopped:
            number = getattr(signal, self.signal, None) if self.signal else None
            in_main = threading.current_thread() is threading.main_thread()
            if number and in_main and (former := self.before.pop(number, None)):
                self.leaving = True
                former(number, None)
                self.leaving = False
            raise

    @contextlib.contextmanager
    def _not_replaced(self) -> Iterator[None]:
        """Raises the Stopped of a signal in the place of an error that other code, such as Hydra's, has raised while it
        cleaned up after that."""
        try:
            yield
        except Exception as error:
            link: BaseException | None = error
            while link is not None and link is not self.at_once:
                link = link.__context__
            if self.at_once is None or link is None:
                raise
            raise self.at_once from None

    @contextlib.contextmanager
    def _in_thread(self) -> Iterator[None]:
        before, self.thread.started = self._began(), time.monotonic()
        try:
            yield
        finally:
            self.thread.started = before

    def _began(self) -> float:
        """When the allowance of time began: of this thread's call of Python, or else of the process."""
        return float(getattr(self.thread, "started", self.started))

    def reason_to_stop(self, runtime: Runtime) -> str:
        """Why to stop now; empty while there is no reason."""
        if runtime.stop_after is not None and time.monotonic() - self._began() >= runtime.stop_after:
            return f"runtime.stop_after={runtime.stop_after:g}s"
        return self.signal

    def reason_not_to_start(self, runtime: Runtime) -> str:
        """Why not to start a run, which could not end in time; empty where it could."""
        if runtime.stop_after is None or not runtime.whole_runs:
            return ""
        left = runtime.stop_after - (time.monotonic() - self._began())
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


def _handed_back(name: str, message: str) -> BaseException:
    """What to raise once the program's own handler has had a signal: of Ctrl-C a KeyboardInterrupt, also where that
    handler has only taken note of it, as asyncio's does."""
    try:
        signal.raise_signal(getattr(signal, name))
    except KeyboardInterrupt:
        return KeyboardInterrupt(message)
    return KeyboardInterrupt(message) if name == "SIGINT" else Stopped(message)


process = Process()
