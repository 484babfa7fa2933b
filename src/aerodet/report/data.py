"""What a report shows, as plain data. Every figure here was measured by a stage; the page only draws them.

``key`` fields name a step of the flow: ``real``, ``synthetic``, ``finetune`` (the arms), then ``pruned``,
``retrained``, ``qat``, ``int8``. A key fixes a colour, so that one step looks the same in every chart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from aerodet.errors import DataError
from aerodet.files import read_json
from aerodet.lineage import Provenance
from aerodet.report.gap import GapData
from aerodet.report.gate import GateSummary

__all__ = [
    "Arm",
    "Benchmark",
    "DatasetSummary",
    "Evaluation",
    "Example",
    "FileEntry",
    "Finding",
    "Latency",
    "ReportData",
    "RunInfo",
    "SizeSlice",
    "StageResult",
    "TrainingCurve",
]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run itself.

    Attributes:
        run_id: its id, the name of its folder.
        started: when it began.
        wall_seconds: how long all of it took.
        profile: the profile it ran with.
        machine: one line: CPU or GPU, cores, memory.
        code: version of aerodet, with the commit when known.
        seed: the seed of every random choice.
        fraction: share of the real training images that the finetune arm used, 0 to 1.
        remark: what a reader must know to take the figures right, such as that no photograph was used.
    """

    run_id: str
    started: datetime
    wall_seconds: float
    profile: str
    machine: str
    code: str
    seed: int | None = None
    fraction: float | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class SizeSlice:
    """AP50 on the aircraft of one size (COCO's areas: small under 32², large over 96² pixels)."""

    ap50: float | None
    boxes: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model on the test set. AP figures are percent; None where the test set has nothing to measure on.

    Attributes:
        ap50: COCO AP at IoU 0.5.
        ap75: COCO AP at IoU 0.75.
        ap: COCO AP, mean over IoU 0.50 to 0.95.
        tao_sample: TAO's mAP, 11-point sampling.
        tao_integrate: TAO's mAP, integrated.
        images: test images.
        boxes: true boxes on them.
        backend: what ran the model: ``torch`` or ``onnxruntime``.
        params_total: parameters of the model, where the backend knows them.
        per_class: AP50 by class name.
        slices: by ``small``, ``medium``, ``large``.
        recall: 101 recalls, 0 to 1, of the precision-recall curve at IoU 0.5.
        precision: the precisions, 0 to 1, at those recalls.
    """

    ap50: float
    ap75: float | None
    ap: float | None
    tao_sample: float | None
    tao_integrate: float | None
    images: int
    boxes: int
    backend: str
    params_total: int | None = None
    per_class: Mapping[str, float | None] = field(default_factory=dict)
    slices: Mapping[str, SizeSlice] = field(default_factory=dict)
    recall: tuple[float, ...] = ()
    precision: tuple[float, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read an evaluation artifact's ``evaluation.json``.

        Raises:
            DataError: it is missing or lacks a figure.
        """
        path = folder / "evaluation.json"
        try:
            found = read_json(path)
            curve = found.get("curve", {})
            return cls(
                ap50=float(found["ap50"]),
                ap75=_measured(found["ap75"]),
                ap=_measured(found["ap"]),
                tao_sample=_measured(found["tao_sample"]),
                tao_integrate=_measured(found["tao_integrate"]),
                images=int(found["images"]),
                boxes=int(found["boxes"]),
                backend=str(found["backend"]),
                params_total=found.get("params_total"),
                per_class={name: _measured(value["ap50"]) for name, value in found["per_class"].items()},
                slices={n: SizeSlice(_measured(v["ap50"]), int(v["boxes"])) for n, v in found["slices"].items()},
                recall=tuple(curve.get("recall", ())),
                precision=tuple(curve.get("precision", ())),
            )
        except FileNotFoundError as error:
            raise DataError(f"{path} does not exist; run the evaluation stage again") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} is not an evaluation: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train: on real data, on synthetic data, on synthetic and then a little real data.

    Attributes:
        key: ``real``, ``synthetic`` or ``finetune``.
        label: its name for people, short enough to stand under a bar.
        evaluation: on the common test set.
        note: what it was trained on, in at most 24 characters, such as ``640 synthetic + 32 real``.
    """

    key: str
    label: str
    evaluation: Evaluation
    note: str = ""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds for one batch, and images a second."""

    median_ms: float
    p10: float
    p90: float
    images_per_s: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The INT8 graph against the unpruned float graph, timed in turns on the same threads.

    Attributes:
        float32: the float graph.
        int8: the INT8 graph.
        ratio: throughput of INT8 over float, median of the pairs.
        threads: threads of the runtime.
        batch: images in a batch.
        cpu: what it ran on.
    """

    float32: Latency
    int8: Latency
    ratio: float
    threads: int
    batch: int
    cpu: str

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Benchmark:
        """Read a benchmark's ``{"float": {...}, "int8": {...}, "ratio", "threads", "batch", "cpu"}``."""
        timings = {
            key: Latency(**{name: float(found[key][name]) for name in ("median_ms", "p10", "p90", "images_per_s")})
            for key in ("float", "int8")
        }
        return cls(
            float32=timings["float"],
            int8=timings["int8"],
            ratio=float(found["ratio"]),
            threads=int(found["threads"]),
            batch=int(found["batch"]),
            cpu=str(found["cpu"]),
        )


