"""A made-up run, shaped like a real one."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from aerodet.data import ImageRecord
from aerodet.gap import compare, measure
from aerodet.lineage import CodeVersion, InputRef, Provenance
from aerodet.metrics import Detections
from aerodet.report import (
    Arm,
    Benchmark,
    DatasetSummary,
    Evaluation,
    FileEntry,
    Finding,
    GateRule,
    GateSummary,
    Latency,
    ReportData,
    RunInfo,
    SizeSlice,
    StageResult,
    TrainingCurve,
    make_examples,
)
from aerodet.report.gap import GapData
from aerodet.report.gap_page import crop_images

STARTED = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
RECALL = tuple(np.linspace(0, 1, 101).round(2).tolist())


class Scenes:
    """Test images of grey concrete with a white rectangle for each aircraft."""

    classes = ("aircraft",)

    def __init__(self, count=6, side=160):
        random = np.random.default_rng(3)
        self.records = []
        for index in range(count):
            corners = random.uniform(5, side - 45, (index, 2))
            boxes = np.concatenate([corners, corners + random.uniform(20, 40, (index, 2))], 1).astype(np.float32)
            self.records.append(
                ImageRecord(
                    index + 1, f"place/scene-{index}.png", side, side, "place", boxes, np.zeros(index, np.int64)
                )
            )

    def image(self, index):
        record = self.records[index]
        pixels = np.random.default_rng(index).integers(90, 130, (record.height, record.width, 3)).astype(np.uint8)
        for x1, y1, x2, y2 in record.boxes.astype(int):
            pixels[y1:y2, x1:x2] = 235
        return pixels

    def detections(self):
        """Every aircraft of the even scenes, none of the odd; a faint false alarm everywhere, a sure one in scene 5."""
        found = []
        for index, record in enumerate(self.records):
            boxes = [*(record.boxes if index % 2 == 0 else ()), np.array([0, 0, 9, 9])]
            scores = [0.9] * (len(boxes) - 1) + [0.95 if index == 5 else 0.1]
            found.append(Detections(np.array(boxes), np.array(scores), np.zeros(len(boxes), np.int64)))
        return found


def evaluation(ap50, params=11_197_893, backend="torch"):
    recall = np.array(RECALL)
    precision = np.clip(1 - recall ** (ap50 / 8) * 0.9, 0, 1) * (recall <= min(1, ap50 / 100 + 0.04))
    return Evaluation(
        ap50=ap50,
        ap75=ap50 * 0.82,
        ap=ap50 * 0.66,
        tao_sample=ap50 * 0.97,
        tao_integrate=ap50 * 0.985,
        images=240,
        boxes=1713,
        backend=backend,
        params_total=params,
        per_class={"aircraft": ap50},
        slices={
            "small": SizeSlice(ap50 * 0.84, 412),
            "medium": SizeSlice(min(99.0, ap50 * 1.03), 1301),
            "large": SizeSlice(None, 0),
        },
        recall=RECALL,
        precision=tuple(precision.tolist()),
    )


def training(key, label, epochs, goal):
    steps = np.arange(1, epochs + 1)
    wobble = np.random.default_rng(epochs).normal(0, 1.2, epochs)
    loss = 0.02 + 0.9 * np.exp(-steps / (epochs / 5)) + np.abs(wobble) * 0.006
    ap50 = goal * (1 - np.exp(-steps / (epochs / 6))) + wobble * (steps < epochs)
    return TrainingCurve(
        key,
        label,
        tuple(zip(steps.tolist(), loss.tolist(), strict=True)),
        tuple((int(s), float(np.clip(a, 0, 100))) for s, a in zip(steps, ap50, strict=True) if s % 2 == 0),
    )


def provenance(name, stage, digest, minutes, **inputs):
    finished = STARTED + timedelta(minutes=minutes)
    references = {key: InputRef(value * 64, f"file:///runs/demo/{key}") for key, value in inputs.items()}
    code = CodeVersion("0.1.0", "3f2c91d" + "0" * 33)
    return Provenance(
        name, digest * 64, stage, {"seed": 7}, references, code, finished - timedelta(seconds=64), finished
    )


@pytest.fixture
def scenes():
    return Scenes()


@pytest.fixture
def gap_data(scenes):
    return made_up_gap(scenes)


def made_up_gap(scenes):
    others = Scenes(9)
    gap = compare(measure(scenes), measure(others, gsd=0.5))
    return GapData(gap.to_dict(), {"real": crop_images(scenes, count=2), "synthetic": crop_images(others, count=3)})


@pytest.fixture
def report_data(scenes):
    return made_up_run(scenes)


def made_up_run(scenes):
    examples, point = make_examples(scenes, scenes.detections(), n=3)
    float32, int8 = Latency(31.4, 30.2, 34.9, 31.8), Latency(10.9, 10.4, 12.6, 91.7)
    finetune = evaluation(91.8)
    return ReportData(
        run=RunInfo(
            run_id="20260501-120000-quickstart",
            started=STARTED,
            wall_seconds=431.0,
            profile="quickstart",
            machine="AMD EPYC 7B13, 2 cores, 8 GB",
            code="0.1.0 (3f2c91d)",
            seed=7,
            fraction=0.1,
            remark="In this profile the real images are renderings with a sensor's look; no photograph was used.",
        ),
        arms=(
            Arm("real", "Real", evaluation(94.2), "320 real"),
            Arm("synthetic", "Synthetic", evaluation(71.6), "640 synthetic"),
            Arm("finetune", "Fine-tuned", finetune, "640 synthetic + 32 real"),
        ),
        stages=(
            StageResult("finetune", "Fine-tuned", finetune, 11_197_893, 44_812_003, 31.4, 1.0),
            StageResult("pruned", "Pruned", evaluation(68.9), 3_372_973),
            StageResult("retrained", "Retrained", evaluation(92.0), 3_372_973),
            StageResult("qat", "QAT", evaluation(91.9), 3_372_973),
            StageResult("int8", "INT8", evaluation(91.55, backend="onnxruntime"), 3_372_973, 3_461_112, 10.9, 2.88),
        ),
        benchmark=Benchmark(float32, int8, ratio=2.88, threads=2, batch=1, cpu="AMD EPYC 7B13"),
        training=(
            training("real", "Real", 40, 95.0),
            training("synthetic", "Synthetic", 40, 90.0),
            training("finetune", "Fine-tuned", 20, 92.0),
            training("retrained", "Retrained", 30, 92.5),
            training("qat", "QAT", 8, 92.2),
        ),
        examples=examples,
        operating_point=point,
        datasets=(
            DatasetSummary("real, training", 320, 2284, 8, "a" * 64, ()),
            DatasetSummary(
                "synthetic",
                640,
                5210,
                64,
                "b" * 64,
                (Finding("note", "airport-03/scene-0012.png has a box under 4 pixels", 9),),
            ),
            DatasetSummary(
                "test",
                240,
                1713,
                3,
                "c" * 64,
                (
                    Finding("error", "tile-0044.png shows the same pixels as tile-0041.png of real, training", 2),
                    Finding("warning", "box 12, 8, 12, 40 in tile-0101.png has no area"),
                ),
            ),
        ),
        files=(
            FileEntry("export/int8.engine", "TensorRT 10.8 on compute capability 8.6", 3_912_448, "d" * 64),
            FileEntry("export/int8.onnx", "ONNX Runtime; TensorRT builds an engine from it", 3_461_112, "e" * 64),
            FileEntry("export/calibration.json", "TensorRT with explicit ranges", 4_210, "f" * 64),
            FileEntry("export/labels.txt", "DeepStream", 9, "0123456789abcdef" * 4),
        ),
        parameters={
            "profile": "quickstart",
            "seed": 7,
            "model": {"arch": "resnet18", "width": 0.5, "all_projections": False},
            "train": {"epochs": 40, "batch": 16, "learning_rate": [5e-6, 5e-4]},
            "prune": {"threshold": 0.5, "granularity": 8},
        },
        provenance=(
            provenance("real", "ingest", "a", 1),
            provenance("synthetic", "synthesize", "b", 2),
            provenance("pretrained", "train", "1", 4, dataset="b"),
            provenance("finetuned", "train", "2", 5, dataset="a", start="1"),
            provenance("exported", "export", "3", 7, model="2", calibration="a"),
        ),
        gate=GateSummary(
            passed=False,
            rules=(
                GateRule("quantisation", "passed", "INT8 reaches AP50 91.6, the float model it was made from 92.0"),
                GateRule("champion", "skipped", "there is no champion yet, so there is nothing to compare with"),
                GateRule("slices", "failed", "more than 5 points down: place 1024 (44 boxes): −7.1 points"),
            ),
            outcome="Published as version 3, challenger: the gate did not let it pass: slices.",
        ),
        gap=made_up_gap(scenes),
    )
