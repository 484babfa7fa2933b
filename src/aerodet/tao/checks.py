"""What TAO would refuse, or take in another sense than is meant, found before a GPU is asked for.

:mod:`aerodet.detectnet.limits` judges one experiment spec. Here are the limits of the other specs, and what specs that
are meant for each other must agree on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aerodet.detectnet.limits import check_limits
from aerodet.detectnet.spec import DatasetExportConfig, Experiment, Inference
from aerodet.errors import SpecError

__all__ = ["check_convert", "check_flow", "check_inference", "notes"]

_STRIDE, _SCALE, _OFFSET = 16, 35.0, 0.5  # constants of TAO Deploy's decoder, whatever a spec says


def check_flow(specs: Mapping[str, Experiment | DatasetExportConfig | Inference]) -> list[str]:
    """Return what is wrong with the specs of a flow, one sentence each: spec, field, value, what it must be.

    Args:
        specs: by name.
    """
    faults: list[str] = []
    for name, spec in specs.items():
        if isinstance(spec, Experiment):
            found = [*check_limits(spec), *_start(spec), *_own_fields(spec), *_decoder(spec)]
        else:
            found = check_convert(spec) if isinstance(spec, DatasetExportConfig) else check_inference(spec)
        faults += [f"{name}: {fault}" for fault in found]
    faults += _folds(specs)
    return faults


def check_convert(spec: DatasetExportConfig) -> list[str]:
    """Return the limits of ``dataset_convert`` that a spec breaks."""
    kind = spec.WhichOneof("convert_config_type")
    if kind is None:
        return ["neither kitti_config nor coco_config is given; give one"]
    if kind == "coco_config":
        coco = spec.coco_config
        pairs = len(coco.img_dir_names) == len(coco.annotation_files) > 0
        return [] if pairs else ["coco_config.annotation_files must be as many as img_dir_names, at least one"]
    kitti = spec.kitti_config
    given = ("root_directory_path", "image_dir_name", "label_dir_name")
    faults = [f'kitti_config.{field} is ""; it must be given' for field in given if not getattr(kitti, field)]
    if kitti.partition_mode not in ("random", "sequence"):
        faults.append(f'kitti_config.partition_mode is "{kitti.partition_mode}"; it must be "random" or "sequence"')
    if kitti.partition_mode == "random" and kitti.num_partitions != 2:
        faults.append(
            f'kitti_config.num_partitions is {kitti.num_partitions}; it must be 2 with partition_mode "random"'
        )
    if kitti.partition_mode == "sequence" and not kitti.kitti_sequence_to_frames_file:
        faults.append(
            'kitti_config.kitti_sequence_to_frames_file is ""; it must be given with partition_mode "sequence"'
        )
    if not 0 <= kitti.val_split < 100:
        faults.append(f"kitti_config.val_split is {kitti.val_split:.7g}; it must be at least 0 and below 100")
    if kitti.image_extension and not kitti.image_extension.startswith("."):
        faults.append(f'kitti_config.image_extension is "{kitti.image_extension}"; it must start with a dot')
    return faults


def check_inference(spec: Inference) -> list[str]:
    """Return what is wrong with an inference spec."""
    config, handlers = spec.inferencer_config, spec.bbox_handler_config.classwise_bbox_handler_config
    faults = []
    if config.WhichOneof("model_config_type") is None:
        faults.append("inferencer_config has no model; give a tlt_config or a tensorrt_config")
    for field in ("image_height", "image_width"):
        value = getattr(config, field)
        if value <= 0 or value % _STRIDE:
            faults.append(f"inferencer_config.{field} is {value}; it must be a positive multiple of {_STRIDE}")
    if config.batch_size < 1:
        faults.append(f"inferencer_config.batch_size is {config.batch_size}; it must be at least 1")
    if config.stride not in (0, _STRIDE):
        faults.append(f"inferencer_config.stride is {config.stride}; it must be {_STRIDE}, TAO Deploy decodes no other")
    if not config.target_classes:
        faults.append("inferencer_config.target_classes is empty; give at least one")
    for name in config.target_classes:
        if name != name.lower():
            faults.append(
                f'inferencer_config.target_classes has "{name}"; write "{name.lower()}", as labels are converted'
            )
        if name not in handlers:
            faults.append(f'bbox_handler_config.classwise_bbox_handler_config has no entry for "{name}"; add one')
    for name, handler in sorted(handlers.items()):
        path = f'bbox_handler_config.classwise_bbox_handler_config["{name}"].clustering_config'
        for field in ("coverage_threshold", "dbscan_eps", "nms_iou_threshold"):
            value = getattr(handler.clustering_config, field)
            if not 0 <= value <= 1:
                faults.append(f"{path}.{field} is {value:.7g}; it must be from 0 to 1")
    return faults


def notes(spec: Experiment) -> list[str]:
    """Return what TAO reads otherwise than its name says, one sentence each, for a person to know; not faults."""
    spatial = spec.augmentation_config.spatial_augmentation
    clustering = spec.postprocessing_config.target_class_config
    found = []
    if spatial.vflip_probability:
        found.append(
            "augmentation_config.spatial_augmentation.vflip_probability is "
            f"{spatial.vflip_probability:.7g}: TAO reads it and never mirrors an image upside down"
        )
    if 0 < spatial.rotate_rad_max <= 3.2:
        found.append(
            f"augmentation_config.spatial_augmentation.rotate_rad_max is {spatial.rotate_rad_max:.7g}: TAO's default "
            "loader takes it as degrees"
        )
    if any(
        entry.clustering_config.clustering_algorithm == entry.clustering_config.NMS for entry in clustering.values()
    ):
        found.append(
            "clustering_algorithm is NMS: TAO can give a box the confidence of another, which its average precision "
            "suffers from; DBSCAN does not"
        )
    return found


# --------------------------------------------------------------------------------------- what specs must agree on


def _start(spec: Experiment) -> Iterator[str]:
    """Yield a fault where a start from a detector would lose its heads."""
    model = spec.model_config
    if model.pretrained_model_file and not model.load_graph:
        yield (
            f'model_config.load_graph is false with pretrained_model_file "{model.pretrained_model_file}": TAO would '
            "copy the backbone and start the heads anew; set it to true"
        )


def _own_fields(spec: Experiment) -> Iterator[str]:
    from aerodet.detectnet.spec import format_spec

    try:
        format_spec(spec, for_tao=True)
    except SpecError as error:
        yield str(error)


def _decoder(spec: Experiment) -> Iterator[str]:
    bbox = spec.model_config.objective_set.bbox
    for field, wanted in (("scale", _SCALE), ("offset", _OFFSET)):
        if getattr(bbox, field) != wanted:
            yield (
                f"model_config.objective_set.bbox.{field} is {getattr(bbox, field):.7g}; it must be {wanted:g}, "
                "TAO Deploy and DeepStream decode no other"
            )


def _folds(specs: Mapping[str, Experiment | DatasetExportConfig | Inference]) -> Iterator[str]:
    """Yield trainings that would find nothing to train on, because their images were all converted to fold 0."""
    whole = {
        spec.image_directory_path or spec.kitti_config.root_directory_path: name
        for name, spec in specs.items()
        if isinstance(spec, DatasetExportConfig) and spec.HasField("kitti_config") and not spec.kitti_config.val_split
    }
    for name, spec in specs.items():
        if (
            not isinstance(spec, Experiment)
            or spec.dataset_config.WhichOneof("dataset_split_type") != "validation_fold"
        ):
            continue
        sources = [source.image_directory_path for source in spec.dataset_config.data_sources]
        if spec.dataset_config.validation_fold == 0 and set(sources) <= set(whole):
            yield (
                f"{name}: dataset_config.validation_fold is 0, but {whole[sources[0]]} has val_split 0, which makes "
                "all images fold 0: nothing is left to train on; raise val_split, or give a validation_data_source"
            )
