"""A complete experiment spec from a handful of options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aerodet.detectnet import _experiment_pb2 as pb
from aerodet.detectnet.limits import require_limits
from aerodet.detectnet.spec import Experiment

__all__ = ["SpecOptions", "build_spec"]


@dataclass(frozen=True)
class SpecOptions:
    """What differs between our specs; everything else in a spec follows from it.

    Defaults are those of NVIDIA's published synthetic-data workflow for DetectNet_v2 (ResNet18 on Replicator images),
    with TAO's sample spec where that says nothing, and square input.

    Args:
        classes: of the detector, lower case, in channel order.
        class_mapping: class in the labels to class of the detector; every class to itself when empty.
        data_sources: (TFRecord pattern, image folder) pairs that the TAO backend trains on; torch gets image sets.
        validation_source: such a pair to validate on; without one, TAO validates on fold 0 of the sources.
        image_extension: of the image files that TAO reads.
        image_width: pixels, a multiple of 16.
        image_height: pixels, a multiple of 16.
        auto_resize: stretch images of other sizes.
        layers: 10, 18 or 34.
        width: multiplies the backbone's channels; 1 is TAO's network, others need the torch backend.
        all_projections: see :class:`aerodet.detectnet.model.Architecture`.
        bn_momentum: share of the running statistics kept at each step; TAO's is 0.99, others need the torch backend.
        pretrained: weights to start from.
        load_graph: load heads and pruned shape too.
        freeze_bn: keep the batch normalisation as loaded.
        freeze_blocks: 0 for conv1, 1 to 4 for the stages that are not trained.
        batch_size: images of a step.
        epochs: passes over the images.
        min_learning_rate: at both ends.
        max_learning_rate: at the plateau.
        soft_start: share of the run.
        annealing: share of the run.
        regularizer: of kernels, and of biases that no batch statistics take off again.
        regularizer_weight: its factor.
        checkpoint_interval: epochs.
        enable_qat: train with fake quantisation.
        hflip_probability: of a left-right mirror image.
        vflip_probability: of an upside-down mirror image; torch applies it, TAO does not.
        zoom_min: ratio; above 1 shrinks the picture.
        zoom_max: ratio.
        translate_max: pixels, both ways.
        rotate_max_degrees: largest angle.
        turn_probability: of a quarter turn; TAO has none.
        color_shift_stddev: brightness.
        hue_rotation_max: degrees.
        saturation_shift_max: relative.
        contrast_scale_max: relative.
        cov_radius: size of the coverage ellipse, as a share of the box.
        bbox_min_radius: grid cells, at most 1.
        deadzone_radius: 0 puts the dead zone on the ellipse, 1 on the box.
        foreground_weight: of covered cells in the coverage loss.
        cov_weight: starting and target weight of the coverage loss.
        bbox_weight: starting and target weight of the box loss.
        autoweighting: re-balance the two after each epoch.
        clustering: how cells become boxes.
        coverage_threshold: cells above it are candidates.
        dbscan_eps: largest 1 - IoU of neighbours.
        nms_iou: largest overlap that NMS leaves.
        minimum_height: pixels; smaller detections are dropped, smaller labels are not evaluated.
        minimum_overlap: IoU at which a detection matches in TAO's AP.
        ap_mode: TAO's way to average precision.
        first_validation_epoch: the first epoch with a validation.
        validation_period: epochs between validations.
        seed: of every random choice.
    """

    classes: tuple[str, ...] = ("aircraft",)
    class_mapping: Mapping[str, str] = field(default_factory=dict)
    data_sources: tuple[tuple[str, str], ...] = (("tfrecords/train/*", "images"),)
    validation_source: tuple[str, str] | None = None
    image_extension: str = "png"
    image_width: int = 512
    image_height: int = 512
    auto_resize: bool = False
    layers: int = 18
    width: float = 1.0
    all_projections: bool = False
    bn_momentum: float = 0.99
    pretrained: str = ""
    load_graph: bool = False
    freeze_bn: bool = False
    freeze_blocks: tuple[int, ...] = ()
    batch_size: int = 32
    epochs: int = 100
    min_learning_rate: float = 5e-6
    max_learning_rate: float = 5e-4
    soft_start: float = 0.1
    annealing: float = 0.7
    regularizer: Literal["none", "l1", "l2"] = "l1"
    regularizer_weight: float = 3e-9
    checkpoint_interval: int = 10
    enable_qat: bool = False
    hflip_probability: float = 0.5
    vflip_probability: float = 0.0
    zoom_min: float = 0.5
    zoom_max: float = 1.5
    translate_max: float = 8.0
    rotate_max_degrees: float = 0.0
    turn_probability: float = 0.0
    color_shift_stddev: float = 0.0
    hue_rotation_max: float = 25.0
    saturation_shift_max: float = 0.2
    contrast_scale_max: float = 0.1
    cov_radius: float = 1.0
    bbox_min_radius: float = 1.0
    deadzone_radius: float = 0.4
    foreground_weight: float = 0.05
    cov_weight: float = 1.0
    bbox_weight: float = 10.0
    autoweighting: bool = True
    clustering: Literal["dbscan", "nms"] = "dbscan"
    coverage_threshold: float = 0.005
    dbscan_eps: float = 0.15
    nms_iou: float = 0.2
    minimum_height: int = 4
    minimum_overlap: float = 0.5
    ap_mode: Literal["sample", "integrate"] = "integrate"
    first_validation_epoch: int = 10
    validation_period: int = 10
    seed: int = 42


def build_spec(options: SpecOptions | None = None) -> Experiment:
    """Build a complete spec.

    Raises:
        SpecError: an option is out of TAO's limits.
    """
    o = options or SpecOptions()
    experiment = Experiment(
        random_seed=o.seed,
        dataset_config=_dataset(o),
        augmentation_config=_augmentation(o),
        postprocessing_config=_postprocessing(o),
        model_config=_model(o),
        evaluation_config=_evaluation(o),
        cost_function_config=_cost_function(o),
        training_config=_training(o),
        bbox_rasterizer_config=_rasterizer(o),
    )
    require_limits(experiment, "the options of the spec")
    return experiment


def _dataset(o: SpecOptions) -> pb.DatasetConfig:
    def source(pair: tuple[str, str]) -> pb.DataSource:
        return pb.DataSource(tfrecords_path=pair[0], image_directory_path=pair[1])

    config = pb.DatasetConfig(
        data_sources=[source(pair) for pair in o.data_sources],
        image_extension=o.image_extension,
        target_class_mapping=dict(o.class_mapping) or {name: name for name in o.classes},
    )
    if o.validation_source:
        config.validation_data_source.CopyFrom(source(o.validation_source))
    else:
        config.validation_fold = 0
    return config


def _augmentation(o: SpecOptions) -> pb.AugmentationConfig:
    config = pb.AugmentationConfig
    return config(
        preprocessing=config.Preprocessing(
            output_image_width=o.image_width,
            output_image_height=o.image_height,
            output_image_channel=3,
            min_bbox_width=1.0,
            min_bbox_height=1.0,
            enable_auto_resize=o.auto_resize,
        ),
        spatial_augmentation=config.SpatialAugmentation(
            hflip_probability=o.hflip_probability,
            vflip_probability=o.vflip_probability,
            zoom_min=o.zoom_min,
            zoom_max=o.zoom_max,
            translate_max_x=o.translate_max,
            translate_max_y=o.translate_max,
            rotate_rad_max=o.rotate_max_degrees,
            turn_probability=o.turn_probability,
        ),
        color_augmentation=config.ColorAugmentation(
            color_shift_stddev=o.color_shift_stddev,
            hue_rotation_max=o.hue_rotation_max,
            saturation_shift_max=o.saturation_shift_max,
            contrast_scale_max=o.contrast_scale_max,
            contrast_center=0.5,
        ),
    )


def _model(o: SpecOptions) -> pb.ModelConfig:
    config = pb.ModelConfig
    return config(
        arch="resnet",
        num_layers=o.layers,
        all_projections=o.all_projections,
        use_batch_norm=True,
        objective_set=config.ObjectiveSet(bbox=config.BboxObjective(scale=35.0, offset=0.5), cov=config.CovObjective()),
        pretrained_model_file=o.pretrained,
        load_graph=o.load_graph,
        freeze_bn=o.freeze_bn,
        freeze_blocks=o.freeze_blocks,
        # 0 stands for TAO's value, so that such a spec has no field that TAO does not know.
        width=0.0 if o.width == 1 else o.width,
        bn_momentum=0.0 if o.bn_momentum == 0.99 else o.bn_momentum,
    )


def _rasterizer(o: SpecOptions) -> pb.BboxRasterizerConfig:
    shape = pb.BboxRasterizerConfig.TargetClassConfig(
        cov_center_x=0.5,
        cov_center_y=0.5,
        cov_radius_x=o.cov_radius,
        cov_radius_y=o.cov_radius,
        bbox_min_radius=o.bbox_min_radius,
    )
    return pb.BboxRasterizerConfig(
        target_class_config=dict.fromkeys(o.classes, shape), deadzone_radius=o.deadzone_radius
    )


def _cost_function(o: SpecOptions) -> pb.CostFunctionConfig:
    target = pb.CostFunctionConfig.TargetClass
    objectives = [
        target.Objective(name="cov", initial_weight=o.cov_weight, weight_target=o.cov_weight),
        target.Objective(name="bbox", initial_weight=o.bbox_weight, weight_target=o.bbox_weight),
    ]
    return pb.CostFunctionConfig(
        target_classes=[
            target(
                name=name,
                class_weight=1.0,
                coverage_foreground_weight=o.foreground_weight,
                objectives=objectives,
            )
            for name in o.classes
        ],
        enable_autoweighting=o.autoweighting,
        max_objective_weight=0.9999,
        min_objective_weight=0.0001,
    )


def _training(o: SpecOptions) -> pb.TrainingConfig:
    kinds = pb.RegularizerConfig
    return pb.TrainingConfig(
        batch_size_per_gpu=o.batch_size,
        num_epochs=o.epochs,
        learning_rate=pb.LearningRateConfig(
            soft_start_annealing_schedule=pb.SoftStartAnnealingScheduleConfig(
                min_learning_rate=o.min_learning_rate,
                max_learning_rate=o.max_learning_rate,
                soft_start=o.soft_start,
                annealing=o.annealing,
            )
        ),
        regularizer=pb.RegularizerConfig(
            type={"none": kinds.NO_REG, "l1": kinds.L1, "l2": kinds.L2}[o.regularizer], weight=o.regularizer_weight
        ),
        optimizer=pb.OptimizerConfig(adam=pb.AdamOptimizerConfig(epsilon=1e-8, beta1=0.9, beta2=0.999)),
        # Off, yet TAO wants its numbers.
        cost_scaling=pb.CostScalingConfig(enabled=False, initial_exponent=20.0, increment=0.005, decrement=1.0),
        checkpoint_interval=o.checkpoint_interval,
        enable_qat=o.enable_qat,
    )


def _postprocessing(o: SpecOptions) -> pb.PostProcessingConfig:
    clustering = pb.ClusteringConfig(
        coverage_threshold=o.coverage_threshold,
        minimum_bounding_box_height=o.minimum_height,
        clustering_algorithm=pb.ClusteringConfig.NMS if o.clustering == "nms" else pb.ClusteringConfig.DBSCAN,
        dbscan_eps=o.dbscan_eps,
        dbscan_min_samples=1,
        neighborhood_size=1,
        nms_iou_threshold=o.nms_iou,
    )
    entry = pb.PostProcessingConfig.TargetClassConfig(clustering_config=clustering)
    return pb.PostProcessingConfig(target_class_config=dict.fromkeys(o.classes, entry))


def _evaluation(o: SpecOptions) -> pb.EvaluationConfig:
    config = pb.EvaluationConfig
    box = config.EvaluationBoxConfig(
        minimum_height=o.minimum_height, maximum_height=9999, minimum_width=1, maximum_width=9999
    )
    return config(
        validation_period_during_training=o.validation_period,
        first_validation_epoch=o.first_validation_epoch,
        minimum_detection_ground_truth_overlap=dict.fromkeys(o.classes, o.minimum_overlap),
        evaluation_box_config=dict.fromkeys(o.classes, box),
        average_precision_mode=config.INTEGRATE if o.ap_mode == "integrate" else config.SAMPLE,
    )
