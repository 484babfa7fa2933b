"""A folder of runs with something in every view, a server that shows it, and a browser that looks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from ui_chromium import BINARY, Chromium
from ui_serving import serving

from aerodet.data import ImageRecord, ImageSetWriter
from aerodet.lineage import InputRef, write_provenance
from aerodet.pipelines.record import RunRecord, StageRecord
from aerodet.registry import open_registry

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
EVIL = "<img src=x onerror=alert(1)>"


def provenance(folder: Path, stage: str, kind: str, minute: int, inputs: dict | None = None, **settings) -> str:
    """Write the provenance of a finished artifact and return its digest."""
    return write_provenance(
        folder,
        name=settings.pop("name", folder.name),
        inputs=inputs or {},
        stage=stage,
        parameters=settings.pop("parameters", {}),
        started=START + timedelta(minutes=minute),
        finished=START + timedelta(minutes=minute, seconds=30),
        annotations={"kind": kind, **settings},
    ).digest


def write_images(folder: Path, count: int) -> None:
    generator = np.random.default_rng(0)
    with ImageSetWriter(folder, ("aircraft",)) as writer:
        for number in range(1, count + 1):
            box = np.array([[8, 8, 40, 24]], np.float32)
            ignored = np.array([[44, 44, 60, 60]] if number == 13 else [], np.float32)
            record = ImageRecord(
                number, f"image_{number}.png", 64, 64, "place", box, np.zeros(1, np.int64), ignored=ignored
            )
            writer.add(record, generator.integers(0, 256, (64, 64, 3), dtype=np.uint8))


def write_graph(path: Path) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 1, 1], [0.5] * 12)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, 8, 8])
        for name, channels in (("images", 3), ("boxes", 4))
    ]
    node = helper.make_node("Conv", ["images", "w"], ["boxes"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))


def write_evaluation(folder: Path) -> None:
    folder.mkdir(parents=True)
    figures = dict.fromkeys(("ap50", "ap75", "ap", "tao_sample", "tao_integrate"), 90.5)
    curve = {"recall": [0.0, 0.5, 0.9, 1.0], "precision": [1.0, 1.0, 0.8, 0.0]}
    slices = {"small": {"ap50": 80.0, "boxes": 3}, "large": {"ap50": None, "boxes": 0}}
    content = {**figures, "curve": curve, "slices": slices, "per_class": {"aircraft": {"ap50": 90.5}}}
    (folder / "evaluation.json").write_text(json.dumps(content))
    detections = [
        {"image_id": number, "category_id": 1, "bbox": [8, 8, 32, 16], "score": 0.9} for number in range(1, 14)
    ] + [{"image_id": 1, "category_id": 1, "bbox": [40, 40, 20, 20], "score": 0.95}]
    (folder / "detections.json").write_text(json.dumps(detections))


def make_run(run: Path) -> dict[str, str]:
    """Write a finished run; return its artifacts' digests by stage."""
    places = {s: run / "artifacts" / s for s in ("render", "train", "export", "evaluate", "benchmark", "audit")}
    write_images(places["render"] / "dataset", 14)
    made = {"render": provenance(places["render"] / "dataset", "synthesize", "coco", 0)}
    (places["train"] / "model").mkdir(parents=True)
    history = [
        {"epoch": e, "loss": 1 / e, "lr": 1e-3, **({"ap50": 10.0 * e} if e % 2 == 0 else {})} for e in range(1, 7)
    ]
    (places["train"] / "model" / "history.json").write_text(json.dumps(history))
    (places["train"] / "model" / "spec.txt").write_text("random_seed: 1\n")
    made["train"] = provenance(
        places["train"] / "model",
        "train",
        "checkpoint",
        1,
        {"dataset": places["render"] / "dataset", "init": InputRef("e" * 64, "s3://gone/init")},
        parameters={"name": EVIL, "spec": f"{EVIL}\nsecond line"},
    )
    (places["export"] / "bundle").mkdir(parents=True)
    write_graph(places["export"] / "bundle" / "model.onnx")
    (places["export"] / "bundle" / "model.engine").write_text("plan")
    files = [{"name": "model.onnx", "bytes": 300, "sha256": "", "purpose": EVIL}]
    listed = {"classes": ["aircraft"], "size": [64, 64], "quantized": True, "parameters": 12, "files": files}
    (places["export"] / "bundle" / "files.json").write_text(json.dumps(listed))
    made["export"] = provenance(
        places["export"] / "bundle", "export", "engine", 2, {"model": places["train"] / "model"}, quantized=True
    )
    write_evaluation(places["evaluate"] / "evaluation")
    inputs = {"model": places["export"] / "bundle", "dataset": places["render"] / "dataset"}
    made["evaluate"] = provenance(places["evaluate"] / "evaluation", "evaluate", "evaluation", 3, inputs)
    (places["benchmark"] / "benchmark").mkdir(parents=True)
    side = {"median_ms": 2.0, "p10": 1.9, "p90": 2.2, "images_per_s": 500.0}
    timings = {"float": side, "int8": {**side, "median_ms": 1.0}, "ratio": 2.0, "threads": 2}
    (places["benchmark"] / "benchmark" / "benchmark.json").write_text(json.dumps(timings))
    inputs = {"int8_bundle": places["export"] / "bundle"}
    made["benchmark"] = provenance(places["benchmark"] / "benchmark", "benchmark", "benchmark", 4, inputs)
    (places["audit"] / "audit").mkdir(parents=True)
    summary = {
        "images": 14,
        "boxes": 14,
        "regions": 1,
        "empty_images": 0,
        "groups": {"place": 14},
        "box_side": {"p50": 22.6},
    }
    finding = {"severity": "warning", "kind": "tiny-box", "set": "real", "sentence": EVIL}
    (places["audit"] / "audit" / "audit.json").write_text(
        json.dumps({"sets": {"real": summary}, "findings": [finding]})
    )
    made["audit"] = provenance(places["audit"] / "audit", "audit", "audit", 5, {"real": places["render"] / "dataset"})
    write_record(run, places)
    return made


