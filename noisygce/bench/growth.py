"""How speed grows with the batch, with the runs of a sweep, and with runs side by side."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

from noisygce.bench.setting import Setting, median, seconds_of
from noisygce.training import device

_SIZES = (32, 64, 128, 256, 512)
_AT_ONCE = (1, 2, 4)
_COUNT = 100  # steps of each run in a round


def batch(setting: Setting) -> dict[str, float]:
    """Images/s by batch size."""
    images = len(setting.training(graph="off").train)
    seconds = setting.take_turns({size: setting.steps(batch_size=size) for size in _SIZES if size <= images})
    return {str(size): size / median(each) for size, each in seconds.items()}


def sweep(setting: Setting) -> dict[str, Any]:
    """Seconds until a new process trains, and until the first step is done of runs one after another in a process."""
    new = {"these settings": _new_process(setting.words), "data=digits": _new_process(["data=digits"])}
    return {"new_process_s": new, "in_one_process_s": [seconds_of(_first_step, setting, seed) for seed in range(3)]}


def _first_step(setting: Setting, seed: int) -> None:
    with device.stream(setting.place):
        training = setting.training(seed=seed)
        training.step.start_epoch(0)
        training.step(training.batches()[0])
        setting.wait()


def _new_process(words: Sequence[str]) -> float:
    def until_training() -> None:
        assert process.stderr is not None
        if not any("images on" in line for line in process.stderr):
            raise RuntimeError(f"{' '.join(command)} ended before its first step")

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "noisygce.train", *words, f"paths.results={folder}"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
            try:
                return seconds_of(until_training)
            finally:
                process.kill()


def concurrent(setting: Setting) -> dict[str, float]:
    """Images/s of all runs together, by their number; on a GPU only, as one run fills a CPU."""
    numbers = _AT_ONCE if setting.on_gpu else ()
    return {str(runs): runs * setting.batch_size / median(_side_by_side(setting, runs)) for runs in numbers}


def _side_by_side(setting: Setting, runs: int) -> list[float]:
    """Seconds a step, in each round, of so many runs that train at once, each in a thread."""
    turn = threading.Barrier(runs + 1, timeout=600)  # rather than wait for ever for a thread that failed

    def one() -> None:
        steps = setting.steps()
        steps(5)
        for _ in range(setting.rounds):
            turn.wait()
            steps(_COUNT)
            turn.wait()

    threads = [threading.Thread(target=one, daemon=True) for _ in range(runs)]
    for thread in threads:
        thread.start()
    found = []
    for _ in range(setting.rounds):
        turn.wait()
        found.append(seconds_of(turn.wait) / _COUNT)
    for thread in threads:
        thread.join()
    return found
