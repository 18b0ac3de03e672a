"""A process that an engine has started to train runs of a sweep."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from noisygce.errors import Saved, Stopped, first_line
from noisygce.runs.messages import HOW_TO_RESUME
from noisygce.runs.stops import process


@contextlib.contextmanager
def launched(folder: str) -> Iterator[None]:
    """Around a run in a process that an engine has started: a stop is the run's error, which the engine hands back,
    and a process whose parent has died saves and ends. Does nothing in any other process.

    folder: where the sweep was started.
    """
    if not process.launched:
        yield
        return
    with contextlib.suppress(OSError):  # on another machine there may be none; then only relative settings fail
        os.chdir(folder)
    _end_with_parent()
    try:
        with process.handing_on():
            yield
    except Stopped as stopped:
        raise Saved(str(stopped)) from None
    except Exception as error:  # of the handler that was there before, such as submitit's that may not requeue
        if process.signal and isinstance(error.__context__, Stopped):
            raise Saved(f"{error.__context__} ({first_line(error)})") from None
        raise


def _end_with_parent() -> None:
    """Has this process save and end once the process that started it has ended without a word."""
    if any(thread.name == _end_with_parent.__name__ for thread in threading.enumerate()):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        if process.trainings:
            os.kill(os.getpid(), signal.SIGTERM)
        while process.trainings:
            time.sleep(0.1)
        print(f"the process that started this worker is gone; {HOW_TO_RESUME}", file=sys.stderr, flush=True)
        os._exit(Stopped.exit_code)

    threading.Thread(target=watch, name=_end_with_parent.__name__, daemon=True).start()
