"""Stages around NVIDIA's TAO containers: what goes in, and what comes out as the artifacts that others know."""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from aerodet.data import ImageRecord, ImageSet, kitti_label, write_tfrecords
from aerodet.detectnet.checkpoint import load_checkpoint, save_checkpoint
from aerodet.detectnet.model import count_parameters
from aerodet.detectnet.quantize import is_quantized
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import Experiment, format_spec, parse_spec, read_spec
from aerodet.errors import DataError, SpecError
from aerodet.files import read_json, write_json
from aerodet.metrics import Detections, coco_results
from aerodet.stages._evaluate import EVALUATION, measure
from aerodet.stages._run import Outcome, stage
from aerodet.stages._train import CHECKPOINT, choose_validation
from aerodet.tao import check_flow, read_results, read_status
from aerodet.tao.checkpoint import neutral_spec
from aerodet.tao.weights import read_weights

__all__ = ["TAO_ROOT", "tao_collect", "tao_metrics", "tao_records", "tao_score"]

TAO_ROOT = "/workspace/aerodet"  # in specs; the containers' scripts put their own folder in its place
_SHARDS = 10


@stage("records")
def tao_records(
    *,
    dataset: Path,
    records: Path,
    spec: str,
    name: str,
    seed: int,
    steps: int = 0,
    gpus: int = 1,
    validation_fraction: float = 0.0,
    synthetic_share: float = 0.0,
    synthetic: Path | None = None,
) -> Outcome:
    """Write what a TAO container needs beside the images: TFRecords, label files and the spec, held against limits.

    Args:
        dataset: image set.
        records: receives ``own-fold-*`` and ``mix-fold-*``, ``labels.tar``, ``spec.txt`` and ``records.json``.
        spec: experiment spec, protobuf text; its data, length, start and seed are replaced.
        name: of what is trained or evaluated, for messages.
        seed: of the training, and of the choice of validation images.
        steps: optimiser steps of a training; 0: the images are there to evaluate on.
        gpus: that share an epoch.
        validation_fraction: share of ``dataset`` that is validated on while training.
        synthetic_share: share of an epoch that comes from ``synthetic``.
        synthetic: image set to mix in.

    Raises:
        SpecError: the spec breaks limits of TAO.
        DataError: images have different suffixes.
    """
    experiment = parse_spec(spec, f"the spec of {name}")
    experiment.random_seed = seed
    images = ImageSet(dataset)
    records.mkdir()
    sources = {"own": images}
    if steps:
        train, held = choose_validation(images, validation_fraction, seed)
        reports = {"own": write_tfrecords(images, records / "own", validation=held, num_shards=_SHARDS)}
        pictures = len(train)
        if synthetic is not None and synthetic_share > 0:
            sources["mix"] = ImageSet(synthetic)
            chosen = _choose_mix(sources["mix"], len(train), synthetic_share)
            reports["mix"] = write_tfrecords(
                sources["mix"], records / "mix", indices=chosen, validation=(), num_shards=_SHARDS
            )
            pictures += len(chosen)
        _set_length(experiment, pictures, steps, gpus)
    else:
        held = []
        reports = {"own": write_tfrecords(images, records / "own", num_shards=_SHARDS)}
    _set_sources(experiment, sources, validate=bool(held), evaluate=not steps)
    if faults := check_flow({name: experiment}):
        raise SpecError("\n  ".join([f"TAO would refuse or misread {len(faults)} values:", *faults]))
    _write_labels(images, records / "labels.tar")
    (records / "spec.txt").write_text(format_spec(experiment, for_tao=True), encoding="utf-8")
    write_json(records / "records.json", {key: report.to_dict() for key, report in reports.items()})
    counts = {"images": float(sum(r.images for r in reports.values()))}
    return Outcome(
        {"records": {"kind": "tfrecord", "schema": "aerodet/tao-records/1"}},
        {**counts, "epochs": float(experiment.training_config.num_epochs if steps else 0)},
    )


