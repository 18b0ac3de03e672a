"""How and where a run is run: what may differ between two machines without making another run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from noisygce import check


class Runtime:
    """How to run; cannot change a number, but for device and threads, whose arithmetic may round differently.

    device: "auto" is the GPU where there is one. threads: of the CPU; null is the model's number
    (``Model.threads``).
    graph: replay CUDA graphs ("auto": on a GPU). concurrent: runs of a sweep trained at once on one GPU.
    fused: a step in bf16 takes batch norm, addition and ReLU together ("auto": on a GPU on which that works).
    checkpoint_every: in seconds.
    stop_after: a time allowance such as 90s, 9m, 2h after which to save and stop (exit code 75); null for none.
    whole_runs: start no run that would not end within the allowance, were it to take as long as the longest so far.
    share: "i/n": of n workers that are started with the same sweep this is worker i, 0 the first, and begins with the
    i-th part of its runs (null: with the first run, as 0/1).
    trial_seeds: a trial of a search trains these seeds and returns their mean; null for the one seed of its config.
    keep_model: "best" or "none". keep_predictions: of that model, for every sample (runs/artifacts.py).
    progress: a bar ("auto": where standard error is a terminal), or a log line every few epochs.
    """

    def __init__(
        self,
        device: str,
        threads: int | None,
        graph: str,
        fused: str,
        concurrent: int,
        checkpoint_every: float,
        stop_after: str | None,
        whole_runs: bool,
        share: str | None,
        trial_seeds: list[int] | None,
        progress: Any,
        keep_model: str,
        keep_predictions: bool,
    ) -> None:
        if device == "mps":
            why = "it has no float64, in which a loss is summed, and not every kernel is deterministic"
            raise check.Invalid("device", device, f"auto or cpu, since Apple's GPU cannot repeat a run: {why}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(device)):
            raise check.Invalid("device", device, "auto, cpu, cuda or cuda:N")
        if graph == "on" and device == "cpu":
            raise check.Invalid("graph", graph, "auto or off where runtime.device=cpu")
        if fused == "on" and device == "cpu":
            raise check.Invalid("fused", fused, "auto or off where runtime.device=cpu")
        self.device = str(device)
        self.threads = check.or_null(check.whole, "threads", threads, "[1, 1024]")
        self.graph = check.choice("graph", graph, ("auto", "on", "off"))
        self.fused = check.choice("fused", fused, ("auto", "on", "off"))
        self.concurrent = check.whole("concurrent", concurrent, "[1, 16]")
        self.checkpoint_every = check.number("checkpoint_every", checkpoint_every, "[0, inf)")
        self.stop_after = None if stop_after is None else self._seconds(stop_after)
        self.whole_runs = check.flag("whole_runs", whole_runs)
        if whole_runs and stop_after is None:
            raise check.Invalid("whole_runs", whole_runs, "false where runtime.stop_after=null")
        self.share = self.share_of(share)
        self.trial_seeds = check.or_null(check.wholes, "trial_seeds", trial_seeds, "[0, 4294967295]")
        if self.trial_seeds is not None and len({*self.trial_seeds}) < max(len(self.trial_seeds), 1):
            raise check.Invalid("trial_seeds", trial_seeds, "different seeds, such as [0,1,2], or null")
        if progress not in ("auto", True, False):
            raise check.Invalid("progress", progress, "auto, true or false")
        self.progress = progress
        self.keep_model = check.choice("keep_model", keep_model, ("best", "none"))
        self.keep_predictions = check.flag("keep_predictions", keep_predictions)

    @staticmethod
    def share_of(text: str | None) -> tuple[int, int]:
        """i and n of a share. Raises check.Invalid."""
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", "0/1" if text is None else str(text))
        if not match or int(match[1]) >= int(match[2]):
            raise check.Invalid("share", text, "i/n for worker i of n, from 0/n to (n-1)/n, or null")
        return int(match[1]), int(match[2])

    @staticmethod
    def _seconds(text: str | float) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(text))
        if not match:
            raise check.Invalid("stop_after", text, "a time such as 90s, 9m or 2h, or null")
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


class Paths:
    """data: where data sets lie and are fetched to. results: where runs, tables and figures go."""

    def __init__(self, data: str, results: str) -> None:
        for key, value in (("data", data), ("results", results)):
            if not isinstance(value, str) or not value:
                raise check.Invalid(key, value, "a folder")
        self.data, self.results = Path(data).expanduser(), Path(results).expanduser()
