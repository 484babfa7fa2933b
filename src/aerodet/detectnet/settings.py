"""What a spec means: the numbers that training and evaluation read, with TAO's reading of unset fields.

A spec is text and may leave fields out; :class:`Settings` is complete and typed, and made of the very objects that the
model, the targets, the losses, the augmentation and the clustering take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aerodet.detectnet.augment import AugmentOptions
from aerodet.detectnet.limits import require_limits
from aerodet.detectnet.losses import ClassCost
from aerodet.detectnet.model import Architecture
from aerodet.detectnet.postprocess import ClusterOptions
from aerodet.detectnet.spec import Experiment
from aerodet.detectnet.targets import ClassShape
from aerodet.errors import SpecError
from aerodet.metrics import BoxLimits

__all__ = ["EvaluationSettings", "Settings", "TrainingSettings", "settings_of"]


@dataclass(frozen=True)
class TrainingSettings:
    """How weights are changed (``training_config`` and the loading part of ``model_config``).

    Args:
        batch_size: images of a step.
        epochs: passes over the images.
        min_learning_rate: at both ends of the schedule.
        max_learning_rate: between soft start and annealing.
        soft_start: share of the run in which the learning rate rises.
        annealing: share of the run after which it falls.
        regularizer: of convolution kernels, and of biases that no batch statistics take off again.
        regularizer_weight: factor of the regulariser.
        adam_epsilon: Adam's epsilon.
        adam_betas: Adam's decay rates.
        checkpoint_interval: epochs between checkpoints.
        enable_qat: train with fake quantisation.
        pretrained: checkpoint to start from; "" for none.
        load_graph: the weights come with their heads and their own (pruned) shape; otherwise backbone only, by name.
        add_missing_heads: with ``load_graph``: build the heads that the file lacks instead of refusing it.
        freeze_bn: keep the batch normalisation's statistics; its factors are trained.
        freeze_blocks: 0 for conv1, 1 to 4 for the stages that are not trained; their statistics are kept too.
        autoweighting: re-balance the losses after each epoch.
        weight_limits: smallest and largest weight of a loss.
    """

    batch_size: int
    epochs: int
    min_learning_rate: float
    max_learning_rate: float
    soft_start: float
    annealing: float
    regularizer: Literal["none", "l1", "l2"]
    regularizer_weight: float
    adam_epsilon: float
    adam_betas: tuple[float, float]
    checkpoint_interval: int
    enable_qat: bool
    pretrained: str
    load_graph: bool
    add_missing_heads: bool
    freeze_bn: bool
    freeze_blocks: tuple[int, ...]
    autoweighting: bool
    weight_limits: tuple[float, float]


@dataclass(frozen=True)
class EvaluationSettings:
    """When and how the detector is judged (``evaluation_config``).

    Args:
        first_epoch: the first epoch that ends with a validation.
        period: epochs between validations.
        mode: TAO's way to average precision.
        min_overlap: least IoU of a match in TAO's AP, per class.
        limits: sizes of boxes that TAO's AP counts, per class.
    """

    first_epoch: int
    period: int
    mode: Literal["sample", "integrate"]
    min_overlap: tuple[float, ...]
    limits: tuple[BoxLimits, ...]


@dataclass(frozen=True)
class Settings:
    """A spec in plain numbers. Tuples by class are in the order of ``classes``, which is that of the output channels.

    Args:
        seed: of every random choice.
        size: (H, W) of the network's input in pixels.
        auto_resize: stretch images to ``size``; otherwise they are padded and cut.
        classes: of the detector.
        class_mapping: class in the labels to class of the detector; labels of other classes are left out.
        architecture: shape of the network.
        box_scale: pixels for a box output of 1.
        box_offset: pixels from a cell's corner to the point that boxes are measured from.
        shapes: how each class is drawn into the targets.
        deadzone_radius: see :class:`aerodet.detectnet.targets.TargetMaker`.
        costs: weights of each class's losses.
        augmentation: random changes of training images.
        clusters: how each class's cells become boxes.
        training: see :class:`TrainingSettings`.
        evaluation: see :class:`EvaluationSettings`.
    """

    seed: int
    size: tuple[int, int]
    auto_resize: bool
    classes: tuple[str, ...]
    class_mapping: Mapping[str, str]
    architecture: Architecture
    box_scale: float
    box_offset: float
    shapes: tuple[ClassShape, ...]
    deadzone_radius: float
    costs: tuple[ClassCost, ...]
    augmentation: AugmentOptions
    clusters: tuple[ClusterOptions, ...]
    training: TrainingSettings
    evaluation: EvaluationSettings


def settings_of(experiment: Experiment, name: str = "spec") -> Settings:
    """Read a spec's values.

    Unset fields get TAO's meaning: ``num_layers`` 18, ``checkpoint_interval`` 10, ``rotate_probability`` 1; and ours:
    ``width`` 1, ``bn_momentum`` 0.99. Numbers are the shortest decimals that give the spec's float32 values.

    Args:
        experiment: the spec.
        name: what error messages call it, usually a file name.

    Raises:
        SpecError: a value is out of TAO's limits, or asks for what only the TAO containers can do.
    """
    require_limits(experiment, name)
    _refuse_tao_only(experiment, name)
    preprocessing = experiment.augmentation_config.preprocessing
    model, bbox = experiment.model_config, experiment.model_config.objective_set.bbox
    classes = tuple(target.name for target in experiment.cost_function_config.target_classes)
    return Settings(
        seed=experiment.random_seed,
        size=(preprocessing.output_image_height, preprocessing.output_image_width),
        auto_resize=preprocessing.enable_auto_resize,
        classes=classes,
        class_mapping=dict(experiment.dataset_config.target_class_mapping),
        architecture=Architecture(
            layers=model.num_layers or 18,
            num_classes=len(classes),
            width=_number(model.width) or 1.0,
            all_projections=model.all_projections,
            use_batch_norm=model.use_batch_norm,
            bn_momentum=_number(model.bn_momentum) or 0.99,
        ),
        box_scale=_number(bbox.scale),
        box_offset=_number(bbox.offset),
        shapes=tuple(_shape(experiment, c) for c in classes),
        deadzone_radius=_number(experiment.bbox_rasterizer_config.deadzone_radius),
        costs=tuple(_cost(target) for target in experiment.cost_function_config.target_classes),
        augmentation=_augmentation(experiment),
        clusters=tuple(_cluster(experiment, c) for c in classes),
        training=_training(experiment),
        evaluation=_evaluation(experiment, classes),
    )


def _refuse_tao_only(experiment: Experiment, name: str) -> None:
    """Refuse what the TAO containers can do and the torch backend cannot, rather than ignore it."""
    model, training = experiment.model_config, experiment.training_config
    preprocessing = experiment.augmentation_config.preprocessing
    schedule = training.learning_rate.WhichOneof("learning_rate")
    geometry = ("crop_left", "crop_top", "crop_right", "crop_bottom", "scale_width", "scale_height", "output_image_min")
    cases = {
        f'model_config.arch "{model.arch}"': model.arch != "resnet",
        f"model_config.num_layers {model.num_layers}": (model.num_layers or 18) not in (10, 18, 34),
        "model_config.use_pooling": model.use_pooling,
        "model_config.training_precision FLOAT16": model.training_precision.backend_floatx != 0,
        "training_config.cost_scaling.enabled": training.cost_scaling.enabled,
        f"training_config.learning_rate.{schedule}": schedule != "soft_start_annealing_schedule",
        "loss_mask_label_filter": experiment.HasField("loss_mask_label_filter"),
        f"augmentation_config.preprocessing.output_image_channel {preprocessing.output_image_channel}": (
            preprocessing.output_image_channel not in (0, 3)
        ),
        **{f"augmentation_config.preprocessing.{f}": getattr(preprocessing, f) != 0 for f in geometry},
    }
    asked = [case for case, found in cases.items() if found]
    if asked:
        raise SpecError(
            f"{name}: {', '.join(asked)}: the torch backend cannot do this; remove it or use the tao backend"
        )
    blocks = [float(block) for block in model.freeze_blocks]
    if not set(blocks) <= {0, 1, 2, 3, 4}:
        raise SpecError(f"{name}: model_config.freeze_blocks {blocks} has a block that is none of 0 to 4")


def _number(value: float) -> float:
    """Return the shortest decimal that is the same float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))


