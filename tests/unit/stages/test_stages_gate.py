"""The gate as a stage: its champion comes from a registry, with published detections or with new ones."""

import json

import numpy as np
import pytest
import torch

from aerodet import stages
from aerodet.data import ImageSet
from aerodet.data import audit as audit_sets
from aerodet.deploy.onnx import export_float
from aerodet.detectnet.model import Architecture, DetectNet
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.lineage import InputRef
from aerodet.metrics import Detections, coco_results
from aerodet.registry import open_registry

SPEC = format_spec(
    build_spec(SpecOptions(classes=("aircraft",), image_width=64, image_height=64, layers=10, width=0.25))
)
LIMITS = {
    "least_ap50": 1.0,
    "int8_drop": 1.0,
    "champion_drop": 0.5,
    "slice_drop": 5.0,
    "slice_boxes": 4,
    "speedup": 1.0,
    "replicates": 100,
    "slices": ["size", "place"],
}
BENCHMARK = {"int8": {"median_ms": 4.0}, "ratio": 2.0, "cpu": "x", "threads": 1, "batch": 1, "size": [64, 64]}


@pytest.fixture
def sets(image_set, tmp_path):
    return {
        "test": image_set(tmp_path / "test", seed=1, place="test"),
        "real": image_set(tmp_path / "real", seed=2, place="real"),
        "synthetic": image_set(tmp_path / "synthetic", seed=3, place="synthetic"),
    }


@pytest.fixture
def judge(sets, tmp_path):
    """Return a function that runs the gate for a model that finds all but the images named."""

    def run(missed=(), **changed):
        made = {name: tmp_path / "made" / name for name in ("evaluation", "parent", "benchmark", "audit")}
        for folder in made.values():
            folder.mkdir(parents=True, exist_ok=True)
        for name, left_out in (("evaluation", missed), ("parent", missed)):
            (made[name] / "detections.json").write_text(json.dumps(detections(sets["test"], left_out)))
        (made["benchmark"] / "benchmark.json").write_text(json.dumps(BENCHMARK))
        audit = audit_sets({name: ImageSet(folder) for name, folder in sets.items()})
        (made["audit"] / "audit.json").write_text(json.dumps(audit.to_dict()))
        out = tmp_path / f"gate-{len(list(tmp_path.glob('gate-*')))}"
        options = {"registry": str(tmp_path / "registry"), "name": "aircraft", "run_id": "r", "seed": 0, **LIMITS}
        outcome = stages.gate(**sets, **made, gate=out, **(options | changed))
        found = json.loads((out / "gate.json").read_text())
        return found, {rule["name"]: rule for rule in found["rules"]}, outcome

    return run


def detections(folder, missed=()):
    """Return COCO results that are right in all images but those named."""
    records = ImageSet(folder).records
    found = [
        Detections.empty() if r.id in missed else Detections(r.boxes, np.full(len(r.boxes), 0.9), r.labels)
        for r in records
    ]
    return coco_results([r.id for r in records], found)


def publish(tmp_path, *, test, **files):
    """Publish a version and make it champion."""
    folder = tmp_path / "champion"
    folder.mkdir(exist_ok=True)
    contents = {"model.engine": "engine", "model.onnx": "graph", **files}
    for name, content in contents.items():
        if isinstance(content, str):
            (folder / name).write_text(content)
    registry = open_registry(tmp_path / "registry")
    registry.publish(
        "aircraft",
        {path.name: path for path in folder.iterdir()},
        digests={"test": test},
        metrics={"ap50": 50.0},
        parameters={},
        run_id="before",
    )
    registry.promote("aircraft", 1)


def test_without_a_champion_the_first_model_passes_and_no_registry_is_made(judge, tmp_path):
    found, rules, outcome = judge()
    assert found["passed"] is True
    assert rules["champion"]["verdict"] == "skipped"
    assert outcome.metrics == {"passed": 1.0, "failed": 0.0, "skipped": 1.0}
    assert not (tmp_path / "registry").exists()


def test_the_champions_published_detections_serve_on_the_same_test_set(judge, sets, tmp_path):
    digest = InputRef.of(sets["test"]).digest
    published = {"detections.json": json.dumps(detections(sets["test"])), "benchmark.json": json.dumps(BENCHMARK)}
    publish(tmp_path, test=digest, **published)
    found, rules, _ = judge(missed=(1, 2, 3))
    assert (found["passed"], found["champion"]) == (False, 1)
    assert rules["champion"]["verdict"] == "failed"
    assert rules["champion"]["figures"]["reference"] == 100.0
    assert rules["speed"]["figures"]["champion_ms"] == 4.0
    assert judge()[0]["passed"] is True


def test_on_another_test_set_the_champion_is_run_again(judge, tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "champion"
    folder.mkdir()
    model = DetectNet(Architecture(layers=10, width=0.25)).eval()
    export_float(model, folder / "model.int8.onnx", size=(64, 64), classes=("aircraft",))
    published = {"spec.txt": SPEC, "labels.txt": "aircraft\n", "detections.json": "not of this test set"}
    publish(tmp_path, test="0" * 64, **published)
    found, rules, _ = judge()
    assert found["champion"] == 1
    assert rules["champion"]["verdict"] == "passed"
    assert rules["champion"]["figures"]["reference"] < 50  # it was never trained


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "it was published without model.int8.onnx, spec.txt, labels.txt"),
        (
            {"model.int8.onnx": "x", "spec.txt": SPEC, "labels.txt": "ship\n"},
            "its classes are ship, those of the images aircraft",
        ),
    ],
)
def test_a_champion_that_cannot_be_run_on_the_test_set_is_left_to_a_person(judge, tmp_path, files, reason):
    publish(tmp_path, test="0" * 64, **files)
    found, rules, _ = judge()
    assert found["passed"] is False
    assert reason in rules["champion"]["sentence"]


def test_test_images_among_the_training_images_fail(judge, sets, image_set, tmp_path):
    sets["real"] = image_set(tmp_path / "again", seed=1, place="elsewhere")
    found, rules, _ = judge()
    assert found["passed"] is False
    assert (rules["disjoint"]["verdict"], rules["audit"]["verdict"]) == ("failed", "failed")
    assert rules["disjoint"]["figures"]["images"] == 8


def test_what_was_compared_stays_with_the_verdict(judge):
    found, rules, _ = judge(slice_boxes=2)
    names = [part["slice"] for part in rules["slices"]["figures"]["slices"]]
    assert names == ["size small", "place test_1", "place test_2", "place test_3"]
    assert found["limits"]["slice_boxes"] == 2
