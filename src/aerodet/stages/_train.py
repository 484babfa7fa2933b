"""Stages that make and change models: train and prune."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from aerodet.data import ImageSet, split_by_fraction
from aerodet.detectnet.checkpoint import load_model, save_checkpoint
from aerodet.detectnet.dataset import Mix, TrainingSet
from aerodet.detectnet.device import keep_freed_memory, pick_device, processes
from aerodet.detectnet.importance import Scores, bn_scores, taylor_scores
from aerodet.detectnet.model import DetectNet, count_parameters
from aerodet.detectnet.prune import PruneOptions, l2_scores, prune_to
from aerodet.detectnet.prune import prune as prune_model
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.shrink import prune_to_count
from aerodet.detectnet.spec import format_spec, parse_spec
from aerodet.detectnet.train import Items
from aerodet.detectnet.train import train as train_model
from aerodet.errors import DataError, SpecError
from aerodet.files import write_json
from aerodet.stages._run import Outcome, stage
from aerodet.stages._state import training_state

__all__ = ["CHECKPOINT", "choose_validation", "prune", "train"]

CHECKPOINT = "aerodet/checkpoint/1"
_TAYLOR_BATCHES = 32
_LEAST_VALIDATION = 8  # fewer pictures than this say nothing about which epoch is best


@stage("model")
def train(
    *,
    dataset: Path,
    model: Path,
    spec: str,
    name: str,
    steps: int,
    seed: int,
    validation_fraction: float = 0.0,
    synthetic_share: float = 0.0,
    state: str = "",
    synthetic: Path | None = None,
    init: Path | None = None,
    teacher: Path | None = None,
    distillation: float = 1.0,
    gpus: int = 1,
    compile: str = "auto",  # noqa: A002 - the profile's name for it
    deterministic: bool = False,
) -> Outcome:
    """Train a detector on an image set.

    Args:
        dataset: image set.
        model: receives ``model.pt``, ``spec.txt`` and ``history.json``.
        spec: experiment spec, protobuf text; ``num_epochs`` is replaced.
        name: the arm's name, for messages and for its folder in ``state``.
        steps: optimiser steps; the number of epochs comes as near from above as it can.
        seed: of weights, order and augmentation.
        validation_fraction: share of ``dataset`` on which the epoch to keep is chosen; 0: the last epoch is kept.
        synthetic_share: share of the pictures of an epoch that come from ``synthetic``.
        state: folder, or ``s3://bucket/prefix``, for TensorBoard events and for the checkpoint from which a stopped
            training goes on; empty: none.
        synthetic: image set to mix in.
        init: checkpoint to start from.
        teacher: checkpoint of a larger network, whose answers are learned beside the labels.
        distillation: weight of the teacher's answers, relative to the labels.
        gpus: to train on, one process each; a step then takes so many batches. Without a GPU the CPU trains alone.
        compile: how steps are run, see :mod:`aerodet.detectnet.step`.
        deterministic: see :func:`aerodet.detectnet.train.train`.

    Raises:
        SpecError: the spec does not parse or breaks one of TAO's limits.
        DataError: there are no images.
        TrainingError: the loss is not finite.
        UserError: the bucket of ``state`` is not there or refuses access.
        MachineError: the object store of ``state`` does not answer.
    """
    experiment = parse_spec(spec, f"the spec of {name}")
    images = ImageSet(dataset)
    chosen, held = choose_validation(images, validation_fraction, seed)
    validation: Items = [(images, held)] if held else ()
    mix = None
    if synthetic is not None and synthetic_share > 0:
        # A single frame is repeated in an epoch, so that a batch shows it beside many synthetic pictures, not one.
        least = round(experiment.training_config.batch_size_per_gpu * (1 - synthetic_share))
        chosen *= max(1, -(-least // len(chosen)))
        mix = Mix(ImageSet(synthetic), max(1, round(len(chosen) * synthetic_share / (1 - synthetic_share))))
    pictures = len(chosen) + (mix.count if mix else 0)
    workers = processes(gpus)
    steps_per_epoch = -(-pictures // (experiment.training_config.batch_size_per_gpu * workers))
    experiment.training_config.num_epochs = max(1, -(-steps // steps_per_epoch))
    parameters = {"spec": format_spec(experiment), "seed": seed, "distillation": distillation if teacher else 0.0}
    parameters |= {"validation_fraction": validation_fraction, "synthetic_share": synthetic_share, "gpus": workers}
    sources = {"dataset": dataset, "synthetic": synthetic, "init": init, "teacher": teacher}
    inputs = {name: folder for name, folder in sources.items() if folder is not None}
    if pick_device().type == "cpu":
        keep_freed_memory()
    with training_state(state, name, parameters=parameters, inputs=inputs) as place:
        result = train_model(
            experiment,
            [(images, chosen)],
            out=model,
            state=place,
            init=init,
            mix=mix,
            teacher=teacher,
            distillation=distillation,
            validation=validation,
            seed=seed,
            processes=workers,
            compile=compile,  # type: ignore[arg-type]  # the profile checked it
            deterministic=deterministic,
            description=f"training {name}",
        )
    trained, content = load_model(model)
    counts = count_parameters(trained)
    metadata = {
        "kind": "checkpoint",
        "schema": CHECKPOINT,
        "arm": name,
        "classes": ",".join(content["classes"]),
        "params_total": counts["total"],
        "quantized": content["quantized"],
    }
    metrics: dict[str, float] = {"params_total": counts["total"], "images": result.images, "epochs": result.epochs}
    if result.best_ap50 is not None:
        metrics["validation_ap50"] = result.best_ap50
    return Outcome({"model": metadata}, metrics)


@stage("pruned")
def prune(
    *,
    model: Path,
    pruned: Path,
    threshold: float = 0.0,
    keep: float = 0.0,
    normalizer: str = "max",
    criterion: str = "union",
    granularity: int = 8,
    min_filters: int = 16,
    importance: str = "l2",
    params: int = 0,
    products: float = 0.0,
    dataset: Path | None = None,
) -> Outcome:
    """Cut weak channels out of a checkpoint by TAO's rule.

    Args:
        model: checkpoint.
        pruned: receives the smaller checkpoint and ``pruning.json`` (threshold, parameters before and after).
        threshold: ``-pth``, used when ``keep`` and ``params`` are 0.
        keep: share of the parameters to keep at most; the lowest threshold that does it is searched.
        normalizer: ``-n``.
        criterion: ``-eq``.
        granularity: ``-pg``.
        min_filters: ``-nf``.
        importance: ``l2`` as TAO measures it, ``bn`` or ``taylor``, see :mod:`aerodet.detectnet.importance`.
        params: parameters to keep at most, reached as nearly as one block of channels allows; see
            :mod:`aerodet.detectnet.shrink`. 0: ``keep`` or ``threshold`` decides.
        products: multiply-accumulates for a pixel of the input, at most; with ``params``. 0: any number.
        dataset: image set that ``taylor`` measures on.

    Raises:
        SpecError: an option is out of range, or the network cannot be pruned that much.
        DataError: ``taylor`` without images.
    """
    if products and not params:
        raise SpecError("products limits pruning to a number of parameters; give params too")
    source, content = load_model(model)
    options = PruneOptions(
        threshold=threshold,
        normalizer=normalizer,  # type: ignore[arg-type]  # PruneOptions checks it
        criterion=criterion,  # type: ignore[arg-type]
        granularity=granularity,
        min_filters=min_filters,
    )
    scores = _scores(source, content["spec"], importance, dataset)
    figures: dict[str, float] = {}
    if params:
        smaller = prune_to_count(source, options, params, scores, products=products or None)
    elif keep:
        smaller, figures["threshold"] = prune_to(source, options, keep, scores)
    else:
        smaller, figures["threshold"] = prune_model(source, options, scores), threshold
    before, after = count_parameters(source)["total"], count_parameters(smaller)["total"]
    pruned.mkdir()
    save_checkpoint(pruned / "model.pt", smaller, spec=content["spec"], classes=tuple(content["classes"]))
    (pruned / "spec.txt").write_text(content["spec"], encoding="utf-8")
    figures |= {"params_before": before, "params_total": after, "kept": after / before}
    write_json(pruned / "pruning.json", {**figures, "channels": dict(smaller.architecture.channels)})
    metadata = {"kind": "checkpoint", "schema": CHECKPOINT, "arm": "pruned", "params_total": after, "quantized": False}
    return Outcome({"pruned": metadata}, figures)


def choose_validation(source: ImageSet, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split a set into pictures to train and to validate on; too few to validate on stay in training."""
    everything = list(range(len(source)))
    places = {record.group for record in source.records}
    if fraction * len(source) < _LEAST_VALIDATION:
        return everything, []
    split = split_by_fraction(source.records, fraction, seed, within_groups=len(places) < 2)
    return list(split.rest), list(split.taken)


def _scores(model: DetectNet, spec: str, importance: str, dataset: Path | None) -> Scores:
    if importance == "l2":
        return l2_scores(model)
    if importance == "bn":
        return bn_scores(model)
    if importance != "taylor":
        raise SpecError(f"importance is one of l2, bn, taylor, not '{importance}'")
    if dataset is None:
        raise DataError("importance 'taylor' is measured on labelled pictures; give the prune stage a dataset")
    settings, device = settings_of(parse_spec(spec)), pick_device()
    images = ImageSet(dataset)
    data = TrainingSet([(images, range(len(images)))], settings.size, device, resize=settings.auto_resize)
    batches = data.epoch(settings.training.batch_size, torch.Generator().manual_seed(0))
    return taylor_scores(model.to(device), settings, itertools.islice(batches, _TAYLOR_BATCHES))
