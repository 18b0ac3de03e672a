"""CUDA graphs: a function of tensors, recorded once and replayed, so that the host no longer launches each kernel.

A replay runs the very kernels that were recorded, so that it is bit-equal to the function itself; each recording is
checked to be so before it is used.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noisygce.errors import NoisygceError, first_line

log = logging.getLogger("noisygce")
_WARM_UP = 2  # calls before recording, in which libraries choose their kernels and allocate what they keep

# One graph at a time is recorded in a process; other trainings continue to replay their graphs. Meanwhile no thread may
# synchronise the device (torch.cuda.synchronize) or destroy a graph, which breaks any recording.
_recording = threading.Lock()


class Pool:
    """The memory that the graphs of one training share, no two of which ever run at once.

    required: a function that cannot be recorded is an error; else it is called as it is, after one warning.
    """

    def __init__(self, required: bool) -> None:
        self.required, self.handle = required, torch.cuda.graph_pool_handle()


class Captured:
    """``function`` of tensors (B, ...), replayed as one CUDA graph where B is ``size``, and called as it is elsewhere.

    changes: gives the tensors that the function changes. They must stay the same tensors for as long as this is used,
    as must all that the function reads but its arguments: new values are copied into them. The graph is recorded at the
    first call of that size, on the current stream, which must not be the default one. clean: drops what a recording
    that failed has left behind. Raises NoisygceError where a replay differs from the function, and, if
    ``pool.required``, where it cannot be recorded.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        size: int,
        changes: Callable[[], Iterable[Tensor]],
        pool: Pool,
        clean: Callable[[], None] = lambda: None,
    ) -> None:
        self.function, self.size, self.changes, self.pool, self.clean = function, size, changes, pool, clean
        self.arguments: tuple[Tensor, ...] = ()
        self.result: Tensor | None = None
        self._replay: Callable[[], None] | None = None

    def __call__(self, *arguments: Tensor) -> Any:
        if len(arguments[0]) == self.size and self._replay is None:
            self.arguments = tuple(a.clone() for a in arguments)
            self._record()
        if len(arguments[0]) != self.size or self._replay is None:
            return self.function(*arguments)
        torch._foreach_copy_(self.arguments, arguments)
        self._replay()
        return None if self.result is None else self.result.clone()  # the next replay overwrites it

    def _record(self) -> None:
        """Records the function; where it cannot be, gives up on graphs for good. Raises NoisygceError."""
        try:
            with _recording:
                self._replay = self._checked()
            return
        except (NoisygceError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            cause = _cause(error)
        if self.pool.required:
            raise NoisygceError(f"runtime.graph=on: {cause}; runtime.graph=off does without graphs") from None
        self.size, self.result, self.arguments = -1, None, ()
        self.clean()
        log.warning(f"training without a CUDA graph, which is slower: {cause}")

    def _checked(self) -> Callable[[], None]:
        """Records the function; what replays it. Nothing has changed then. Raises NoisygceError."""
        changed = list(self.changes())
        expected = warmup(self.call, changed)
        replay, self.result = record(self.call, self.pool.handle)

        def again() -> Tensor | None:
            replay()
            return self.result

        replayed = warmup(again, changed)
        if torch.are_deterministic_algorithms_enabled() and not all(map(same, expected, replayed)):
            raise NoisygceError(
                "the CUDA graph of the step gives other numbers than the step: a loss may count calls or keep values "
                "in Python; keep them in tensors of Loss.state (docs/own_loss.md)"
            )
        return replay

    def call(self) -> Any:
        """The function of the arguments as they are now."""
        return self.function(*self.arguments)


def record(call: Callable[[], Any], pool: Any) -> tuple[Callable[[], None], Any]:
    """What replays the CUDA graph of a call, and the call's result, which each replay fills and this does not."""
    graph = torch.cuda.CUDAGraph()
    gc.collect()
    gc.disable()  # it may destroy graphs of finished runs
    try:
        # thread_local: runs beside this one, in other threads, may allocate meanwhile
        stream = torch.cuda.current_stream()
        with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            result = call()
    except BaseException:
        # Else the allocator would continue to serve this stream from the memory of a graph that does not exist.
        with contextlib.suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(stream.device_index, pool)
        raise
    finally:
        gc.enable()
    return graph.replay, result


def _cause(error: BaseException) -> str:
    """What kept a function from being recorded, in one line: the first error, and the line of code it came from."""
    while error.__context__ is not None:  # ending a recording that has failed raises another error
        error = error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/torch/" not in f.filename.replace("\\", "/")]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}: {ours[-1].line}" if ours else "unknown"
    return f"the step cannot be recorded ({where}; {first_line(error)})"


def warmup(call: Callable[[], Tensor | None], changed: Sequence[Tensor]) -> list[Tensor]:
    """Calls a function a few times, each from where things stand, and leaves the tensors that it ``changed`` as they
    were. Returns their values after the last call, and the call's result."""
    before = [tensor.detach().clone() for tensor in changed]
    for _ in range(_WARM_UP):
        _restore(changed, before)
        result = call()
    after = [tensor.detach().clone() for tensor in changed] + ([] if result is None else [result.clone()])
    _restore(changed, before)
    return after


@torch.no_grad()
def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether all values are equal, NaN to NaN."""
    return torch.equal(one.nan_to_num(), other.nan_to_num()) and torch.equal(one.isnan(), other.isnan())


def release() -> None:
    """Frees what finished trainings held, when no graph is being recorded."""
    with _recording:
        gc.collect()
