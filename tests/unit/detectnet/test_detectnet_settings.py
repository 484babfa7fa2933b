from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import format_spec, parse_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import SpecError


def test_settings_say_what_the_options_said():
    options = SpecOptions(
        classes=("plane", "helicopter"),
        image_width=640,
        image_height=320,
        layers=34,
        width=0.25,
        all_projections=True,
        regularizer="l2",
        max_learning_rate=2e-3,
        batch_size=8,
        cov_radius=0.4,
        rotate_max_degrees=90,
        clustering="nms",
        freeze_blocks=(1, 0),
        minimum_overlap=0.7,
        pretrained="weights.pt",
    )

    settings = settings_of(parse_spec(format_spec(build_spec(options))))

    assert settings.size == (320, 640)
    assert settings.classes == ("plane", "helicopter")
    assert settings.class_mapping == {"plane": "plane", "helicopter": "helicopter"}
    architecture = settings.architecture
    assert (architecture.layers, architecture.num_classes, architecture.width) == (34, 2, 0.25)
    assert architecture.all_projections
    assert architecture.use_batch_norm
    assert (settings.box_scale, settings.box_offset, settings.deadzone_radius) == (35.0, 0.5, 0.4)
    assert [shape.cov_radius_x for shape in settings.shapes] == [0.4, 0.4]
    assert settings.costs[0].initial == (1.0, 10.0)
    assert settings.costs[0].foreground_weight == 0.05
    assert settings.augmentation.rotate_max_degrees == 90
    assert settings.augmentation.rotate_probability == 1
    assert [c.algorithm for c in settings.clusters] == ["nms", "nms"]
    training = settings.training
    assert (training.regularizer, training.regularizer_weight) == ("l2", 3e-9)
    assert (training.max_learning_rate, training.batch_size) == (2e-3, 8)
    assert training.freeze_blocks == (0, 1)
    assert training.adam_betas == (0.9, 0.999)
    assert training.weight_limits == (0.0001, 0.9999)
    assert training.pretrained == "weights.pt"
    assert settings.evaluation.min_overlap == (0.7, 0.7)
    assert settings.evaluation.limits[0].minimum_height == 4


def test_unset_fields_get_taos_meaning():
    spec = build_spec()
    spec.model_config.num_layers = 0
    spec.training_config.checkpoint_interval = 0
    spec.postprocessing_config.target_class_config["aircraft"].clustering_config.dbscan_min_samples = 0

    settings = settings_of(spec)

    assert settings.architecture.layers == 18
    assert settings.architecture.width == 1
    assert settings.architecture.bn_momentum == 0.99
    assert settings.training.checkpoint_interval == 10
    assert settings.clusters[0].dbscan_min_samples == 1


def test_classes_follow_the_cost_function_and_weights_their_names():
    spec = build_spec(SpecOptions(classes=("b", "a")))
    spec.bbox_rasterizer_config.target_class_config["a"].cov_radius_x = 0.25
    cov, bbox = spec.cost_function_config.target_classes[1].objectives
    cov.name, bbox.name = "bbox", "cov"

    settings = settings_of(spec)

    assert settings.classes == ("b", "a")
    assert [shape.cov_radius_x for shape in settings.shapes] == [1.0, 0.25]
    assert [cost.initial for cost in settings.costs] == [(1.0, 10.0), (10.0, 1.0)]


def test_a_spec_out_of_the_limits_has_no_settings():
    spec = build_spec()
    spec.training_config.num_epochs = 0

    with pytest.raises(SpecError, match=r"^x\.txt: training_config\.num_epochs is 0"):
        settings_of(spec, "x.txt")


def early_stopping(spec: Any) -> None:
    schedule = spec.training_config.learning_rate.early_stopping_annealing_schedule
    schedule.min_learning_rate, schedule.max_learning_rate = 1e-6, 1e-4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: setattr(s.model_config, "arch", "vgg"), 'model_config.arch "vgg"'),
        (lambda s: setattr(s.model_config, "num_layers", 50), "model_config.num_layers 50"),
        (lambda s: setattr(s.model_config, "use_pooling", True), "model_config.use_pooling"),
        (lambda s: setattr(s.model_config.training_precision, "backend_floatx", 1), "FLOAT16"),
        (lambda s: setattr(s.training_config.cost_scaling, "enabled", True), "cost_scaling.enabled"),
        (early_stopping, "early_stopping_annealing_schedule"),
        (lambda s: s.loss_mask_label_filter.SetInParent(), "loss_mask_label_filter"),
        (lambda s: setattr(s.augmentation_config.preprocessing, "output_image_channel", 1), "output_image_channel 1"),
        (lambda s: setattr(s.augmentation_config.preprocessing, "crop_right", 5), "crop_right"),
        (lambda s: setattr(s.augmentation_config.preprocessing, "scale_width", 0.5), "scale_width"),
    ],
)
def test_what_only_tao_can_do_is_refused_and_not_ignored(change: Callable[[Any], object], named: str):
    spec = build_spec()
    change(spec)

    with pytest.raises(SpecError, match="the torch backend cannot do this") as caught:
        settings_of(spec)
    assert named in str(caught.value)


def test_a_block_that_does_not_exist_cannot_be_frozen():
    spec = build_spec()
    spec.model_config.freeze_blocks.append(7)

    with pytest.raises(SpecError, match="freeze_blocks"):
        settings_of(spec)
