"""Latency of two graphs, measured so that a busy machine slows both alike."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from aerodet.deploy._cpu import cpu_name
from aerodet.deploy._graph import INPUT
from aerodet.deploy.onnx import open_session

__all__ = ["compare_latency"]


def compare_latency(
    float_onnx: Path,
    int8_onnx: Path,
    *,
    size: tuple[int, int],
    batch: int = 1,
    threads: int = 2,
    pairs: int = 30,
    warmup: int = 5,
) -> dict[str, Any]:
    """Time two graphs in turn, A B B A, in one process with the same threads.

    Args:
        float_onnx: the reference, for example the unpruned float graph.
        int8_onnx: the graph that should be faster.
        size: (height, width) of the input in pixels.
        batch: images a call.
        threads: threads within an operation, the same for both.
        pairs: measured pairs of calls.
        warmup: calls of each before that.

    Returns:
        ``float`` and ``int8``, each with ``median_ms``, ``p10``, ``p90`` (ms a call) and ``images_per_s`` (at the
        median); ``ratio``, the median over pairs of float time / int8 time; ``threads``, ``batch``, ``pairs``,
        ``size``, ``cpu``, ``runtime``.
    """
    images = np.random.default_rng(0).random((batch, 3, *size), np.float32)
    sessions = {name: open_session(path, threads) for name, path in (("float", float_onnx), ("int8", int8_onnx))}
    for session in sessions.values():
        for _ in range(warmup):
            _seconds(session, images)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for pair in range(pairs):
        for name in ("float", "int8") if pair % 2 == 0 else ("int8", "float"):
            times[name].append(_seconds(sessions[name], images))
    return {
        **{name: _summary(np.array(values), batch) for name, values in times.items()},
        "ratio": float(np.median(np.array(times["float"]) / np.array(times["int8"]))),
        "threads": threads,
        "batch": batch,
        "pairs": pairs,
        "size": list(size),
        "cpu": cpu_name(),
        "runtime": f"onnxruntime {onnxruntime.__version__}",
    }


def _seconds(session: onnxruntime.InferenceSession, images: NDArray[np.float32]) -> float:
    start = time.perf_counter()
    session.run(None, {INPUT: images})
    return time.perf_counter() - start


def _summary(seconds: NDArray[np.float64], batch: int) -> dict[str, float]:
    p10, median, p90 = (float(value) for value in np.percentile(seconds * 1e3, [10, 50, 90]))
    return {"median_ms": median, "p10": p10, "p90": p90, "images_per_s": batch * 1e3 / median}
