"""Stages that measure: evaluate and benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aerodet.data import ImageSet
from aerodet.deploy import OnnxDetector, compare_latency
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.device import pick_device
from aerodet.detectnet.inference import Predictor, TorchPredictor, detect
from aerodet.detectnet.model import count_parameters
from aerodet.detectnet.settings import Settings, settings_of
from aerodet.detectnet.spec import read_spec
from aerodet.errors import DataError
from aerodet.files import read_json, write_json
from aerodet.metrics import Detections, coco_ap, coco_results, tao_ap
from aerodet.stages._run import Outcome, stage

__all__ = ["EVALUATION", "benchmark", "evaluate", "measure"]

EVALUATION = "aerodet/evaluation/1"


@stage("evaluation")
def evaluate(*, model: Path, dataset: Path, evaluation: Path, graph: str = "") -> Outcome:
    """Evaluate a checkpoint with PyTorch, or a graph of an export with ONNX Runtime on the CPU.

    Args:
        model: checkpoint, or an export.
        dataset: image set with the truth.
        evaluation: receives ``evaluation.json`` and ``detections.json`` (COCO results).
        graph: file of the export; empty for a checkpoint.

    Raises:
        DataError: the test set has no boxes, or there is no such graph.
    """
    images = ImageSet(dataset)
    settings = settings_of(read_spec(model / "spec.txt"))
    predictor, facts = _graph(model, graph) if graph else _checkpoint(model)
    found = detect(predictor, images, settings)
    figures = measure(images, found, settings)
    evaluation.mkdir()
    write_json(evaluation / "evaluation.json", {**figures, **facts})
    write_json(evaluation / "detections.json", coco_results([r.id for r in images.records], found), indent=None)
    scores = {key: figures[key] for key in ("ap50", "ap75", "ap", "tao_sample", "tao_integrate")}
    metadata = {"kind": "evaluation", "schema": EVALUATION, "backend": facts["backend"], **scores}
    return Outcome({"evaluation": metadata}, scores)


@stage("benchmark")
def benchmark(
    *, float_bundle: Path, int8_bundle: Path, benchmark: Path, batch: int, threads: int, pairs: int
) -> Outcome:
    """Compare the latency of the float graph of one export and the INT8 graph for CPUs of another.

    Args:
        float_bundle: export of the unpruned float model.
        int8_bundle: export of the quantised model.
        benchmark: receives ``benchmark.json``.
        batch: images a call.
        threads: CPU threads.
        pairs: pairs of calls, the two graphs alternating.
    """
    settings = settings_of(read_spec(float_bundle / "spec.txt"))
    result = compare_latency(
        float_bundle / "model.onnx",
        int8_bundle / "model.int8.cpu.onnx",
        size=settings.size,
        batch=batch,
        threads=threads,
        pairs=pairs,
    )
    benchmark.mkdir()
    write_json(benchmark / "benchmark.json", result)
    metrics = {
        "float_ms": result["float"]["median_ms"],
        "int8_ms": result["int8"]["median_ms"],
        "ratio": result["ratio"],
    }
    return Outcome({"benchmark": {"kind": "benchmark", "schema": "aerodet/benchmark/1"}}, metrics)


def measure(images: ImageSet, found: list[Detections], settings: Settings) -> dict[str, Any]:
    """Return the content of ``evaluation.json``: average precisions in percent, the curve and the size slices."""
    truth = [record.truth for record in images.records]
    classes, e = settings.classes, settings.evaluation
    coco = coco_ap(truth, found, len(classes))
    sample = tao_ap(truth, found, len(classes), "sample", min_overlap=e.min_overlap, limits=e.limits)
    integrate = tao_ap(truth, found, len(classes), "integrate", min_overlap=e.min_overlap, limits=e.limits)
    return {
        "ap50": 100 * coco.ap50,
        "ap75": 100 * coco.ap75,
        "ap": 100 * coco.ap,
        "tao_sample": 100 * sample.mean_ap,
        "tao_integrate": 100 * integrate.mean_ap,
        "per_class": {name: {"ap50": _percent(ap)} for name, ap in zip(classes, coco.per_class_ap50, strict=True)},
        "slices": {name: {"ap50": _percent(s.ap50), "boxes": s.boxes} for name, s in coco.slices.items()},
        "curve": {
            "recall": [round(float(x), 4) for x in coco.curve.recall],
            "precision": [round(float(x), 6) for x in coco.curve.precision],
        },
        "images": len(truth),
        "boxes": sum(len(record.boxes) for record in images.records),
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _checkpoint(folder: Path) -> tuple[Predictor, dict[str, Any]]:
    model, _ = load_model(folder)
    counts = count_parameters(model)
    facts = {"backend": "torch", "params_total": counts["total"], "params_trainable": counts["trainable"]}
    return TorchPredictor(model, pick_device()), facts


def _graph(folder: Path, name: str) -> tuple[Predictor, dict[str, Any]]:
    if not (folder / name).is_file():
        raise DataError(f"the export has no graph {name}; it has {', '.join(sorted(p.name for p in folder.iterdir()))}")
    facts = {"backend": "onnxruntime", "graph": name, "params_total": read_json(folder / "files.json")["parameters"]}
    return OnnxDetector(folder / name), facts