@stage("model")
def tao_collect(
    *, trained: Path, model: Path, name: str, records: Path | None = None, parent: Path | None = None
) -> Outcome:
    """Turn what a TAO task left into the checkpoint that the other stages know.

    Containers write no provenance: with ``records`` and ``parent`` the checkpoint's own says what it was made from.

    Args:
        trained: results of ``train`` or ``prune``: ``model.hdf5``, ``spec.txt`` and ``status.json``.
        model: receives ``model.pt``, ``spec.txt`` and ``history.json``.
        name: the arm's name.
        records: what it was trained on, of ``tao_records``.
        parent: the checkpoint that it started from.

    Raises:
        DataError: the task failed or left no result, or its checkpoint is damaged, of another network, or not of
            ``records`` or ``parent``.
    """
    status = read_status(trained)
    experiment = read_spec(trained / "spec.txt")
    classes = settings_of(experiment, f"the spec of {name}").classes
    if records is not None and (records / "spec.txt").read_bytes() != (trained / "spec.txt").read_bytes():
        raise DataError(f"the results of {name} are not of its records: their specs differ; train it again")
    if parent is not None and tuple(load_checkpoint(parent)["classes"]) != classes:
        raise DataError(f"{name} detects {', '.join(classes)}, which its parent does not; give the one it started from")
    network = read_weights(trained / "model.hdf5")
    if network.architecture.num_classes != len(classes):
        raise DataError(
            f"the TAO checkpoint of {name} detects {network.architecture.num_classes} classes, but its spec names "
            f"{len(classes)}; train it again"
        )
    model.mkdir()
    text = neutral_spec(experiment)
    save_checkpoint(model / "model.pt", network, spec=text, classes=classes)
    (model / "spec.txt").write_text(text, encoding="utf-8")
    write_json(model / "history.json", [{"epoch": epoch, "loss": loss} for epoch, loss in status.losses])
    counts = count_parameters(network)
    metadata = {
        "kind": "checkpoint",
        "schema": CHECKPOINT,
        "arm": name,
        "classes": ",".join(classes),
        "params_total": counts["total"],
        "quantized": is_quantized(network),
        "backend": "tao",
    }
    return Outcome({"model": metadata}, {**status.metrics, "params_total": counts["total"]})


@stage("figures")
def tao_metrics(*, results: Path, figures: Path) -> Outcome:
    """Read the figures of an evaluation by TAO's trainer (``status.json``) or TAO Deploy (``results.json``).

    Args:
        results: the task's results folder.
        figures: receives ``figures.json``.

    Raises:
        DataError: the task failed or left no result.
    """
    deploy = (results / "results.json").is_file()
    values = read_results(results) if deploy else dict(read_status(results).metrics)
    figures.mkdir()
    backend = "tao-deploy" if deploy else "tao"
    write_json(figures / "figures.json", {"backend": backend, **values})
    return Outcome({"figures": {"kind": "figures", "schema": "aerodet/tao-figures/1", "backend": backend}}, values)


@stage("evaluation")
def tao_score(*, detections: Path, dataset: Path, bundle: Path, evaluation: Path) -> Outcome:
    """Score what TAO Deploy's inference found with an engine, by the metrics that everything else is scored by.

    Args:
        detections: results of ``inference``: ``labels/NAME.txt``, KITTI lines with a confidence.
        dataset: image set with the truth.
        bundle: the export that the engine is part of.
        evaluation: receives ``evaluation.json`` and ``detections.json`` (COCO results).

    Raises:
        DataError: label files are missing or are not KITTI results.
    """
    images = ImageSet(dataset)
    settings = settings_of(read_spec(bundle / "spec.txt"))
    found = [_detections(detections / "labels", record, settings.classes) for record in images.records]
    values = measure(images, found, settings)
    facts = {
        "backend": "tensorrt",
        "graph": "model.tao.engine",
        "params_total": read_json(bundle / "files.json")["parameters"],
    }
    evaluation.mkdir()
    write_json(evaluation / "evaluation.json", {**values, **facts})
    write_json(evaluation / "detections.json", coco_results([r.id for r in images.records], found), indent=None)
    scores = {key: values[key] for key in ("ap50", "ap75", "ap", "tao_sample", "tao_integrate")}
    return Outcome(
        {"evaluation": {"kind": "evaluation", "schema": EVALUATION, "backend": "tensorrt", **scores}}, scores
    )


