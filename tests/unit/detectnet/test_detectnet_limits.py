from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from aerodet.detectnet.limits import check_limits, require_limits
from aerodet.detectnet.spec import Experiment
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import SpecError

AIRCRAFT = '["aircraft"]'
SCHEDULE = "training_config.learning_rate.soft_start_annealing_schedule"
ADAM = "training_config.optimizer.adam"
COST = "cost_function_config.target_classes[0]"
RASTER = f"bbox_rasterizer_config.target_class_config{AIRCRAFT}"
CLUSTER = f"postprocessing_config.target_class_config{AIRCRAFT}.clustering_config"
SPATIAL = "augmentation_config.spatial_augmentation"
COLOR = "augmentation_config.color_augmentation"
PREPROCESSING = "augmentation_config.preprocessing"
BOX = f"evaluation_config.evaluation_box_config{AIRCRAFT}"


def put(experiment: Experiment, path: str, value: object) -> None:
    """Set the field at a path such as a.b[0].c or a.b["key"].c."""
    *parents, last = path.replace("]", "").replace("[", ".").split(".")
    node: Any = experiment
    for step in parents:
        if step.isdigit():
            node = node[int(step)]
        elif step.startswith('"'):
            node = node[step.strip('"')]
        else:
            node = getattr(node, step)
    setattr(node, last, value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("dataset_config.data_sources[0].tfrecords_path", "", "given, not empty"),
        ("dataset_config.data_sources[0].image_directory_path", "", "given, not empty"),
        (f"{PREPROCESSING}.output_image_width", 0, "a positive multiple of 16"),
        (f"{PREPROCESSING}.output_image_height", 520, "a positive multiple of 16"),
        (f"{SPATIAL}.hflip_probability", 1.5, "from 0 to 1"),
        (f"{SPATIAL}.zoom_min", 0, "above 0"),
        (f"{SPATIAL}.zoom_min", 2, "at most zoom_max (1.5)"),
        (f"{SPATIAL}.translate_max_x", -1, "at least 0"),
        (f"{COLOR}.saturation_shift_max", 1.5, "from 0 to 1"),
        (f"{COLOR}.contrast_scale_max", -0.1, "from 0 to 1"),
        (f"{PREPROCESSING}.crop_left", 5, "at most crop_right (0)"),
        ("model_config.arch", "", "one of resnet, vgg"),
        ("model_config.arch", "resnet18", "one of resnet, vgg"),
        ("model_config.num_layers", -1, "at least 0"),
        ("model_config.width", -1, "at least 0"),
        ("model_config.bn_momentum", 1, "at least 0 and below 1"),
        ("model_config.objective_set.bbox.scale", 0, "above 0"),
        ("model_config.objective_set.bbox.offset", -0.5, "at least 0"),
        ("bbox_rasterizer_config.deadzone_radius", 1.01, "from 0 to 1"),
        (f"{RASTER}.cov_center_x", -0.1, "from 0 to 1"),
        (f"{RASTER}.cov_center_y", 1.1, "from 0 to 1"),
        (f"{RASTER}.cov_radius_x", 0, "above 0 and at most 1"),
        (f"{RASTER}.cov_radius_y", 1.2, "above 0 and at most 1"),
        (f"{RASTER}.bbox_min_radius", 2, "above 0 and at most 1"),
        (f"{COST}.class_weight", 0, "above 0"),
        (f"{COST}.coverage_foreground_weight", 0, "above 0 and below 1"),
        (f"{COST}.coverage_foreground_weight", 1, "above 0 and below 1"),
        (f"{COST}.objectives[0].name", "coverage", "cov or bbox"),
        (f"{COST}.objectives[1].weight_target", -0.5, "at least 0"),
        ("training_config.batch_size_per_gpu", 0, "above 0"),
        ("training_config.num_epochs", 0, "above 0"),
        (f"{SCHEDULE}.min_learning_rate", 0, "above 0"),
        (f"{SCHEDULE}.max_learning_rate", math.nan, "above 0"),
        (f"{SCHEDULE}.soft_start", 1, "at least 0 and below 1"),
        (f"{SCHEDULE}.annealing", 1, "at least 0 and below 1"),
        ("training_config.regularizer.weight", -1, "at least 0"),
        (f"{ADAM}.epsilon", 0, "above 0"),
        (f"{ADAM}.beta1", 0, "above 0"),
        (f"{ADAM}.beta2", -1, "above 0"),
        ("training_config.cost_scaling.initial_exponent", 0, "above 0"),
        ("training_config.cost_scaling.increment", 0, "above 0"),
        ("training_config.cost_scaling.decrement", 0, "above 0"),
        (f"{CLUSTER}.coverage_threshold", 1.5, "from 0 to 1"),
        (f"{CLUSTER}.minimum_bounding_box_height", -1, "at least 0"),
        (f"{CLUSTER}.dbscan_eps", 1.5, "from 0 to 1"),
        (f"{CLUSTER}.dbscan_min_samples", 4, "0 or 1 (TAO's trainer refuses more"),
        (f"{CLUSTER}.neighborhood_size", 2, "from 0 to 1"),
        (f"{CLUSTER}.dbscan_confidence_threshold", -0.5, "from 0 to 1"),
        (f"{CLUSTER}.nms_iou_threshold", 1.5, "from 0 to 1"),
        (f"{CLUSTER}.nms_confidence_threshold", 1.5, "from 0 to 1"),
        (
            "cost_function_config.max_objective_weight",
            0,
            "above min_objective_weight (0.0001) with enable_autoweighting",
        ),
        ("evaluation_config.validation_period_during_training", 0, "above 0"),
        ("evaluation_config.first_validation_epoch", 0, "above 0"),
        (f"{BOX}.minimum_height", -1, "at least 0"),
        (f"{BOX}.maximum_height", 0, "above 0"),
        (f"{BOX}.maximum_width", 0, "above 0"),
    ],
)
def test_a_value_out_of_its_limit_is_named_with_its_path_and_the_limit(path: str, value: object, words: str):
    spec = build_spec()
    put(spec, path, value)

    faults = check_limits(spec)

    assert len(faults) == 1, faults
    shown = f'"{value}"' if isinstance(value, str) else f"{value:g}"
    assert faults[0].startswith(f"{path} is {shown}; it must be {words}")


