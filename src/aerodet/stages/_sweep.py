"""Stages of a sweep over fractions of the real images: the points of its curve, and its report."""

from __future__ import annotations

import json
import time
from pathlib import Path

from aerodet.data import ImageSet, frame_of
from aerodet.files import read_json, write_json
from aerodet.report import Evaluation
from aerodet.report.gap import read_gap
from aerodet.report.sweep import SetSize, Sweep, SweepPoint, sweep_results
from aerodet.report.sweep_page import SweepData, render_sweep
from aerodet.stages._report import gpu_of, run_info
from aerodet.stages._run import Outcome, stage

__all__ = ["curve", "sweep_report"]

_CURVE = "curve.json"


@stage("curve")
def curve(
    *,
    curve: Path,
    percent: float = 0.0,
    frames: int = 0,
    subset: Path | None = None,
    pretrained: Path | None = None,
    scratch: Path | None = None,
    previous: Path | None = None,
) -> Outcome:
    """Add a point to a data-efficiency curve.

    Args:
        curve: receives ``curve.json``: the points of ``previous``, and this one.
        percent: of the real images that were asked for.
        frames: real frames that were asked for instead.
        subset: image set of the real images trained on; None for none.
        pretrained: evaluation of the model that started from the synthetic one.
        scratch: evaluation of the model that started from nothing.
        previous: the curve so far.
    """
    point = SweepPoint(
        percent=percent,
        asked_frames=frames,
        real=_size(subset) if subset is not None else SetSize(),
        pretrained=_figures(pretrained),
        scratch=_figures(scratch),
    )
    earlier = read_json(previous / _CURVE) if previous is not None else {"points": [], "gpu": ""}
    gpus = [gpu_of(evaluation) for evaluation in (pretrained, scratch) if evaluation is not None]
    gpu = next(filter(None, [earlier.get("gpu"), *gpus]), "")
    curve.mkdir()
    write_json(curve / _CURVE, {"points": [*earlier["points"], point.to_dict()], "gpu": gpu})
    scores = {"pretrained_ap50": point.pretrained, "scratch_ap50": point.scratch}
    metrics = {name: found["ap50"] for name, found in scores.items() if found is not None}
    metadata = {"curve": {"kind": "curve", "schema": "aerodet/curve/1"}}
    return Outcome(metadata, {"images": float(point.real.images), **metrics})


@stage("results", "report")
def sweep_report(
    *,
    results: Path,
    report: Path,
    real: Path,
    synthetic: Path,
    test: Path,
    curve: Path,
    gap: Path,
    run_id: str,
    profile: str,
    started: float,
) -> Outcome:
    """Write ``results.json`` and the report of a sweep.

    Args:
        results: receives ``results.json``.
        report: the HTML file.
        real: image set of the real arm.
        synthetic: image set of the synthetic arm.
        test: image set that everything was tested on.
        curve: all points.
        gap: statistics of the real and the synthetic set.
        run_id: the run.
        profile: the profile as JSON.
        started: when the run began, seconds since 1970.
    """
    settings = json.loads(profile)
    drawn = read_json(curve / _CURVE)
    points = [SweepPoint.from_dict(found) for found in drawn["points"]]
    sweep = Sweep(
        tuple(sorted(points, key=lambda point: point.real.images)), _size(real), _size(synthetic), _size(test)
    )
    wall = time.time() - started if started else 0.0
    compared = read_gap(gap)
    distances = {s["key"]: s["distance"] for s in compared.gap["statistics"] if s["distance"] is not None}
    tenth = round(100 * settings["data"]["fraction"], 6)
    results.mkdir()
    write_json(results / "results.json", sweep_results(sweep, distances, finetune_percent=tenth, wall_seconds=wall))
    info = run_info(run_id, settings, started, wall, gpu=drawn.get("gpu", ""))
    render_sweep(SweepData(info, sweep, compared, settings), report)
    scores = {
        f"{way}_{point.name.removesuffix(' %').replace(' ', '_')}": found["ap50"]
        for point in sweep.points
        for way, found in (("pretrained", point.pretrained), ("scratch", point.scratch))
        if found is not None
    }
    metadata = {"results": {"kind": "results", "schema": "aerodet/sweep-results/1"}, "report": {"kind": "report"}}
    return Outcome(metadata, scores)


def _size(folder: Path) -> SetSize:
    records = ImageSet(folder).records
    return SetSize(
        images=len(records),
        frames=len({frame_of(record) for record in records}),
        boxes=sum(len(record.boxes) for record in records),
        places=len({record.group for record in records}),
    )


def _figures(evaluation: Path | None) -> dict[str, float] | None:
    if evaluation is None:
        return None
    found = Evaluation.read(evaluation)
    return {name: value for name in ("ap50", "ap75", "ap") if (value := getattr(found, name)) is not None}