def write_record(run: Path, places: dict[str, Path]) -> None:
    record = RunRecord(run.name, "aerodet", {"run_id": run.name, "seed": 0}, START.isoformat())
    for stage, place in places.items():
        outputs = {path.name: str(path) for path in place.iterdir()}
        record.stages.append(StageRecord(stage, "SUCCEEDED", 30.0, outputs=outputs))
    record.state, record.finished = "SUCCEEDED", (START + timedelta(minutes=6)).isoformat()
    record.write(run)
    arms = {name: {"ap50": 80.0} for name in ("real", "synthetic", "finetune")}
    results = {"arms": arms, "int8": {"ap50": 79.25, "median_ms": 1.0, "throughput_ratio": 2.0}}
    (run / "results.json").write_text(json.dumps(results))
    (run / "report.html").write_text(f"<h1>Report</h1><script>document.title = '{EVIL}'</script>")
    (run / "logs").mkdir()
    (run / "logs" / "train.log").write_text(f"epoch 1\n{EVIL}\n")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder of three runs (one finished, one failed, one unreadable) and a registry; digests of the first."""
    root = tmp_path_factory.mktemp("ui") / "runs"
    made = make_run(root / "first")
    failed = RunRecord("failed", "aerodet", {}, (START - timedelta(days=1)).isoformat(), state="FAILED")
    failed.stages = [StageRecord("render", "FAILED", 3.0, error=EVIL)]
    failed.write(root / "failed")
    tasks = {"render": {"taskInfo": {"name": "render"}}, "train": {"dependentTasks": ["render"]}}
    (root / "failed" / "pipeline.yaml").write_text(json.dumps({"root": {"dag": {"tasks": tasks}}}))
    (root / "broken").mkdir()
    (root / "broken" / "run.json").write_text('{"stages": 1}')
    (root / EVIL.replace("/", "")).mkdir()
    shutil.copy(root / "first" / "run.json", root / EVIL.replace("/", "") / "run.json")
    bundle = root / "first" / "artifacts" / "export" / "bundle"
    open_registry(root / "registry").publish(
        "aircraft",
        {path.name: path for path in bundle.iterdir()},
        digests={"bundle": made["export"]},
        metrics={"ap50": 79.25, "median_ms": 1.0},
        parameters={"note": EVIL},
        run_id="first",
    )
    return root, made


@pytest.fixture(scope="session")
def address(runs: tuple[Path, dict[str, str]]) -> Iterator[str]:
    """The address of a server on loopback."""
    with serving("--in", str(runs[0])) as found:
        yield found


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if BINARY is None:
        pytest.skip("Chromium is not installed; apt-get install chromium")
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(_chromium: Chromium) -> Chromium:
    """A browser that has done nothing wrong yet, in light colours on a wide screen."""
    _chromium.requests.clear()
    _chromium.errors.clear()
    _chromium.look()
    return _chromium
