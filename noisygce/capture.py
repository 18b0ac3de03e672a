"""CUDA graphs: a function of tensors, recorded once and replayed, so that the host no longer launches each kernel.

A replay runs the very kernels that were recorded, so that it is bit-equal to the function itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_WARM_UP = 2  # calls before recording, in which libraries choose their kernels and allocate what they keep
# One graph at a time is recorded in a process; others go on replaying theirs. No thread may synchronise the device
# meanwhile (torch.cuda.synchronize), which breaks any recording.
_recording = threading.Lock()


class Captured:
    """``function`` of tensors (B, ...), replayed as one CUDA graph where B is ``size``, and called as it is elsewhere.

    changes: gives the tensors that the function changes. They must stay the same tensors for as long as this is used,
    as must all that the function reads but its arguments: new values are copied into them. The graph is recorded at the
    first call of that size, on the current stream, which must not be the default one.
    """

    def __init__(
        self, function: Callable[..., Any], size: int, changes: Callable[[], Iterable[Tensor]], pool: Any
    ) -> None:
        self.function, self.size, self.changes, self.pool = function, size, changes, pool
        self.graph: torch.cuda.CUDAGraph | None = None
        self.arguments: tuple[Tensor, ...] = ()
        self.result: Tensor | None = None

    def __call__(self, *arguments: Tensor) -> Any:
        if len(arguments[0]) != self.size:
            return self.function(*arguments)
        if self.graph is None:
            self.graph = self._record(arguments)
        for own, given in zip(self.arguments, arguments, strict=True):
            own.copy_(given)
        self.graph.replay()
        return None if self.result is None else self.result.clone()  # the next replay overwrites it

    def _record(self, arguments: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        self.arguments = tuple(a.clone() for a in arguments)
        graph = torch.cuda.CUDAGraph()
        with _recording:
            rehearse(lambda: self.function(*self.arguments), self.changes())
            # thread_local: runs beside this one, in other threads, may allocate meanwhile
            stream = torch.cuda.current_stream()
            with torch.cuda.graph(graph, self.pool, stream, capture_error_mode="thread_local"):
                self.result = self.function(*self.arguments)
        return graph


def rehearse(call: Callable[[], object], changed: Iterable[Tensor]) -> None:
    """Calls a function a few times and puts back the tensors that it ``changed``."""
    before = [(tensor, tensor.clone()) for tensor in changed]
    for _ in range(_WARM_UP):
        call()
    with torch.no_grad():
        for tensor, value in before:
            tensor.copy_(value)