def _set_length(experiment: Experiment, pictures: int, steps: int, gpus: int) -> None:
    """Set the epochs that come nearest to ``steps`` from above; an epoch is shared by the GPUs."""
    training = experiment.training_config
    batches = math.ceil(pictures / training.batch_size_per_gpu)
    training.num_epochs = max(1, math.ceil(steps / math.ceil(batches / gpus)))
    training.checkpoint_interval = min(training.checkpoint_interval or 10, training.num_epochs)


def _set_sources(experiment: Experiment, sources: dict[str, ImageSet], *, validate: bool, evaluate: bool) -> None:
    config = experiment.dataset_config
    suffixes = {PurePosixPath(images.records[0].file_name).suffix for images in sources.values()}
    if len(suffixes) > 1:
        raise DataError(
            f"the images of the two sets end in {' and '.join(sorted(suffixes))}, but TAO reads one kind; set "
            "data.tile_format to the other's"
        )
    config.image_extension = suffixes.pop().lstrip(".")
    config.ClearField("data_sources")
    for name in sources:
        config.data_sources.add(
            tfrecords_path=f"{TAO_ROOT}/records/{name}-*", image_directory_path=f"{TAO_ROOT}/{name}"
        )
    config.ClearField("validation_fold")
    config.ClearField("validation_data_source")
    if evaluate:
        config.validation_data_source.CopyFrom(config.data_sources[0])
    elif validate:
        config.validation_fold = 0
    if experiment.model_config.load_graph:
        experiment.model_config.pretrained_model_file = f"{TAO_ROOT}/init/model.hdf5"


def _write_labels(images: ImageSet, path: Path) -> None:
    """Write a KITTI label file an image, under the flat name that the containers' scripts give the image."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for record in images.records:
            lines, _, _ = kitti_label(record, images.classes)
            data = "".join(f"{line}\n" for line in lines).encode()
            member = tarfile.TarInfo(f"{_flat(record)}.txt")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _flat(record: ImageRecord) -> str:
    """Return an image's name without suffix and folders, of which TAO Deploy keeps none."""
    return record.file_name.rpartition(".")[0].replace("/", "__")


def _detections(folder: Path, record: ImageRecord, classes: tuple[str, ...]) -> Detections:
    path = folder / f"{_flat(record)}.txt"
    if not path.is_file():
        raise DataError(
            f"TAO Deploy's inference left no {path.name} for {record.file_name}; run it on the whole set again"
        )
    rows = list(_rows(path, classes))
    rows.sort(key=lambda row: -row[1])
    return Detections(
        boxes=np.array([row[2:] for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row[1] for row in rows], np.float32),
        labels=np.array([row[0] for row in rows], np.int64),
    )


def _rows(path: Path, classes: tuple[str, ...]) -> Iterator[tuple[float, ...]]:
    """Yield label, confidence and box of each line."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        try:
            numbers = [float(field) for field in fields[1:]]
        except ValueError:
            numbers = []
        if len(numbers) != 15 or fields[0] not in classes:
            raise DataError(
                f"{path}, line {number}: not a KITTI result of 16 fields for {', '.join(classes)} ({line[:60]!r})"
            )
        yield (classes.index(fields[0]), numbers[14], *numbers[3:7])


def _choose_mix(source: ImageSet, own: int, share: float) -> list[int]:
    """Choose as many pictures of another set as make it ``share`` of the whole, evenly spread: TAO draws none anew."""
    count = min(len(source), max(1, round(own * share / (1 - share))))
    return [i * len(source) // count for i in range(count)]