@dataclass(frozen=True, slots=True)
class StageResult:
    """One row of the compression table.

    Attributes:
        key: ``finetune``, ``pruned``, ``retrained``, ``qat`` or ``int8``.
        label: its name for people.
        evaluation: on the common test set.
        params_total: parameters of the model.
        file_bytes: size of the deployable file, where the stage makes one.
        median_ms: latency of one batch, where it was timed.
        throughput: images a second over those of the float model, where it was timed.
    """

    key: str
    label: str
    evaluation: Evaluation
    params_total: int | None = None
    file_bytes: int | None = None
    median_ms: float | None = None
    throughput: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """How one training went.

    Attributes:
        key: the step it belongs to.
        label: its name for people.
        loss: (epoch, mean loss) pairs.
        ap50: (epoch, AP50 in percent on the validation images) pairs; there may be fewer of them.
    """

    key: str
    label: str
    loss: tuple[tuple[int, float], ...]
    ap50: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One test image with its detections drawn on it.

    Attributes:
        kind: among the best or the worst.
        file_name: the image's name.
        jpeg: the encoded picture.
        width: of the picture, pixels.
        height: of the picture, pixels.
        found: true boxes that were found.
        missed: true boxes that were not.
        false_alarms: detections of nothing.
        ignored: regions drawn in which nothing counts.
    """

    kind: Literal["best", "worst"]
    file_name: str
    jpeg: bytes = field(repr=False)
    width: int
    height: int
    found: int
    missed: int
    false_alarms: int
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What comes of counting detections from a score on, over all test images, at IoU 0.5.

    Attributes:
        score: the least that counts.
        precision: share of the detections that found an object; 0 to 1, 1 without any.
        recall: share of the objects that were found.
    """

    score: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of thing that the audit noticed about a data set.

    Attributes:
        severity: ``error``, ``warning`` or ``note``.
        message: one sentence, about the first case.
        count: how many cases there are.
    """

    severity: str
    message: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """One data set of the run.

    Attributes:
        name: its role, such as ``real, training``.
        images: number of images.
        boxes: number of boxes.
        groups: number of places they show.
        digest: SHA-256 of the artifact, or empty.
        findings: what the audit noticed; None when it was not audited.
    """

    name: str
    images: int
    boxes: int
    groups: int | None = None
    digest: str = ""
    findings: tuple[Finding, ...] | None = None

    @classmethod
    def from_audit(
        cls, audit: Mapping[str, Any], digests: Mapping[str, str] | None = None
    ) -> tuple[DatasetSummary, ...]:
        """Read what :meth:`aerodet.data.Audit.to_dict` gave, one summary a set, findings of one kind put together.

        Args:
            audit: the audit's dictionary.
            digests: SHA-256 of the sets that have one, by name.
        """
        summaries = []
        for name, figures in audit["sets"].items():
            kinds: dict[tuple[str, str], list[str]] = {}
            for finding in audit["findings"]:
                if finding["set"] == name:
                    kinds.setdefault((finding["severity"], finding["kind"]), []).append(finding["sentence"])
            findings = tuple(Finding(severity, cases[0], len(cases)) for (severity, _), cases in kinds.items())
            digest = (digests or {}).get(name, "")
            summary = cls(name, figures["images"], figures["boxes"], len(figures["groups"]), digest, findings)
            summaries.append(summary)
        return tuple(summaries)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the run for somebody to take away.

    Attributes:
        name: its path below the run's folder.
        consumer: who it is for, such as ``TensorRT on compute capability 8.6``.
        size: bytes.
        sha256: of its content.
    """

    name: str
    consumer: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page, in its order. Empty parts leave their section out.

    Attributes:
        run: the run.
        arms: ``real``, ``synthetic`` and ``finetune``.
        stages: from the float model that was fine-tuned to INT8, in order.
        benchmark: INT8 against float.
        cpu_ap50: percent, of the INT8 graph for CPUs, which was timed.
        training: one curve a training.
        examples: best and worst test images.
        operating_point: detections under its score were left out of the examples.
        datasets: what was trained and tested on.
        files: engines, graphs and what goes with them.
        parameters: the run's parameters, nested as they were given.
        provenance: of each artifact, in the order they were made.
        gate: verdict on the INT8 model, where there is one.
        gap: real and synthetic images side by side.
    """

    run: RunInfo
    arms: tuple[Arm, ...]
    stages: tuple[StageResult, ...]
    benchmark: Benchmark | None = None
    cpu_ap50: float | None = None
    training: tuple[TrainingCurve, ...] = ()
    examples: tuple[Example, ...] = ()
    operating_point: OperatingPoint | None = None
    datasets: tuple[DatasetSummary, ...] = ()
    files: tuple[FileEntry, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()
    gate: GateSummary | None = None
    gap: GapData | None = None

    def arm(self, key: str) -> Arm | None:
        """Return an arm by key."""
        return next((arm for arm in self.arms if arm.key == key), None)

    def stage(self, key: str) -> StageResult | None:
        """Return a stage by key."""
        return next((stage for stage in self.stages if stage.key == key), None)


def _measured(value: float | None) -> float | None:
    """COCO says -1 where there is nothing to measure."""
    return None if value is None or value < 0 else float(value)
