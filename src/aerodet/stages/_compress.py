"""Stages of the compression search: note a candidate, and compare them all."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from aerodet.data import ImageSet
from aerodet.errors import DataError
from aerodet.files import PROVENANCE, folder_digest, read_json, write_json
from aerodet.report import Evaluation
from aerodet.report.compression import Point, Reference, Search, front
from aerodet.report.compression_page import Page, render_compression
from aerodet.stages._report import gpu_of, run_info
from aerodet.stages._run import Outcome, stage

__all__ = ["CANDIDATES", "candidate", "compare"]

CANDIDATES = "aerodet/candidates/1"
_FILE, _BEST = "candidates.json", "best"
_GRAPHS = {"cpu": "model.int8.cpu.onnx"}  # other targets take the graph for TensorRT


@stage("candidates")
def candidate(
    *,
    bundle: Path,
    evaluation: Path,
    evaluation_float: Path,
    evaluation_teacher: Path,
    teacher_bundle: Path,
    benchmark: Path,
    candidates: Path,
    name: str,
    way: str,
    wanted: int,
    budget: float,
    target: str,
    before: Path | None = None,
) -> Outcome:
    """Add a point to those of a compression search, and keep the export of the best one so far.

    Args:
        bundle: INT8 export of the point.
        evaluation: of its INT8 graph.
        evaluation_float: of its checkpoint before quantisation.
        evaluation_teacher: of the network that is compressed.
        teacher_bundle: float export of that network.
        benchmark: latency of both exports.
        candidates: receives ``candidates.json`` and ``best/``, the export of the best point within the budget.
        name: of the point.
        way: how it came to be.
        wanted: parameters that were aimed at.
        budget: points of AP50 that the best may lose.
        target: whose kernels its channels suit.
        before: candidates so far.
    """
    timings = read_json(benchmark / "benchmark.json")
    reference = _reference(teacher_bundle, evaluation_teacher, timings)
    quantised, whole = Evaluation.read(evaluation), Evaluation.read(evaluation_float)
    point = Point(
        name=name,
        way=way,
        wanted=wanted,
        parameters=int(read_json(bundle / "files.json")["parameters"]),
        bytes=(bundle / _GRAPHS.get(target, "model.int8.onnx")).stat().st_size,
        ap50=quantised.ap50,
        ap75=quantised.ap75 or 0.0,
        float_ap50=whole.ap50,
        float_ap75=whole.ap75 or 0.0,
        median_ms=timings["int8"]["median_ms"],
        speedup=timings["ratio"],
        runtime=timings["runtime"],
        digest=folder_digest(bundle),
    )
    content = read_json(before / _FILE) if before else {"points": [], "references": []}
    earlier = [Point(**entry) for entry in content["points"]]
    search = Search(reference, (*earlier, point), budget, target)
    candidates.mkdir()
    best = search.chosen
    if best is not None:
        # A point that is not the new one was the best before, too: its export is in the candidates so far.
        _carry(bundle if best is point or before is None else before / _BEST, best, candidates / _BEST)
    references = [*content["references"], reference.median_ms]
    gpu = content.get("gpu") or gpu_of(evaluation_float)
    write_json(candidates / _FILE, {**search.to_dict(), "references": references, "gpu": gpu})
    metrics = {"parameters": point.parameters, "ap50": point.ap50, "speedup": point.speedup, "bytes": point.bytes}
    metadata = {"kind": "candidates", "schema": CANDIDATES, "points": len(search.points)}
    return Outcome({"candidates": metadata}, metrics)


@stage("results", "report", "chosen")
def compare(
    *,
    candidates: Path,
    subset: Path,
    test: Path,
    results: Path,
    report: Path,
    chosen: Path,
    run_id: str,
    profile: str,
    started: float,
) -> Outcome:
    """Compare the points of a compression search, and put the one to take aside.

    Args:
        candidates: all points.
        subset: the real images that were trained on.
        test: image set that everything was tested on.
        results: receives ``results.json``.
        report: the HTML file.
        chosen: receives the export of the best point within the budget, and ``chosen.json``, which says which it is
            or that there is none.
        run_id: the run.
        profile: the profile as JSON.
        started: when the run began, seconds since 1970.

    Raises:
        DataError: the candidates are not those of a search, or an export is another point's.
    """
    content = read_json(candidates / _FILE)
    try:
        search = _scaled(Search.from_dict(content), content["references"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{candidates} holds no candidates of a compression search: {error!r}") from error
    best, settings = search.chosen, json.loads(profile)
    wall = time.time() - started if started else 0.0
    figures = _figures(search, wall)
    results.mkdir()
    write_json(results / "results.json", figures)
    if best is None:
        chosen.mkdir()
    else:
        _carry(candidates / _BEST, best, chosen)
    write_json(chosen / "chosen.json", {key: figures[key] for key in ("chosen", "least_ap50", "teacher")})
    images = (len(ImageSet(subset)), len(ImageSet(test)))
    info = run_info(run_id, settings, started, wall, gpu=content.get("gpu", ""))
    render_compression(Page(info, search, settings, *images), report)
    metadata: dict[str, dict[str, Any]] = {
        "results": {"kind": "results", "schema": "aerodet/compression/1"},
        "report": {"kind": "report"},
        "chosen": {"kind": "bundle", "schema": "aerodet/bundle/1", "quantized": True} if best else {"kind": "choice"},
    }
    metrics = {"points": float(len(search.points)), "teacher_ap50": search.reference.ap50}
    if best is not None:
        metadata["chosen"] |= {"params_total": best.parameters, "point": best.name}
        metrics |= {"chosen_ap50": best.ap50, "chosen_speedup": best.speedup}
    return Outcome(metadata, metrics)


def _carry(source: Path, point: Point, target: Path) -> None:
    """Copy a point's export, after a look whether it is that: a search may go on with candidates of another version."""
    if folder_digest(source) != point.digest:
        raise DataError(f"{source} is not the export of point {point.name}; start the search anew")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(PROVENANCE))


def _reference(bundle: Path, evaluation: Path, timings: dict[str, Any]) -> Reference:
    found = Evaluation.read(evaluation)
    return Reference(
        parameters=int(read_json(bundle / "files.json")["parameters"]),
        bytes=(bundle / "model.onnx").stat().st_size,
        ap50=found.ap50,
        ap75=found.ap75 or 0.0,
        median_ms=timings["float"]["median_ms"],
    )


def _scaled(search: Search, references: list[float]) -> Search:
    """Put every point's latency on the reference's median: the points were timed at different moments."""
    median = statistics.median(references)
    points = tuple(replace(point, median_ms=median / point.speedup) for point in search.points)
    return replace(search, reference=replace(search.reference, median_ms=median), points=points)


def _figures(search: Search, wall: float) -> dict[str, Any]:
    best, on_front = search.chosen, {point.name for point in front(search.points)}
    content = search.to_dict()
    points = [
        {**entry, "within_budget": entry["ap50"] >= search.least_ap50, "on_front": entry["name"] in on_front}
        for entry in content["points"]
    ]
    return {
        "flow": "compress",
        "target": search.target,
        "budget": search.budget,
        "least_ap50": search.least_ap50,
        "teacher": content["reference"],
        "points": points,
        "chosen": next((point for point in points if best is not None and point["name"] == best.name), None),
        "verdicts": [
            {
                "wanted": v.wanted,
                "pruned": v.pruned.name,
                "narrow": v.narrow.name,
                "outcome": v.outcome,
            }
            for v in search.verdicts()
        ],
        "sentence": search.sentence(),
        "wall_seconds": round(wall, 1),
    }
