"""How fast detectors are on this machine: latency of one picture and throughput of many, part by part, side by side."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from aerodet.data import Images, decode_image, encode_image
from aerodet.deploy._cpu import cpu_name
from aerodet.deploy.detector import models_of
from aerodet.deploy.engine import engine_summary
from aerodet.deploy.onnx import OnnxDetector
from aerodet.deploy.runner import EngineDetector, can_run
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.dataset import fit_image
from aerodet.detectnet.inference import TorchPredictor
from aerodet.detectnet.postprocess import cluster
from aerodet.detectnet.settings import Settings, settings_of
from aerodet.detectnet.spec import read_spec
from aerodet.errors import DataError, UserError

__all__ = ["PARTS", "speed_of_detectors", "speed_table"]

PARTS = ("decode", "prepare", "network", "cluster")
_GRAPHS = ("model.onnx", "model.int8.cpu.onnx")
_WARM_UP = 2
_PICTURES = 16  # of an image set


class _Predictor(Protocol):
    def prepare(self, images: NDArray[np.uint8]) -> Any: ...
    def run(self, images: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...


@dataclass(frozen=True)
class _Candidate:
    """A detector to time: what it is called, its precision, what runs it, its bytes, its spec."""

    name: str
    precision: str
    runtime: str
    size: int
    predictor: _Predictor
    settings: Settings


def speed_of_detectors(
    paths: Sequence[Path], *, batch: int = 16, threads: int = 2, rounds: int = 20, data: Images | None = None
) -> dict[str, Any]:
    """Time detectors in turn, forwards and backwards, in one process with the same threads.

    Args:
        paths: runs, exports, checkpoints, or files of graphs, engines and checkpoints. Of a run and an export
            everything is timed that this machine runs; of a checkpoint float32 and, on a GPU, float16.
        batch: pictures a call for throughput; latency is that of one.
        threads: of ONNX Runtime and PyTorch.
        rounds: timed calls of each.
        data: pictures; scenes are rendered without any.

    Returns:
        ``detectors``, each with ``name``, ``precision``, ``runtime``, ``bytes`` and, under ``1`` and ``batch``, the
        median milliseconds of a call: ``decode`` (PNG to pixels), ``prepare`` (to the network's input), ``network``,
        ``cluster`` (cells to boxes) and ``total``; ``images_per_s`` of the total; ``network_ratio`` and
        ``total_ratio``, medians over the rounds of the first detector's time over this one's; ``conditions``.

    Raises:
        DataError: a path is no detector, or nothing of it runs here.
        UserError: the batch, the threads or the rounds are less than one.
    """
    if min(batch, threads, rounds) < 1:
        raise UserError("batch, threads and rounds must be at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        candidates = [found for path in paths for found in _candidates(path, threads)]
        encoded = {size: _encoded(size, data) for size in {c.settings.size for c in candidates}}
        times = {count: _in_turn(candidates, encoded, count, rounds) for count in sorted({1, batch})}
    finally:
        torch.set_num_threads(before)
    rows = []
    for number, candidate in enumerate(candidates):
        row: dict[str, Any] = {
            "name": candidate.name,
            "precision": candidate.precision,
            "runtime": candidate.runtime,
            "bytes": candidate.size,
        }
        for count, measured in times.items():
            row["1" if count == 1 else "batch"] = _summary(measured[number], measured[0], count)
        rows.append(row)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    conditions = {"batch": batch, "threads": threads, "rounds": rounds, "cpu": cpu_name(), "gpu": gpu}
    conditions |= {"date": time.strftime("%Y-%m-%d", time.gmtime()), "torch": torch.__version__}
    return {"detectors": rows, "conditions": conditions | {"onnxruntime": onnxruntime.__version__}}


def speed_table(result: dict[str, Any]) -> str:
    """Return the figures as text: milliseconds a call."""
    c = result["conditions"]
    machine = ", ".join(filter(None, (c["cpu"], c["gpu"], f"{c['threads']} threads")))
    lines = [f"{machine}; medians of {c['rounds']} rounds in turn, ms a call, {c['date']}"]
    columns = "".join(f"{part:>10}" for part in (*PARTS, "total"))
    labels = [f"{row['name']} {row['precision']} {row['runtime']}" for row in result["detectors"]]
    width = max(map(len, labels))
    for key, title in (("1", "one picture"), ("batch", f"{c['batch']} pictures")):
        if key not in result["detectors"][0]:
            continue
        lines += ["", f"{title:{width}}{'KB':>8}{columns}{'images/s':>10}{'× network':>11}{'× total':>9}"]
        for label, row in zip(labels, result["detectors"], strict=True):
            m = row[key]
            parts = "".join(f"{m[part]:>10.2f}" for part in (*PARTS, "total"))
            ratios = f"{m['network_ratio']:>11.2f}{m['total_ratio']:>9.2f}"
            lines.append(f"{label:{width}}{row['bytes'] / 1000:>8.0f}{parts}{m['images_per_s']:>10.1f}{ratios}")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------- what there is


def _candidates(path: Path, threads: int) -> list[_Candidate]:
    """Open all of a path that this machine runs."""
    files = [file for place in models_of(path) for file in _files(place)]
    if not files:
        raise DataError(f"{path} holds no detector; give a run, an export, an engine, an ONNX graph or a checkpoint")
    opened = [candidate for file in files for candidate in _open(file, threads)]
    if not opened:
        raise DataError(f"nothing of {path} runs on this machine; build an engine with `aerodet engine rebuild`")
    return opened


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    names = [place / name for name in (*_GRAPHS, "model.pt")]
    return [*(name for name in names if name.is_file()), *sorted(place.glob("*.engine"))]


def _open(file: Path, threads: int) -> list[_Candidate]:
    spec = file.parent / "spec.txt"
    if not spec.is_file():
        raise DataError(f"{file} has no spec.txt beside it, which says how its outputs become boxes; put it there")
    settings, size = settings_of(read_spec(spec)), file.stat().st_size
    name = "/".join(part for part in file.parts[-3:] if part not in ("bundle", "model"))  # which all of a run have
    if file.suffix == ".engine":
        if not can_run(file):
            return []
        summary = engine_summary(file)
        precision = (summary.get("metadata") or {}).get("precision", "?")
        return [_Candidate(name, precision, summary["builder"], size, EngineDetector(file), settings)]
    if file.suffix == ".onnx":
        graph = OnnxDetector(file, threads)
        return [_Candidate(name, graph.precision, "ONNX Runtime", size, graph, settings)]
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    return [
        _Candidate(
            name,
            "float16" if half else "float32",
            f"PyTorch {device.type}",
            size,
            TorchPredictor(load_model(file)[0], device, half=half),
            settings,
        )
        for half in ((False, True) if gpu else (False,))
    ]


def _encoded(size: tuple[int, int], data: Images | None) -> list[bytes]:
    """Return pictures of the network's size as PNG."""
    if data is None:
        from aerodet.synth import SceneSettings, render_scene

        scenes = [render_scene(SceneSettings(size=max(128, *size)), seed=1, index=n).image for n in range(4)]
        return [encode_image(np.ascontiguousarray(scene[: size[0], : size[1]])) for scene in scenes]
    records = list(islice(enumerate(data.records), _PICTURES))
    if not records:
        raise DataError("the image set to time on has no pictures; give one that has some")
    return [encode_image(fit_image(data.image(n), r.boxes, size, resize=False)[0]) for n, r in records]


# ------------------------------------------------------------------------------------------------------- timing


def _in_turn(
    candidates: list[_Candidate], encoded: dict[tuple[int, int], list[bytes]], count: int, rounds: int
) -> list[dict[str, list[float]]]:
    """Return the seconds of each part and of the whole call, round by round, for each candidate."""
    times: list[dict[str, list[float]]] = [defaultdict(list) for _ in candidates]
    order = list(range(len(candidates)))
    for n in range(_WARM_UP + rounds):
        for number in order if n % 2 == 0 else order[::-1]:
            pictures = encoded[candidates[number].settings.size]
            taken = [pictures[(n + k) % len(pictures)] for k in range(count)]
            for part, seconds in _call(candidates[number], taken).items():
                times[number][part].append(seconds)
    return [{part: values[_WARM_UP:] for part, values in measured.items()} for measured in times]


def _call(candidate: _Candidate, pictures: list[bytes]) -> dict[str, float]:
    """Detect on pictures; return the seconds of each part and of all of them."""
    s = candidate.settings
    marks = [_now()]
    images = np.stack([decode_image(data, "picture.png") for data in pictures])
    marks.append(_now())
    prepared = candidate.predictor.prepare(images)
    marks.append(_now())
    cov, bbox = candidate.predictor.run(prepared)
    marks.append(_now())
    cluster(cov, bbox, s.clusters, scale=s.box_scale, offset=s.box_offset)
    marks.append(_now())
    parts = dict(zip(PARTS, np.diff(marks).tolist(), strict=True))
    return {**parts, "total": marks[-1] - marks[0]}


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _summary(own: dict[str, list[float]], first: dict[str, list[float]], count: int) -> dict[str, float]:
    figures = {part: 1000 * median(values) for part, values in own.items()}
    ratios = {
        f"{part}_ratio": float(np.median(np.array(first[part]) / np.array(own[part]))) for part in ("network", "total")
    }
    return {**figures, **ratios, "images_per_s": 1000 * count / figures["total"]}