@pytest.mark.parametrize(
    "path",
    [
        "dataset_config",
        "augmentation_config",
        "postprocessing_config",
        "model_config",
        "evaluation_config",
        "cost_function_config",
        "training_config",
        "bbox_rasterizer_config",
        "augmentation_config.preprocessing",
        "augmentation_config.spatial_augmentation",
        "model_config.objective_set",
        "model_config.objective_set.bbox",
        "model_config.objective_set.cov",
        "training_config.learning_rate",
        "training_config.regularizer",
        "training_config.optimizer",
        "training_config.optimizer.adam",
        "training_config.cost_scaling",
    ],
)
def test_a_required_block_that_is_missing_is_named(path: str):
    spec = build_spec()
    node: Any = spec
    *parents, last = path.split(".")
    for step in parents:
        node = getattr(node, step)
    node.ClearField(last)

    assert check_limits(spec) == [f"{path} is missing; TAO needs this block"]


@pytest.mark.parametrize(
    "path",
    [
        "dataset_config.data_sources",
        "dataset_config.target_class_mapping",
        "cost_function_config.target_classes",
        "bbox_rasterizer_config.target_class_config",
        "postprocessing_config.target_class_config",
        "evaluation_config.minimum_detection_ground_truth_overlap",
        "evaluation_config.evaluation_box_config",
    ],
)
def test_a_required_list_that_is_empty_is_named(path: str):
    spec = build_spec()
    block, field = path.split(".")
    getattr(spec, block).ClearField(field)

    assert check_limits(spec) == [f"{path} is empty; give at least one"]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (
            lambda s: s.bbox_rasterizer_config.target_class_config.pop("b"),
            'bbox_rasterizer_config.target_class_config has no entry for the class "b"',
        ),
        (
            lambda s: s.postprocessing_config.target_class_config.pop("b"),
            'postprocessing_config.target_class_config has no entry for the class "b"',
        ),
        (
            lambda s: s.evaluation_config.evaluation_box_config.pop("b"),
            'evaluation_config.evaluation_box_config has no entry for the class "b"',
        ),
        (
            lambda s: s.evaluation_config.minimum_detection_ground_truth_overlap.pop("b"),
            'evaluation_config.minimum_detection_ground_truth_overlap has no entry for the class "b"',
        ),
        (
            lambda s: s.dataset_config.target_class_mapping.pop("b"),
            'dataset_config.target_class_mapping maps nothing to the class "b"',
        ),
        (
            lambda s: s.dataset_config.target_class_mapping.update({"Jet": "a"}),
            'dataset_config.target_class_mapping["Jet"] has the class name "Jet"; write "jet"',
        ),
        (
            lambda s: s.cost_function_config.target_classes[0].objectives.pop(),
            "cost_function_config.target_classes[0].objectives are cov; name cov and bbox once each",
        ),
        (
            lambda s: s.cost_function_config.target_classes[1].ClearField("objectives"),
            "cost_function_config.target_classes[1].objectives is empty; give at least one",
        ),
        (
            lambda s: s.cost_function_config.target_classes.append(s.cost_function_config.target_classes[0]),
            'cost_function_config.target_classes[2].name is "a" a second time',
        ),
        (
            lambda s: s.training_config.learning_rate.ClearField("soft_start_annealing_schedule"),
            "training_config.learning_rate is empty; give a soft_start_annealing_schedule",
        ),
        (
            lambda s: s.postprocessing_config.target_class_config["a"].ClearField("clustering_config"),
            'postprocessing_config.target_class_config["a"].clustering_config is missing',
        ),
        (
            lambda s: setattr(
                s.postprocessing_config.target_class_config["a"].clustering_config, "clustering_algorithm", 2
            ),
            'postprocessing_config.target_class_config["a"].clustering_config.clustering_algorithm is HYBRID',
        ),
        (
            lambda s: setattr(s.dataset_config, "dataloader_mode", 7),
            "dataset_config.dataloader_mode is 7; it must be one of MULTISOURCE, LEGACY, DEFAULT",
        ),
    ],
)
def test_blocks_that_do_not_agree_are_named(damage: Callable[[Any], object], fault: str):
    spec = build_spec(SpecOptions(classes=("a", "b")))
    damage(spec)

    faults = check_limits(spec)

    assert len(faults) == 1, faults
    assert faults[0].startswith(fault)