def _numbers(message: Any, *fields: str) -> dict[str, float]:
    return {field: _number(getattr(message, field)) for field in fields}


def _shape(experiment: Experiment, name: str) -> ClassShape:
    config = experiment.bbox_rasterizer_config.target_class_config[name]
    return ClassShape(
        **_numbers(config, "cov_center_x", "cov_center_y", "cov_radius_x", "cov_radius_y", "bbox_min_radius")
    )


def _cost(target: Any) -> ClassCost:
    objectives = {objective.name: objective for objective in target.objectives}
    cov, bbox = objectives["cov"], objectives["bbox"]
    return ClassCost(
        class_weight=_number(target.class_weight),
        foreground_weight=_number(target.coverage_foreground_weight),
        initial=(_number(cov.initial_weight), _number(bbox.initial_weight)),
        target=(_number(cov.weight_target), _number(bbox.weight_target)),
    )


def _augmentation(experiment: Experiment) -> AugmentOptions:
    config = experiment.augmentation_config
    spatial, color = config.spatial_augmentation, config.color_augmentation
    return AugmentOptions(
        **_numbers(spatial, "hflip_probability", "vflip_probability", "zoom_min", "zoom_max"),
        **_numbers(spatial, "translate_max_x", "translate_max_y", "turn_probability"),
        rotate_max_degrees=_number(spatial.rotate_rad_max),
        rotate_probability=_number(spatial.rotate_probability) or 1.0,
        **_numbers(color, "color_shift_stddev", "hue_rotation_max", "saturation_shift_max"),
        **_numbers(color, "contrast_scale_max", "contrast_center"),
    )


