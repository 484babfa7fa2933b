"""CUDA graphs: what a function launches, recorded once and replayed on the memory that it was recorded with.

As written, Python launches some hundred kernels a training step and as many for each batch. A graph launches all of
them at once; recording one takes no longer than a few steps.

Source of the rules of recording: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

__all__ = ["CudaRecorder", "RecordedFunction", "Recorder"]

_Result = TypeVar("_Result")


class Recorder(Protocol):
    """Records what a function launches."""

    def apart(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call a function where recordings are made."""

    def record(self, function: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        """Return what does all that the function does, on the same memory, and the tensors it leaves results in."""


class CudaRecorder:
    """Records CUDA graphs, on a stream of its own, as they have to be."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def apart(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call a function on the recorder's stream; the caller's stream waits for it."""
        around = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(around)
        with torch.cuda.stream(self._stream):
            result = function(*arguments)
        around.wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], Any]) -> tuple[Callable[[], object], Any]:
        """Record a function without running it.

        Only this thread must keep to the rules meanwhile: NCCL has threads of its own that look at events.
        """
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            result = function()
        return graph.replay, result


@dataclass(frozen=True)
class _Recording:
    inputs: tuple[Tensor | None, ...]
    replay: Callable[[], object]
    results: tuple[Tensor, ...]


class RecordedFunction:
    """A function of tensors: for each shape it is called as written once, recorded at the next call, and replayed.

    Its results are copies: what uses them may lag behind the next call.

    Args:
        function: returns a tuple of tensors; takes tensors, or None where there is nothing.
        recorder: makes the recordings.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], recorder: Recorder) -> None:
        self._function, self._recorder = function, recorder
        self._recordings: dict[tuple[torch.Size | None, ...], _Recording | None] = {}

    def __call__(self, *arguments: Tensor | None) -> tuple[Tensor, ...]:
        """Return what the function returns."""
        shapes = tuple(None if argument is None else argument.shape for argument in arguments)
        if shapes not in self._recordings:
            self._recordings[shapes] = None
            return self._recorder.apart(self._function, *arguments)
        recording = self._recordings[shapes]
        if recording is None:
            inputs = tuple(None if argument is None else argument.clone() for argument in arguments)
            recording = _Recording(inputs, *self._recorder.record(lambda: self._function(*inputs)))
            self._recordings[shapes] = recording
        for kept, new in zip(recording.inputs, arguments, strict=True):
            if kept is not None and new is not None:
                kept.copy_(new)
        recording.replay()
        return tuple(result.clone() for result in recording.results)
