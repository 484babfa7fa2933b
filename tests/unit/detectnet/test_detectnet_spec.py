from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from aerodet.detectnet import _experiment_pb2 as pb
from aerodet.detectnet.limits import check_limits
from aerodet.detectnet.spec import DatasetExportConfig, Inference, format_spec, parse_message, parse_spec, read_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import SpecError

# A two-class spec as people write it for TAO: comments, single quotes, mixed order.
TAO_SPEC = """
random_seed: 7
dataset_config {
  data_sources { tfrecords_path: "/data/tfrecords/*" image_directory_path: '/data/training' source_weight: 1.5 }
  image_extension: "png"
  target_class_mapping { key: "truck" value: "car" }
  target_class_mapping { key: "car" value: "car" }
  target_class_mapping { key: "person" value: "pedestrian" }
  validation_fold: 0
}
model_config {
  arch: "resnet"  # the stock backbone
  num_layers: 34
  use_batch_norm: true
  all_projections: true
  freeze_blocks: 0
  freeze_blocks: 1
  training_precision { backend_floatx: FLOAT32 }
  objective_set { bbox { scale: 35.0 offset: 0.5 } cov { } }
}
augmentation_config {
  preprocessing { output_image_width: 1248 output_image_height: 384 output_image_channel: 3 }
  spatial_augmentation { hflip_probability: 0.5 zoom_min: 1.0 zoom_max: 1.0 translate_max_x: 8.0 translate_max_y: 8.0 }
  color_augmentation { hue_rotation_max: 25.0 saturation_shift_max: 0.2 contrast_scale_max: 0.1 contrast_center: 0.5 }
}
bbox_rasterizer_config {
  target_class_config {
    key: "car"
    value { cov_center_x: 0.5 cov_center_y: 0.5 cov_radius_x: 0.4 cov_radius_y: 0.4 bbox_min_radius: 1.0 }
  }
  target_class_config {
    key: "pedestrian"
    value { cov_center_x: 0.5 cov_center_y: 0.5 cov_radius_x: 1.0 cov_radius_y: 1.0 bbox_min_radius: 1.0 }
  }
  deadzone_radius: 0.67
}
postprocessing_config {
  target_class_config {
    key: "car"
    value {
      clustering_config {
        coverage_threshold: 0.005 dbscan_eps: 0.13 dbscan_min_samples: 1 minimum_bounding_box_height: 20
      }
    }
  }
  target_class_config {
    key: "pedestrian"
    value { clustering_config { clustering_algorithm: NMS nms_iou_threshold: 0.3 nms_confidence_threshold: 0.1 } }
  }
}
cost_function_config {
  target_classes {
    name: "pedestrian" class_weight: 4.0 coverage_foreground_weight: 0.05
    objectives { name: "bbox" initial_weight: 10.0 weight_target: 5.0 }
    objectives { name: "cov" initial_weight: 1.0 weight_target: 1.0 }
  }
  target_classes {
    name: "car" class_weight: 1.0 coverage_foreground_weight: 0.05
    objectives { name: "cov" initial_weight: 1.0 weight_target: 1.0 }
    objectives { name: "bbox" initial_weight: 10.0 weight_target: 10.0 }
  }
  enable_autoweighting: true
  max_objective_weight: 0.9999
  min_objective_weight: 0.0001
}
training_config {
  batch_size_per_gpu: 4
  num_epochs: 120
  learning_rate {
    soft_start_annealing_schedule {
      min_learning_rate: 5e-06 max_learning_rate: 5e-04 soft_start: 0.1 annealing: 0.7
    }
  }
  regularizer { type: L1 weight: 3e-09 }
  optimizer { adam { epsilon: 1e-08 beta1: 0.9 beta2: 0.999 } }
  cost_scaling { initial_exponent: 20.0 increment: 0.005 decrement: 1.0 }
}
evaluation_config {
  validation_period_during_training: 10
  first_validation_epoch: 30
  average_precision_mode: INTEGRATE
  minimum_detection_ground_truth_overlap { key: "car" value: 0.7 }
  minimum_detection_ground_truth_overlap { key: "pedestrian" value: 0.5 }
  evaluation_box_config {
    key: "car" value { minimum_height: 20 maximum_height: 9999 minimum_width: 10 maximum_width: 9999 }
  }
  evaluation_box_config {
    key: "pedestrian" value { minimum_height: 20 maximum_height: 9999 minimum_width: 10 maximum_width: 9999 }
  }
}
"""