def test_an_upper_case_class_is_named_wherever_it_counts():
    with pytest.raises(SpecError) as caught:
        build_spec(SpecOptions(classes=("Aircraft",)))

    message = str(caught.value)
    assert 'dataset_config.target_class_mapping["Aircraft"] has the class name "Aircraft"; write "aircraft"' in message
    assert 'cost_function_config.target_classes[0].name has the class name "Aircraft"; write "aircraft"' in message


def test_objectives_without_weight_are_refused():
    spec = build_spec(SpecOptions(cov_weight=0))
    for objective in spec.cost_function_config.target_classes[0].objectives:
        objective.initial_weight = 0

    assert check_limits(spec) == [f"{COST}.objectives have initial_weights that sum to 0; make one positive"]


def test_all_faults_are_reported_together_under_the_name_of_the_file():
    spec = build_spec()
    spec.training_config.num_epochs = 0
    spec.model_config.arch = "alexnet"

    with pytest.raises(
        SpecError, match=r"^spec\.txt: 2 values are out of TAO's limits:\n  model_config\.arch"
    ) as caught:
        require_limits(spec, "spec.txt")
    assert "training_config.num_epochs is 0" in str(caught.value)


def test_an_empty_spec_lacks_all_eight_blocks():
    assert len(check_limits(Experiment())) == 8
