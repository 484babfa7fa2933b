"""The last stage: ``results.json`` and the report of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aerodet.data import ImageSet
from aerodet.files import PROVENANCE, read_json, write_json
from aerodet.lineage import Provenance, code_version, hardware, read_provenance
from aerodet.report import (
    Arm,
    Benchmark,
    DatasetSummary,
    Evaluation,
    FileEntry,
    Finding,
    GateSummary,
    Measurement,
    ReportData,
    RunInfo,
    StageResult,
    TrainingCurve,
    make_examples,
    read_detections,
    render_report,
    results_json,
)
from aerodet.report.gap import read_gap
from aerodet.stages._run import Outcome, stage

__all__ = ["report", "run_info"]

_ARMS = {"real": "real", "synthetic": "synthetic", "finetune": "fine-tuned"}
_CHAIN = {
    "finetune": "fine-tuned",
    "pruned": "pruned",
    "retrained": "retrained",
    "qat": "QAT",
    "int8": "INT8",
}
_RENDERED = "No photograph was used: the images called real are rendered with the sensor look."
_SETS = {"real": "real", "subset": "real, for fine-tuning", "synthetic": "synthetic", "test": "test"}


@stage("results", "report")
def report(*, results: Path, report: Path, run_id: str, profile: str, started: float, **inputs: Path) -> Outcome:
    """Write ``results.json`` and the report.

    Args:
        results: receives ``results.json``.
        report: the HTML file.
        run_id: the run.
        profile: the profile as JSON.
        started: when the run began, seconds since 1970.
        inputs: the artifacts of the run by the names of the component's arguments.
    """
    settings = json.loads(profile)
    evaluations = {
        name.removeprefix("evaluation_"): Evaluation.read(path)
        for name, path in inputs.items()
        if name.startswith("evaluation_")
    }
    timings = Benchmark.from_dict(read_json(inputs["benchmark"] / "benchmark.json"))
    wall = time.time() - started if started else 0.0
    verdict = read_json(inputs["gate"] / "gate.json")
    figures = _results(inputs, evaluations, timings, wall)
    figures["gate"] = {key: verdict[key] for key in ("passed", "champion")}
    figures["gate"]["rules"] = {rule["name"]: rule["verdict"] for rule in verdict["rules"]}
    results.mkdir()
    write_json(results / "results.json", figures)
    test = ImageSet(inputs["test"])
    examples, point = make_examples(test, read_detections(inputs["evaluation_int8"] / "detections.json", test.records))
    subset = read_json(inputs["subset"] / "sample.json")
    data = ReportData(
        run=run_info(
            run_id,
            settings,
            started,
            wall,
            subset["image_fraction"],
            gpu=gpu_of(inputs["model_real"]),
        ),
        arms=tuple(Arm(key, label, evaluations[key], _note(key, inputs)) for key, label in _ARMS.items()),
        stages=tuple(_chain(inputs, evaluations, timings)),
        benchmark=timings,
        cpu_ap50=evaluations["int8_cpu"].ap50,
        training=tuple(_curves(inputs)),
        examples=examples,
        operating_point=point,
        datasets=tuple(_datasets(inputs)),
        files=tuple(_files(inputs["int8_bundle"])),
        parameters=settings,
        provenance=tuple(_provenance(inputs)),
        gate=GateSummary.from_dicts(verdict, read_json(inputs["version"] / "version.json")),
        gap=read_gap(inputs["gap"]),
    )
    render_report(data, report)
    scores = {f"{name}_ap50": e.ap50 for name, e in evaluations.items()}
    metadata = {"results": {"kind": "results", "schema": "aerodet/results/1"}, "report": {"kind": "report"}}
    return Outcome(metadata, {**scores, "throughput_ratio": timings.ratio})


def _results(
    inputs: dict[str, Path], evaluations: dict[str, Evaluation], timings: Benchmark, wall: float
) -> dict[str, Any]:
    def model(name: str) -> Measurement:
        return Measurement(ap50=evaluations[name].ap50, params_total=evaluations[name].params_total)

    int8, whole = inputs["int8_bundle"], inputs["float_bundle"]
    content = results_json(
        arms={name: Measurement(ap50=evaluations[name].ap50) for name in _ARMS},
        pruned=model("pruned"),
        retrained=model("retrained"),
        qat=model("qat"),
        int8=Measurement(
            ap50=evaluations["int8"].ap50,
            file_bytes=(int8 / "model.int8.onnx").stat().st_size,
            median_ms=timings.int8.median_ms,
        ),
        float32=Measurement(
            params_total=evaluations["finetune"].params_total,
            file_bytes=(whole / "model.onnx").stat().st_size,
            median_ms=timings.float32.median_ms,
        ),
        wall_seconds=wall,
    )
    # What was timed on the CPU is its own graph: it says what that one reaches.
    content["int8"] |= {"ap50_cpu": round(evaluations["int8_cpu"].ap50, 4), "throughput_ratio": round(timings.ratio, 3)}
    return content


def run_info(
    run_id: str,
    settings: dict[str, Any],
    started: float,
    wall: float,
    fraction: float | None = None,
    *,
    gpu: str = "",
) -> RunInfo:
    """Return what a report says of its run.

    Args:
        run_id: the run.
        settings: the profile.
        started: when it began, seconds since 1970; 0: now.
        wall: its seconds.
        fraction: of the real images that the finetune arm got.
        gpu: of the stages that used one; a report asks for none itself.
    """
    machine = hardware()
    parts = [gpu] if gpu else []
    parts += [str(machine["cpu"]), f"{machine['cores']} cores", f"{int(machine['memory_mib']) / 1024:.0f} GiB"]
    rendered = not settings["data"]["real"]
    return RunInfo(
        run_id=run_id,
        started=datetime.fromtimestamp(started or time.time(), UTC),
        wall_seconds=wall,
        profile=settings["name"],
        machine=", ".join(parts),
        code=code_version().label,
        seed=settings["seed"],
        fraction=fraction,
        remark=_RENDERED if rendered else "",
    )


def gpu_of(artifact: Path) -> str:
    """Return the GPU that an artifact was made with; empty where there was none or nothing says so."""
    if not (artifact / PROVENANCE).is_file():
        return ""
    return str(read_provenance(artifact).hardware.get("gpu", ""))


def _note(arm: str, inputs: dict[str, Path]) -> str:
    count = {name: len(ImageSet(inputs[name])) for name in ("real", "synthetic", "subset")}
    return {
        "real": f"{count['real']} real",
        "synthetic": f"{count['synthetic']} synthetic",
        "finetune": f"{count['synthetic']} + {count['subset']} real",
    }[arm]


def _chain(inputs: dict[str, Path], evaluations: dict[str, Evaluation], timings: Benchmark) -> Iterator[StageResult]:
    files = {"finetune": inputs["float_bundle"] / "model.onnx", "int8": inputs["int8_bundle"] / "model.int8.onnx"}
    latency = {"finetune": (timings.float32.median_ms, 1.0), "int8": (timings.int8.median_ms, timings.ratio)}
    for key, label in _CHAIN.items():
        milliseconds, throughput = latency.get(key, (None, None))
        yield StageResult(
            key,
            label,
            evaluations[key],
            params_total=evaluations[key].params_total,
            file_bytes=files[key].stat().st_size if key in files else None,
            median_ms=milliseconds,
            throughput=throughput,
        )


def _curves(inputs: dict[str, Path]) -> Iterator[TrainingCurve]:
    for key in ("real", "synthetic", "finetune", "retrained", "qat"):
        history = read_json(inputs[f"model_{key}"] / "history.json")
        if not history:
            continue  # TAO logged no epoch
        yield TrainingCurve(
            key,
            _ARMS.get(key) or _CHAIN[key],
            loss=tuple((int(e["epoch"]), e["loss"]) for e in history),
            ap50=tuple((int(e["epoch"]), e["ap50"]) for e in history if "ap50" in e),
        )


def _datasets(inputs: dict[str, Path]) -> Iterator[DatasetSummary]:
    digests = {name: read_provenance(inputs[name]).digest for name in _SETS}
    audited = {s.name: s for s in DatasetSummary.from_audit(read_json(inputs["audit"] / "audit.json"), digests)}
    for name, label in _SETS.items():
        if name in audited:
            findings = (*_notes(inputs[name]), *(audited[name].findings or ()))
            yield replace(audited[name], name=label, findings=findings)
        else:
            records = ImageSet(inputs[name]).records
            boxes, groups = sum(len(r.boxes) for r in records), len({r.group for r in records})
            yield DatasetSummary(label, len(records), boxes, groups, digests[name])


def _notes(dataset: Path) -> list[Finding]:
    """Return what the reader fixed or left out of a set that came from a folder."""
    ingested = dataset / "ingest.json"
    notes = read_json(ingested)["notes"] if ingested.is_file() else []
    return [Finding("info", f"While reading the folder: {note}.") for note in notes]


def _files(bundle: Path) -> Iterator[FileEntry]:
    for entry in read_json(bundle / "files.json")["files"]:
        yield FileEntry(entry["name"], entry["purpose"], entry["bytes"], entry["sha256"])


def _provenance(inputs: dict[str, Path]) -> Iterator[Provenance]:
    for path in sorted(inputs.values(), key=lambda p: p.stat().st_mtime):
        yield read_provenance(path)
