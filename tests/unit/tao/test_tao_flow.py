"""The files in ``golden/`` are what the flow of the defaults gives; ``python test_tao_flow.py`` writes them anew."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerodet.detectnet.limits import check_limits
from aerodet.detectnet.prune import PruneOptions
from aerodet.detectnet.spec import DatasetExportConfig, Experiment, Inference, format_spec, parse_message
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import SpecError
from aerodet.tao import SETS, TRAININGS, TaoArm, TaoFlow, check_flow, notes

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def flow() -> TaoFlow:
    return TaoFlow()


def test_specs_are_the_golden_ones(flow: TaoFlow) -> None:
    specs = {name: format_spec(spec, for_tao=True) for name, spec in flow.specs().items()}
    assert specs == {path.stem: path.read_text() for path in GOLDEN.glob("*.txt") if path.stem != "commands"}
    assert len(specs) == 13


def test_commands_are_the_golden_ones(flow: TaoFlow) -> None:
    lines = [command.launcher() for command in flow.commands()]
    assert lines == (GOLDEN / "commands.txt").read_text().splitlines()


def test_specs_say_what_the_flow_means(flow: TaoFlow) -> None:
    specs = flow.specs()
    assert [name for name in TRAININGS if specs[name].training_config.enable_qat] == ["qat"]
    started = {name: specs[name].model_config.pretrained_model_file for name in TRAININGS}
    assert not started["train_real"]
    assert not started["train_synthetic"]
    assert started["finetune"] == "/workspace/results/train_synthetic/weights/train_synthetic.hdf5"
    assert started["retrain"] == "/workspace/results/prune/pruned.hdf5"
    assert all(specs[name].model_config.load_graph == bool(path) for name, path in started.items())
    splits = {name: specs[f"convert_{name}"].kitti_config.val_split for name in SETS}
    assert {name for name, split in splits.items() if split == 0} == {"real_test", "synthetic_test"}
    tested = specs["evaluate"].dataset_config.validation_data_source
    assert tested.tfrecords_path == "/workspace/data/tfrecords/real_test/*"
    assert isinstance(specs["gen_trt_engine"], Experiment)
    assert specs["gen_trt_engine"].training_config.enable_qat


def test_every_task_writes_to_a_folder_of_its_own_and_reads_what_was_made_before(flow: TaoFlow) -> None:
    folders, made = [], set()
    for command in flow.commands():
        options = command.options
        folder = options.get("-r") or options.get("--results_dir")
        if folder is not None:
            folders.append(folder)
        model = options.get("-m")
        assert model is None or model in made
        made |= {flow.model(options["-n"])} if command.subtask == "train" else set()
        made |= {options.get("-o"), options.get("--engine_file")}
    assert len(folders) == len(set(folders))


def test_arms_have_their_own_length_rate_and_images() -> None:
    specs = TaoFlow(arms={"finetune": TaoArm(epochs=7, max_learning_rate=2e-6, mix=True)}).specs()
    finetune = specs["finetune"]
    assert finetune.training_config.num_epochs == 7
    assert [s.image_directory_path for s in finetune.dataset_config.data_sources] == [
        "/workspace/data/real_subset",
        "/workspace/data/synthetic_train",
    ]
    assert not check_limits(finetune)
    assert specs["retrain"].training_config.num_epochs == 120


options = st.builds(
    SpecOptions,
    classes=st.sampled_from([("aircraft",), ("jet", "propeller")]),
    image_width=st.integers(4, 80).map(lambda n: 16 * n),
    image_height=st.integers(4, 80).map(lambda n: 16 * n),
    layers=st.sampled_from([10, 18, 34]),
    batch_size=st.integers(1, 64),
    hflip_probability=st.floats(0, 1, width=32),
    regularizer=st.sampled_from(["none", "l1", "l2"]),
    clustering=st.sampled_from(["dbscan", "nms"]),
    dbscan_eps=st.floats(0, 1, width=32),
    seed=st.integers(0, 2**32 - 1),
    image_extension=st.sampled_from(["png", "jpg"]),
)


@settings(max_examples=40, deadline=None)
@given(options, st.integers(1, 500), st.integers(1, 99), st.integers(1, 8))
def test_a_rendered_spec_parses_to_an_equal_one(options: SpecOptions, epochs: int, val_split: int, gpus: int) -> None:
    arms = {name: TaoArm(epochs=epochs) for name in TRAININGS}
    flow = TaoFlow(options=options, arms=arms, val_split=val_split, gpus=gpus)
    for name, spec in flow.specs().items():
        assert parse_message(format_spec(spec, for_tao=True), type(spec), name) == spec


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            {"options": SpecOptions(width=0.5)},
            ["train_real: model_config.width is 0.5, which TAO does not have"],
        ),
        ({"options": SpecOptions(bn_momentum=0.9)}, ["model_config.bn_momentum is 0.9"]),
        (
            {"val_split": 0.0},
            ["train_real: dataset_config.validation_fold is 0, but convert_real_train has val_split 0"],
        ),
        (
            {"val_split": 100.0},
            ["convert_real_train: kitti_config.val_split is 100; it must be at least 0 and below 100"],
        ),
        ({"arms": {"finetuned": TaoArm()}}, ["no training finetuned; it has train_real"]),
        ({"gpus": 0}, ["gpus must be at least 1, not 0"]),
    ],
)
def test_what_tao_would_refuse_or_misread_is_named(change: dict, sentences: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        TaoFlow(**change)
    for sentence in sentences:
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_width": 500}, "output_image_width is 500; it must be a positive multiple of 16"),
        ({"classes": ("Aircraft",)}, 'write "aircraft"'),
    ],
)
def test_limits_of_one_spec_are_those_of_the_schema(change: dict, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        TaoFlow(options=SpecOptions(**change))


def test_a_start_without_the_graph_would_lose_the_heads() -> None:
    spec = build_spec(SpecOptions(pretrained="model.hdf5", load_graph=False))
    (fault,) = check_flow({"finetune": spec})
    assert "finetune: model_config.load_graph is false" in fault
    assert "start the heads anew" in fault


def test_a_box_scale_that_deploy_ignores_is_refused() -> None:
    spec = build_spec()
    spec.model_config.objective_set.bbox.scale = 30
    (fault,) = check_flow({"qat": spec})
    assert "bbox.scale is 30; it must be 35" in fault


def test_limits_of_the_other_specs() -> None:
    convert, inference = DatasetExportConfig(), Inference()
    assert check_flow({"a": convert}) == ["a: neither kitti_config nor coco_config is given; give one"]
    convert.coco_config.img_dir_names.append("images")
    assert "as many as img_dir_names" in check_flow({"a": convert})[0]
    convert.kitti_config.partition_mode, convert.kitti_config.image_extension = "random", "png"
    found = " ".join(check_flow({"a": convert}))
    for part in ("root_directory_path", "num_partitions is 0; it must be 2", 'image_extension is "png"'):
        assert part in found
    convert.kitti_config.partition_mode = "sequence"
    assert "kitti_sequence_to_frames_file" in " ".join(check_flow({"a": convert}))
    convert.kitti_config.partition_mode = "both"
    assert 'partition_mode is "both"' in " ".join(check_flow({"a": convert}))
    config = inference.inferencer_config
    config.image_height, config.stride = 100, 8
    config.target_classes.append("Jet")
    inference.bbox_handler_config.classwise_bbox_handler_config["jet"].clustering_config.dbscan_eps = 2
    found = " ".join(check_flow({"b": inference}))
    for part in (
        "has no model",
        "image_height is 100",
        "image_width is 0",
        "batch_size is 0",
        "stride is 8; it must be 16",
        'write "jet"',
        'no entry for "Jet"',
        "dbscan_eps is 2; it must be from 0 to 1",
    ):
        assert part in found
    assert "target_classes is empty" in " ".join(check_flow({"b": Inference()}))


def test_a_person_is_told_what_tao_reads_otherwise() -> None:
    assert notes(build_spec()) == []
    told = notes(build_spec(SpecOptions(vflip_probability=0.5, rotate_max_degrees=1.5, clustering="nms")))
    assert len(told) == 3
    assert "never mirrors" in told[0]
    assert "as degrees" in told[1]
    assert "confidence of another" in told[2]


def test_pruning_options_reach_the_command() -> None:
    prune = PruneOptions(threshold=0.25, normalizer="L2", criterion="intersection", granularity=4, min_filters=32)
    (command,) = [c for c in TaoFlow(prune=prune).commands() if c.subtask == "prune"]
    assert command.launcher().endswith("-eq intersection -n L2 -pg 4 -nf 32 -pth 0.25")


def _write_golden() -> None:
    GOLDEN.mkdir(exist_ok=True)
    flow = TaoFlow()
    for name, spec in flow.specs().items():
        (GOLDEN / f"{name}.txt").write_text(format_spec(spec, for_tao=True))
    (GOLDEN / "commands.txt").write_text("".join(f"{command.launcher()}\n" for command in flow.commands()))


if __name__ == "__main__":
    _write_golden()