def _cluster(experiment: Experiment, name: str) -> ClusterOptions:
    config = experiment.postprocessing_config.target_class_config[name].clustering_config
    return ClusterOptions(
        coverage_threshold=_number(config.coverage_threshold),
        algorithm="nms" if config.clustering_algorithm == config.NMS else "dbscan",
        minimum_height=config.minimum_bounding_box_height,
        dbscan_eps=_number(config.dbscan_eps),
        dbscan_min_samples=max(config.dbscan_min_samples, 1),
        dbscan_confidence=_number(config.dbscan_confidence_threshold),
        nms_iou=_number(config.nms_iou_threshold),
        nms_confidence=_number(config.nms_confidence_threshold),
    )


def _training(experiment: Experiment) -> TrainingSettings:
    config, model, cost = experiment.training_config, experiment.model_config, experiment.cost_function_config
    schedule, adam = config.learning_rate.soft_start_annealing_schedule, config.optimizer.adam
    kinds: tuple[Literal["none", "l1", "l2"], ...] = ("none", "l1", "l2")
    return TrainingSettings(
        batch_size=config.batch_size_per_gpu,
        epochs=config.num_epochs,
        **_numbers(schedule, "min_learning_rate", "max_learning_rate", "soft_start", "annealing"),
        regularizer=kinds[int(config.regularizer.type)],
        regularizer_weight=_number(config.regularizer.weight),
        adam_epsilon=_number(adam.epsilon),
        adam_betas=(_number(adam.beta1), _number(adam.beta2)),
        checkpoint_interval=config.checkpoint_interval or 10,
        enable_qat=config.enable_qat,
        pretrained=model.pretrained_model_file,
        load_graph=model.load_graph,
        add_missing_heads=model.allow_loaded_model_modification,
        freeze_bn=model.freeze_bn,
        freeze_blocks=tuple(sorted({int(block) for block in model.freeze_blocks})),
        autoweighting=cost.enable_autoweighting,
        weight_limits=(_number(cost.min_objective_weight), _number(cost.max_objective_weight)),
    )


def _evaluation(experiment: Experiment, classes: tuple[str, ...]) -> EvaluationSettings:
    config = experiment.evaluation_config
    boxes = [config.evaluation_box_config[name] for name in classes]
    return EvaluationSettings(
        first_epoch=config.first_validation_epoch,
        period=config.validation_period_during_training,
        mode="integrate" if config.average_precision_mode == config.INTEGRATE else "sample",
        min_overlap=tuple(_number(config.minimum_detection_ground_truth_overlap[name]) for name in classes),
        limits=tuple(
            BoxLimits(
                minimum_height=box.minimum_height,
                maximum_height=box.maximum_height,
                minimum_width=box.minimum_width,
                maximum_width=box.maximum_width,
            )
            for box in boxes
        ),
    )
