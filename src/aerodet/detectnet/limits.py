"""The limits that TAO puts on the values of an experiment spec, checked before anything starts.

Sources: ``nvidia_tao_tf1/cv/detectnet_v2/spec_handler/constants.py`` (ranges, required blocks) and the constructors
that read the spec (``dataloader/augmentation/augmentation_config.py``, ``rasterizers/bbox_rasterizer_config.py``,
``cost_function/cost_function_parameters.py``, ``postprocessor/clustering_config.py``,
``evaluation/evaluation_config.py``). TAO stops at the first fault, this module reports all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aerodet.detectnet.spec import Experiment
from aerodet.errors import SpecError

__all__ = ["check_limits", "require_limits"]


@dataclass(frozen=True)
class _Limit:
    """What a value must be, in words and as a test; NaN passes none of the tests."""

    words: str
    holds: Callable[[Any], bool]


_POSITIVE = _Limit("above 0", lambda v: v > 0)
_NOT_NEGATIVE = _Limit("at least 0", lambda v: v >= 0)
_UNIT = _Limit("from 0 to 1", lambda v: 0 <= v <= 1)
_HALF_OPEN = _Limit("at least 0 and below 1", lambda v: 0 <= v < 1)
_RADIUS = _Limit("above 0 and at most 1", lambda v: 0 < v <= 1)
_INSIDE = _Limit("above 0 and below 1", lambda v: 0 < v < 1)
_GRID = _Limit("a positive multiple of 16", lambda v: v > 0 and v % 16 == 0)
_GIVEN = _Limit("given, not empty", bool)
_SAMPLES = _Limit("0 or 1 (TAO's trainer refuses more, although TAO Deploy takes it)", lambda v: 0 <= v <= 1)
_ARCHITECTURES = (
    "resnet",
    "vgg",
    "darknet",
    "mobilenet_v1",
    "mobilenet_v2",
    "squeezenet",
    "googlenet",
    "efficientnet_b0",
)
_ARCH = _Limit(f"one of {', '.join(_ARCHITECTURES)}", lambda v: v in _ARCHITECTURES)

# By message (its name in experiment.proto), then field.
_LIMITS: Mapping[str, Mapping[str, _Limit]] = {
    "DataSource": {"tfrecords_path": _GIVEN, "image_directory_path": _GIVEN, "source_weight": _NOT_NEGATIVE},
    "AugmentationConfig.Preprocessing": {
        "output_image_width": _GRID,
        "output_image_height": _GRID,
        "min_bbox_width": _NOT_NEGATIVE,
        "min_bbox_height": _NOT_NEGATIVE,
        "scale_width": _NOT_NEGATIVE,
        "scale_height": _NOT_NEGATIVE,
    },
    "AugmentationConfig.SpatialAugmentation": {
        "hflip_probability": _UNIT,
        "vflip_probability": _UNIT,
        "turn_probability": _UNIT,
        "zoom_min": _POSITIVE,
        "zoom_max": _POSITIVE,
        "translate_max_x": _NOT_NEGATIVE,
        "translate_max_y": _NOT_NEGATIVE,
    },
    "AugmentationConfig.ColorAugmentation": {
        "color_shift_stddev": _UNIT,
        "hue_rotation_max": _NOT_NEGATIVE,
        "saturation_shift_max": _UNIT,
        "contrast_scale_max": _UNIT,
        "contrast_center": _UNIT,
    },
    "ModelConfig": {"arch": _ARCH, "num_layers": _NOT_NEGATIVE, "width": _NOT_NEGATIVE, "bn_momentum": _HALF_OPEN},
    "ModelConfig.BboxObjective": {"scale": _POSITIVE, "offset": _NOT_NEGATIVE},
    "BboxRasterizerConfig": {"deadzone_radius": _UNIT},
    "BboxRasterizerConfig.TargetClassConfig": {
        "cov_center_x": _UNIT,
        "cov_center_y": _UNIT,
        "cov_radius_x": _RADIUS,
        "cov_radius_y": _RADIUS,
        "bbox_min_radius": _RADIUS,
    },
    "CostFunctionConfig": {"max_objective_weight": _NOT_NEGATIVE, "min_objective_weight": _NOT_NEGATIVE},
    "CostFunctionConfig.TargetClass": {
        "name": _GIVEN,
        "class_weight": _POSITIVE,
        "coverage_foreground_weight": _INSIDE,
    },
    "CostFunctionConfig.TargetClass.Objective": {
        "name": _Limit("cov or bbox", lambda v: v in ("cov", "bbox")),
        "initial_weight": _NOT_NEGATIVE,
        "weight_target": _NOT_NEGATIVE,
    },
    "TrainingConfig": {"batch_size_per_gpu": _POSITIVE, "num_epochs": _POSITIVE},
    "SoftStartAnnealingScheduleConfig": {
        "min_learning_rate": _POSITIVE,
        "max_learning_rate": _POSITIVE,
        "soft_start": _HALF_OPEN,
        "annealing": _HALF_OPEN,
    },
    "EarlyStoppingAnnealingScheduleConfig": {"min_learning_rate": _POSITIVE, "max_learning_rate": _POSITIVE},
    "RegularizerConfig": {"weight": _NOT_NEGATIVE},
    "AdamOptimizerConfig": {"epsilon": _POSITIVE, "beta1": _POSITIVE, "beta2": _POSITIVE},
    "CostScalingConfig": {"initial_exponent": _POSITIVE, "increment": _POSITIVE, "decrement": _POSITIVE},
    "ClusteringConfig": {
        "coverage_threshold": _UNIT,
        "minimum_bounding_box_height": _NOT_NEGATIVE,
        "dbscan_eps": _UNIT,
        "dbscan_min_samples": _SAMPLES,
        "neighborhood_size": _UNIT,
        "dbscan_confidence_threshold": _UNIT,
        "nms_iou_threshold": _UNIT,
        "nms_confidence_threshold": _UNIT,
    },
    "ConfidenceConfig": {"confidence_threshold": _UNIT},
    "EvaluationConfig": {"validation_period_during_training": _POSITIVE, "first_validation_epoch": _POSITIVE},
    "EvaluationConfig.EvaluationBoxConfig": {
        "minimum_height": _NOT_NEGATIVE,
        "maximum_height": _POSITIVE,
        "minimum_width": _NOT_NEGATIVE,
        "maximum_width": _POSITIVE,
    },
}

# Blocks that must be there; a repeated block must not be empty.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Experiment": (
        "dataset_config",
        "augmentation_config",
        "postprocessing_config",
        "model_config",
        "evaluation_config",
        "cost_function_config",
        "training_config",
        "bbox_rasterizer_config",
    ),
    "DatasetConfig": ("data_sources", "target_class_mapping"),
    "AugmentationConfig": ("preprocessing", "spatial_augmentation"),
    "ModelConfig": ("objective_set",),
    "ModelConfig.ObjectiveSet": ("bbox", "cov"),
    "BboxRasterizerConfig": ("target_class_config",),
    "CostFunctionConfig": ("target_classes",),
    "CostFunctionConfig.TargetClass": ("objectives",),
    "TrainingConfig": ("learning_rate", "regularizer", "optimizer", "cost_scaling"),
    "OptimizerConfig": ("adam",),
    "PostProcessingConfig": ("target_class_config",),
    "PostProcessingConfig.TargetClassConfig": ("clustering_config",),
    "EvaluationConfig": ("minimum_detection_ground_truth_overlap", "evaluation_box_config"),
}


def check_limits(experiment: Experiment) -> list[str]:
    """Return every limit that a spec breaks, one sentence each: the field's path, its value, what it must be."""
    return [
        *_walk(experiment, ""),
        *_check_augmentation(experiment),
        *_check_classes(experiment),
        *_check_autoweighting(experiment),
    ]


