"""Stages that make and change models: train and prune."""

from __future__ import annotations

from pathlib import Path

from aerodet.data import ImageSet, split_by_fraction
from aerodet.detectnet.checkpoint import load_model, save_checkpoint
from aerodet.detectnet.model import count_parameters
from aerodet.detectnet.prune import PruneOptions, prune_to
from aerodet.detectnet.prune import prune as prune_model
from aerodet.detectnet.spec import format_spec, parse_spec
from aerodet.detectnet.train import Items
from aerodet.detectnet.train import train as train_model
from aerodet.files import write_json
from aerodet.stages._run import Outcome, stage
from aerodet.stages._state import training_state

__all__ = ["CHECKPOINT", "prune", "train"]

CHECKPOINT = "aerodet/checkpoint/1"
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
) -> Outcome:
    """Train a detector on an image set.

    Args:
        dataset: image set.
        model: receives ``model.pt``, ``spec.txt`` and ``history.json``.
        spec: experiment spec, protobuf text; ``num_epochs`` is replaced.
        name: the arm's name, for messages and for its folder in ``state``.
        steps: optimiser steps; the number of epochs comes as near from above as it can.
        seed: of weights, order and augmentation.
        validation_fraction: share of ``dataset`` on which the best epoch is chosen; 0: the last epoch is kept.
        synthetic_share: share of the pictures of an epoch that come from ``synthetic``.
        state: folder, or ``s3://bucket/prefix``, for TensorBoard events and for the checkpoint from which a stopped
            training goes on; empty: none.
        synthetic: image set to mix in.
        init: checkpoint to start from.

    Raises:
        SpecError: the spec does not parse or breaks one of TAO's limits.
        DataError: there are no images.
        TrainingError: the loss is not finite.
        UserError: the bucket of ``state`` is not there or refuses access.
        MachineError: the object store of ``state`` does not answer.
    """
    experiment = parse_spec(spec, f"the spec of {name}")
    items, validation = _items(ImageSet(dataset), validation_fraction, seed)
    if synthetic is not None and synthetic_share > 0:
        items.append(_mixed_in(ImageSet(synthetic), len(items[0][1]), synthetic_share))
    pictures = sum(len(indices) for _, indices in items)
    steps_per_epoch = -(-pictures // experiment.training_config.batch_size_per_gpu)
    experiment.training_config.num_epochs = max(1, -(-steps // steps_per_epoch))
    parameters = {"spec": format_spec(experiment), "seed": seed}
    parameters |= {"validation_fraction": validation_fraction, "synthetic_share": synthetic_share}
    sources = {"dataset": dataset, "synthetic": synthetic, "init": init}
    inputs = {name: folder for name, folder in sources.items() if folder is not None}
    with training_state(state, name, parameters=parameters, inputs=inputs) as place:
        result = train_model(
            experiment,
            items,
            out=model,
            state=place,
            init=init,
            validation=validation,
            seed=seed,
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
) -> Outcome:
    """Cut weak channels out of a checkpoint by TAO's rule.

    Args:
        model: checkpoint.
        pruned: receives the smaller checkpoint and ``pruning.json`` (threshold, parameters before and after).
        threshold: ``-pth``, used when ``keep`` is 0.
        keep: share of the parameters to keep at most; the lowest threshold that does it is searched.
        normalizer: ``-n``.
        criterion: ``-eq``.
        granularity: ``-pg``.
        min_filters: ``-nf``.

    Raises:
        SpecError: an option is out of range, or no threshold prunes that much.
    """
    source, content = load_model(model)
    options = PruneOptions(
        threshold=threshold,
        normalizer=normalizer,  # type: ignore[arg-type]  # PruneOptions checks it
        criterion=criterion,  # type: ignore[arg-type]
        granularity=granularity,
        min_filters=min_filters,
    )
    smaller, used = prune_to(source, options, keep) if keep else (prune_model(source, options), threshold)
    before, after = count_parameters(source)["total"], count_parameters(smaller)["total"]
    pruned.mkdir()
    save_checkpoint(pruned / "model.pt", smaller, spec=content["spec"], classes=tuple(content["classes"]))
    (pruned / "spec.txt").write_text(content["spec"], encoding="utf-8")
    figures = {"threshold": used, "params_before": before, "params_total": after, "kept": after / before}
    write_json(pruned / "pruning.json", {**figures, "channels": dict(smaller.architecture.channels)})
    metadata = {"kind": "checkpoint", "schema": CHECKPOINT, "arm": "pruned", "params_total": after, "quantized": False}
    return Outcome({"pruned": metadata}, figures)


def _items(source: ImageSet, fraction: float, seed: int) -> tuple[list[tuple[ImageSet, list[int]]], Items]:
    """Split a set into pictures to train and to validate on; too few to validate on stay in training."""
    everything = list(range(len(source)))
    places = {record.group for record in source.records}
    if fraction * len(source) < _LEAST_VALIDATION:
        return [(source, everything)], ()
    split = split_by_fraction(source.records, fraction, seed, within_groups=len(places) < 2)
    return [(source, split.rest)], [(source, split.taken)]


def _mixed_in(source: ImageSet, own: int, share: float) -> tuple[ImageSet, list[int]]:
    """Choose as many pictures of another set as make it ``share`` of the whole, evenly spread."""
    count = min(len(source), max(1, round(own * share / (1 - share))))
    return source, [i * len(source) // count for i in range(count)]
