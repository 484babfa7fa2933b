"""The stage that decides whether a model may become the champion."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from aerodet.data import ImageSet
from aerodet.deploy import OnnxDetector
from aerodet.detectnet.inference import detect
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import read_spec
from aerodet.errors import DataError, SpecError
from aerodet.files import read_json, write_json
from aerodet.lineage import InputRef
from aerodet.metrics import Detections
from aerodet.registry import CHAMPION, Registry, Version, open_registry
from aerodet.registry._slices import slices_of
from aerodet.registry.gate import Champion, Limits, judge, overlap
from aerodet.report import read_detections
from aerodet.stages._run import Outcome, stage

__all__ = ["GATE", "gate"]

GATE = "aerodet/gate/1"
_GRAPH = "model.int8.onnx"


@stage("gate")
def gate(
    *,
    test: Path,
    real: Path,
    synthetic: Path,
    audit: Path,
    evaluation: Path,
    parent: Path,
    benchmark: Path,
    gate: Path,
    registry: str,
    name: str,
    run_id: str,
    seed: int,
    least_ap50: float,
    int8_drop: float,
    champion_drop: float,
    slice_drop: float,
    slice_boxes: int,
    speedup: float,
    replicates: int,
    slices: Sequence[str],
) -> Outcome:
    """Judge an INT8 model by the gate's rules; a model that does not pass is no failure of the stage.

    Args:
        test: image set that both evaluations were made on.
        real: image set that was trained on.
        synthetic: image set that was trained on.
        audit: of the three sets.
        evaluation: of the INT8 graph.
        parent: evaluation of the float model that it was made from.
        benchmark: latency against the float model.
        gate: receives ``gate.json``, see :class:`aerodet.registry.gate.Gate`.
        registry: address; the champion is looked up there.
        name: registered model.
        run_id: the run; the champion of yesterday's run may be another, so no other run's result will do.
        seed: of the draws of images.
        least_ap50: AP50 that every champion has, percent.
        int8_drop: points of AP50 that quantisation may cost.
        champion_drop: points of AP50 below the champion that are no matter.
        slice_drop: points of AP50 that a slice may lose.
        slice_boxes: slices with fewer true boxes say nothing.
        speedup: times as fast as the float model, at least.
        replicates: draws of the test images.
        slices: see :func:`aerodet.registry._slices.slices_of`.

    Raises:
        MachineError: the registry does not answer.
    """
    del run_id
    images = ImageSet(test)
    result = judge(
        [record.truth for record in images.records],
        len(images.classes),
        read_detections(evaluation / "detections.json", images.records),
        read_detections(parent / "detections.json", images.records),
        champion=_champion(open_registry(registry), name, images, InputRef.of(test).digest),
        benchmark=read_json(benchmark / "benchmark.json"),
        audit=read_json(audit / "audit.json"),
        shared=overlap(images, {"real": ImageSet(real), "synthetic": ImageSet(synthetic)}),
        slices=slices_of(images.records, slices),
        limits=Limits(least_ap50, int8_drop, champion_drop, slice_drop, slice_boxes, speedup, replicates),
        seed=seed,
    )
    gate.mkdir()
    write_json(gate / "gate.json", result.to_dict())
    for rule in result.rules:
        print(f"gate: {rule.name} {rule.verdict}: {rule.sentence}")
    metadata = {"kind": "gate", "schema": GATE, "passed": result.passed}
    counts = {verdict: float(sum(r.verdict == verdict for r in result.rules)) for verdict in ("failed", "skipped")}
    return Outcome({"gate": metadata}, {"passed": float(result.passed), **counts})


def _champion(registry: Registry, name: str, images: ImageSet, digest: str) -> Champion | None:
    """Return the champion with its detections on these images: those it was published with, or new ones."""
    version = next((v for v in registry.versions(name) if v.stage == CHAMPION), None)
    if version is None:
        return None
    try:
        detections = _detections(registry, version, images, digest)
    except (DataError, SpecError) as error:
        return Champion(version.version, None, str(error))
    with tempfile.TemporaryDirectory(prefix="aerodet-") as scratch:
        timed = _fetch(registry, version, "benchmark.json", scratch)
        return Champion(version.version, detections, benchmark=read_json(timed) if timed else None)


def _detections(registry: Registry, version: Version, images: ImageSet, digest: str) -> list[Detections]:
    """Return what a version finds in the images.

    Raises:
        DataError, SpecError: it cannot be tested on them; the sentence goes on after "because".
    """
    with tempfile.TemporaryDirectory(prefix="aerodet-") as scratch:
        if version.tags.get("digest.test") == digest:
            published = _fetch(registry, version, "detections.json", scratch)
            if published:
                return read_detections(published, images.records)
        files = {file: _fetch(registry, version, file, scratch) for file in (_GRAPH, "spec.txt", "labels.txt")}
        graph, spec, labels = files[_GRAPH], files["spec.txt"], files["labels.txt"]
        if graph is None or spec is None or labels is None:
            missing = ", ".join(file for file, place in files.items() if place is None)
            raise DataError(f"it was published without {missing}")
        classes = tuple(labels.read_text(encoding="utf-8").split())
        if classes != images.classes:
            raise DataError(f"its classes are {', '.join(classes)}, those of the images {', '.join(images.classes)}")
        return detect(OnnxDetector(graph), images, settings_of(read_spec(spec)))


def _fetch(registry: Registry, version: Version, file: str, folder: str) -> Path | None:
    """Copy one file of a version into a folder, if the version has it."""
    if file not in version.files:
        return None
    place = Path(folder) / file
    place.write_bytes(registry.read(version, file))
    return place