def require_limits(experiment: Experiment, name: str = "spec") -> None:
    """Refuse a spec that breaks limits.

    Args:
        experiment: the spec.
        name: what the message calls it, usually a file name.

    Raises:
        SpecError: with all the faults.
    """
    faults = check_limits(experiment)
    if len(faults) == 1:
        raise SpecError(f"{name}: {faults[0]}")
    if faults:
        raise SpecError("\n  ".join([f"{name}: {len(faults)} values are out of TAO's limits:", *faults]))


# ------------------------------------------------------------------------------------------- one message by itself


def _walk(message: Any, path: str) -> Iterator[str]:
    """Yield the faults of a message and of those inside it."""
    kind = message.DESCRIPTOR.full_name.removeprefix(message.DESCRIPTOR.file.package + ".")
    required, limits = _REQUIRED.get(kind, ()), _LIMITS.get(kind, {})
    for field in message.DESCRIPTOR.fields:
        where = f"{path}.{field.name}" if path else field.name
        value = getattr(message, field.name)
        if field.is_repeated:
            if field.name in required and not value:
                yield f"{where} is empty; give at least one"
            yield from _walk_all(field, value, where)
        elif field.message_type is not None:
            if message.HasField(field.name):
                yield from _walk(value, where)
            elif field.name in required:
                yield f"{where} is missing; TAO needs this block"
        elif field.enum_type is not None and value not in field.enum_type.values_by_number:
            yield f"{where} is {value}; it must be one of {', '.join(field.enum_type.values_by_name)}"
        elif field.name in limits and not limits[field.name].holds(value):
            yield _fault(where, value, limits[field.name].words)
    if kind == "LearningRateConfig" and message.WhichOneof("learning_rate") is None:
        yield f"{path} is empty; give a soft_start_annealing_schedule"