def test_a_spec_written_for_tao_parses_to_its_values_and_keeps_within_the_limits():
    spec = parse_spec(TAO_SPEC)

    assert check_limits(spec) == []
    assert spec.model_config.num_layers == 34
    assert list(spec.model_config.freeze_blocks) == [0, 1]
    assert spec.dataset_config.WhichOneof("dataset_split_type") == "validation_fold"
    assert dict(spec.dataset_config.target_class_mapping) == {"truck": "car", "car": "car", "person": "pedestrian"}
    assert spec.training_config.regularizer.type == pb.RegularizerConfig.L1
    assert spec.evaluation_config.minimum_detection_ground_truth_overlap["car"] == pytest.approx(0.7)
    assert [c.name for c in spec.cost_function_config.target_classes] == ["pedestrian", "car"]


def test_a_formatted_spec_parses_to_the_same_spec_and_formats_to_the_same_text():
    spec = parse_spec(TAO_SPEC)

    text = format_spec(spec)

    assert parse_spec(text) == spec
    assert format_spec(parse_spec(text)) == text
    assert "max_learning_rate: 0.0005\n" in text


def test_the_schema_has_all_of_taos_fields_and_three_of_our_own():
    fields = {}
    waiting = [pb.Experiment.DESCRIPTOR, pb.DatasetExportConfig.DESCRIPTOR, pb.Inference.DESCRIPTOR]
    seen = {m.full_name for m in waiting}
    for message in waiting:
        for field in message.fields:
            fields[f"{message.name}.{field.name}"] = field.number
            kind = field.message_type
            if kind is not None and kind.full_name not in seen:
                seen.add(kind.full_name)
                waiting.append(kind)

    own = [name for name, number in fields.items() if number >= 1000]
    assert own == ["ModelConfig.width", "ModelConfig.bn_momentum", "SpatialAugmentation.turn_probability"]
    numbered = sum(len(m.fields) for m in waiting)
    assert numbered - len(own) == 278


def test_the_generated_module_is_that_of_the_schema(tmp_path: Path):
    pytest.importorskip("grpc_tools")
    committed = Path(pb.__file__)
    virtual = "aerodet/detectnet/_experiment.proto"
    command = [f"-I{virtual}={committed.with_name('experiment.proto')}", f"--python_out={tmp_path}", virtual]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *command], check=True)
    generated = tmp_path / "aerodet/detectnet/_experiment_pb2.py"

    def descriptor(module: Path) -> list[str]:
        return [line for line in module.read_text().splitlines() if "AddSerializedFile" in line]

    assert descriptor(generated) == descriptor(committed)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "training_config {\n  num_epoch: 3\n}",
            "spec.txt:2: no field 'num_epoch' in TrainingConfig; did you mean 'num_epochs'?",
        ),
        (
            "model_config {\n\n  scale: 35 }",
            "spec.txt:3: no field 'scale' in ModelConfig; it belongs to ModelConfig.BboxObjective",
        ),
        ("\nlearning: 1", "spec.txt:2: no field 'learning' in Experiment; it has random_seed, dataset_config"),
        (
            "dataset_config { dataloader_mode: TFDS }",
            "spec.txt:1: no value 'TFDS' in DatasetConfig.DATALOADER_MODE; it is one of MULTISOURCE, LEGACY, DEFAULT",
        ),
        ("training_config { num_epochs: 1.5 }", "spec.txt:1: num_epochs must be a whole number, not 1.5"),
        (
            "training_config { num_epochs: -1 }",
            "spec.txt:1: num_epochs must be a whole number in the field's range, not -1",
        ),
        (
            "model_config { use_batch_norm: yes }",
            "spec.txt:1: use_batch_norm must be true or false, not yes",
        ),
        ("model_config { arch: resnet }", 'spec.txt:1: arch must be a string in quotes (""), not resnet'),
        ("training_config { optimizer { adam { beta1: x } } }", "spec.txt:1: beta1 must be a number, not x"),
        ("random_seed: 1\nrandom_seed: 2", 'spec.txt:2: Message type "Experiment" should not have multiple'),
        ("model_config {\n  num_layers: 18\n", 'spec.txt:2: Expected "}"'),
        ("dataset_config { validation_fold: 0 validation_data_source { } }", "spec.txt:1: Field "),
        ("\x00", "spec.txt:1: Expected identifier"),
        ('model_config { arch: "\\377" }', "spec.txt:1: Couldn't parse string"),
    ],
)
def test_text_that_is_not_a_spec_is_refused_with_its_line_and_the_way_out(text: str, sentence: str):
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "spec.txt")

    assert str(caught.value).startswith(sentence)


