"""Experiment specs of a profile's arms."""

from __future__ import annotations

from dataclasses import replace

from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.pipelines.profiles import Arm, Profile

__all__ = ["arm_spec", "shared_options"]


def arm_spec(profile: Profile, arm: Arm, *, load_graph: bool, qat: bool) -> str:
    """Return the spec of one training as protobuf text.

    Args:
        profile: the run's choices.
        arm: the training.
        load_graph: it starts from another arm's whole network; without this TAO would restart the heads.
        qat: train with fake quantisation.

    Raises:
        SpecError: a value is out of TAO's limits.
    """
    options = replace(
        shared_options(profile),
        load_graph=load_graph,
        pretrained="init/model.pt" if load_graph else "",
        enable_qat=qat,
        min_learning_rate=min(profile.training.min_learning_rate, arm.max_learning_rate),
        max_learning_rate=arm.max_learning_rate,
    )
    return format_spec(build_spec(options))


def shared_options(profile: Profile) -> SpecOptions:
    """Return what the specs of all trainings of a profile have in common."""
    t, a, m = profile.training, profile.training.augmentation, profile.model
    return SpecOptions(
        classes=tuple(profile.classes),
        image_width=profile.size,
        image_height=profile.size,
        layers=int(m.arch.removeprefix("resnet")),
        width=m.width,
        all_projections=m.all_projections,
        bn_momentum=m.bn_momentum,
        batch_size=t.batch_size,
        min_learning_rate=t.min_learning_rate,
        soft_start=t.soft_start,
        annealing=t.annealing,
        regularizer="l1" if t.l1_weight else "none",
        regularizer_weight=t.l1_weight,
        hflip_probability=a.hflip_probability,
        vflip_probability=a.vflip_probability,
        zoom_min=a.zoom_min,
        zoom_max=a.zoom_max,
        translate_max=a.translate_max,
        turn_probability=a.turn_probability,
        color_shift_stddev=a.color_shift_stddev,
        hue_rotation_max=a.hue_rotation_max,
        saturation_shift_max=a.saturation_shift_max,
        contrast_scale_max=a.contrast_scale_max,
        deadzone_radius=t.deadzone_radius,
        cov_radius=t.cov_radius,
        bbox_min_radius=t.bbox_min_radius,
        foreground_weight=t.foreground_weight,
        cov_weight=t.cov_weight,
        bbox_weight=t.bbox_weight,
        autoweighting=t.autoweighting,
        clustering=t.clustering,
        dbscan_eps=t.dbscan_eps,
        nms_iou=t.nms_iou,
        coverage_threshold=t.coverage_threshold,
        validation_period=t.validation_period,
        first_validation_epoch=t.validation_period,
        seed=profile.seed,
    )