def _walk_all(field: Any, values: Any, path: str) -> Iterator[str]:
    """Yield the faults of a repeated field's messages."""
    if field.message_type is None:
        return
    if not field.message_type.GetOptions().map_entry:
        for index, value in enumerate(values):
            yield from _walk(value, f"{path}[{index}]")
    elif field.message_type.fields_by_name["value"].message_type is not None:
        for key in sorted(values):
            yield from _walk(values[key], f'{path}["{key}"]')


def _fault(where: str, value: Any, words: str) -> str:
    shown = f'"{value}"' if isinstance(value, str) else f"{value:.7g}"
    return f"{where} is {shown}; it must be {words}"


# ------------------------------------------------------------------------------------------- values that must agree


def _check_augmentation(experiment: Experiment) -> Iterator[str]:
    spatial = experiment.augmentation_config.spatial_augmentation
    if spatial.zoom_min > spatial.zoom_max > 0:
        yield _fault(
            "augmentation_config.spatial_augmentation.zoom_min",
            spatial.zoom_min,
            f"at most zoom_max ({spatial.zoom_max:.7g})",
        )
    crop = experiment.augmentation_config.preprocessing
    if spatial.turn_probability and crop.output_image_width != crop.output_image_height:
        where = "augmentation_config.spatial_augmentation.turn_probability"
        yield _fault(where, spatial.turn_probability, "0 where images are not as wide as high")
    for low, high in (("crop_left", "crop_right"), ("crop_top", "crop_bottom")):
        if getattr(crop, low) > getattr(crop, high):
            where = f"augmentation_config.preprocessing.{low}"
            yield _fault(where, getattr(crop, low), f"at most {high} ({getattr(crop, high)})")


def _check_classes(experiment: Experiment) -> Iterator[str]:
    """Yield classes that the blocks do not agree on; a detector's classes are those of the cost function."""
    mapping: Mapping[str, str] = experiment.dataset_config.target_class_mapping
    for source, target in sorted(mapping.items()):
        for name in dict.fromkeys((source, target)):
            if name != name.lower():
                yield _upper_case(f'dataset_config.target_class_mapping["{source}"]', name)
    tables: Mapping[str, Mapping[str, Any]] = {
        "bbox_rasterizer_config.target_class_config": experiment.bbox_rasterizer_config.target_class_config,
        "postprocessing_config.target_class_config": experiment.postprocessing_config.target_class_config,
        "evaluation_config.minimum_detection_ground_truth_overlap": (
            experiment.evaluation_config.minimum_detection_ground_truth_overlap
        ),
        "evaluation_config.evaluation_box_config": experiment.evaluation_config.evaluation_box_config,
    }
    seen: set[str] = set()
    for index, target_class in enumerate(experiment.cost_function_config.target_classes):
        where = f"cost_function_config.target_classes[{index}]"
        name = target_class.name
        if name != name.lower():
            yield _upper_case(f"{where}.name", name)
        if name in seen:
            yield f'{where}.name is "{name}" a second time; name each class once'
        seen.add(name)
        yield from _check_objectives(target_class, where)
        for table, entries in tables.items():
            if name and entries and name not in entries:
                yield f'{table} has no entry for the class "{name}" of {where}; add one'
        if name and mapping and name not in mapping.values():
            yield f'dataset_config.target_class_mapping maps nothing to the class "{name}" of {where}; add an entry'
    for name, entry in sorted(experiment.postprocessing_config.target_class_config.items()):
        if entry.clustering_config.clustering_algorithm == entry.clustering_config.HYBRID:
            path = f'postprocessing_config.target_class_config["{name}"].clustering_config.clustering_algorithm'
            yield f"{path} is HYBRID, which TAO has for inference only; use DBSCAN or NMS"


def _check_autoweighting(experiment: Experiment) -> Iterator[str]:
    """Yield a fault where the limits would clamp every weight to 0, as when they are left out."""
    config = experiment.cost_function_config
    if config.enable_autoweighting and config.max_objective_weight <= config.min_objective_weight:
        yield _fault(
            "cost_function_config.max_objective_weight",
            config.max_objective_weight,
            f"above min_objective_weight ({config.min_objective_weight:.7g}) with enable_autoweighting",
        )


def _check_objectives(target_class: Any, where: str) -> Iterator[str]:
    names = [objective.name for objective in target_class.objectives]
    if names and sorted(names) != ["bbox", "cov"] and set(names) <= {"bbox", "cov"}:
        yield f"{where}.objectives are {', '.join(names)}; name cov and bbox once each"
    for weight in ("initial_weight", "weight_target"):
        if names and sum(getattr(objective, weight) for objective in target_class.objectives) <= 0:
            yield f"{where}.objectives have {weight}s that sum to 0; make one positive"


def _upper_case(where: str, name: str) -> str:
    return (
        f'{where} has the class name "{name}"; write "{name.lower()}": the label converter makes class names lower-case'
    )