def test_a_fractional_dbscan_min_samples_of_an_old_spec_is_refused_with_the_reason():
    text = 'postprocessing_config { target_class_config { key: "a" value { clustering_config {\ndbscan_min_samples: 1.0'

    with pytest.raises(
        SpecError, match=r"^old:2: dbscan_min_samples must be a whole number, not 1\.0; .* since TAO 5$"
    ):
        parse_spec(text, "old")


def test_errors_in_a_file_start_with_the_file_name(tmp_path: Path):
    (tmp_path / "my_spec.txt").write_text("random_seed: 3\nfoo: 1\n")

    with pytest.raises(SpecError, match=r"^my_spec\.txt:2: no field 'foo' in Experiment"):
        read_spec(tmp_path / "my_spec.txt")
    with pytest.raises(SpecError, match=r"nowhere\.txt: no such file"):
        read_spec(tmp_path / "nowhere.txt")
    with pytest.raises(SpecError, match="not a readable text file"):
        read_spec(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(SpecError, match="not a readable text file"):
        read_spec(tmp_path / "picture.png")


def test_specs_of_dataset_convert_and_inference_parse_too():
    convert = parse_message(
        'kitti_config { partition_mode: "random" num_partitions: 2 val_split: 20 }', DatasetExportConfig
    )
    inference = parse_message('inferencer_config { target_classes: "car" tlt_config { model: "m.hdf5" } }', Inference)

    assert convert.kitti_config.val_split == 20
    assert inference.inferencer_config.WhichOneof("model_config_type") == "tlt_config"
    assert parse_message(format_spec(convert), DatasetExportConfig) == convert


def test_the_default_spec_is_valid_and_has_no_field_unknown_to_tao():
    spec = build_spec()

    assert check_limits(spec) == []
    assert format_spec(spec, for_tao=True) == format_spec(spec)
    assert parse_spec(format_spec(spec)) == spec


def test_quarter_turns_are_refused_for_tao_and_for_frames_that_are_not_square():
    turned = build_spec(SpecOptions(turn_probability=0.5, image_width=512, image_height=512))
    assert check_limits(turned) == []
    with pytest.raises(SpecError, match=r"turn_probability is 0.5, which TAO does not have"):
        format_spec(turned, for_tao=True)
    with pytest.raises(SpecError, match=r"turn_probability is 0.5; it must be 0 where images are not as wide as high"):
        build_spec(SpecOptions(turn_probability=0.5, image_width=960, image_height=544))


def test_our_own_fields_are_written_but_never_for_tao():
    narrow = build_spec(SpecOptions(width=0.25, bn_momentum=0.9))

    assert "width: 0.25" in format_spec(narrow)
    with pytest.raises(SpecError, match=r"model_config\.width is 0\.25, which TAO does not have"):
        format_spec(narrow, for_tao=True)
    narrow.model_config.width, narrow.model_config.bn_momentum = 1.0, 0.99
    assert "width: 1.0" in format_spec(narrow)
    assert "bn_momentum" not in format_spec(narrow, for_tao=True)
    assert narrow.model_config.width == 1.0, "the given spec is left alone"


def test_options_reach_the_spec():
    options = SpecOptions(
        classes=("plane", "helicopter"),
        class_mapping={"jet": "plane", "heli": "helicopter"},
        validation_source=("val/*", "val_images"),
        layers=34,
        clustering="nms",
        regularizer="l2",
        ap_mode="sample",
        enable_qat=True,
        freeze_blocks=(0, 1),
    )

    spec = build_spec(options)

    assert spec.dataset_config.validation_data_source.tfrecords_path == "val/*"
    assert spec.dataset_config.target_class_mapping["jet"] == "plane"
    assert set(spec.postprocessing_config.target_class_config) == {"plane", "helicopter"}
    clustering = spec.postprocessing_config.target_class_config["plane"].clustering_config
    assert clustering.clustering_algorithm == clustering.NMS
    assert spec.training_config.enable_qat
    assert spec.training_config.regularizer.type == pb.RegularizerConfig.L2
    assert spec.evaluation_config.average_precision_mode == pb.EvaluationConfig.SAMPLE


def test_options_out_of_the_limits_are_refused():
    with pytest.raises(SpecError, match=r"output_image_width is 500; it must be a positive multiple of 16"):
        build_spec(SpecOptions(image_width=500))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('kitti_config { root_directory_path: "/d" }', "DatasetExportConfig, the spec of a conversion to TFRecords"),
        ("inferencer_config { }", "Inference, the spec of an inference"),
        ("datset_config { }", "did you mean 'dataset_config'?"),
    ],
)
def test_a_spec_of_another_task_is_called_by_its_name(text: str, sentence: str):
    with pytest.raises(SpecError, match=re.escape(sentence)):
        parse_spec(text)
