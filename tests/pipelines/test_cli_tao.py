import json
from pathlib import Path

import numpy as np
import pytest
import torch

from aerodet.data import ImageRecord, encode_image, kitti_label, read_tfrecords
from aerodet.detectnet.checkpoint import load_model, save_checkpoint
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.spec import format_spec, read_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec

GOLDEN = Path(__file__).parents[1] / "unit" / "tao" / "golden"


def test_specs_are_written_to_a_new_folder(aerodet):
    assert aerodet("tao", "export-specs", "--out", "specs") == (0, "specs: 13 specs\n", "")
    written = {path.name: path.read_text() for path in Path("specs").iterdir()}
    assert written == {path.name: path.read_text() for path in GOLDEN.iterdir() if path.name != "commands.txt"}
    status, _, error = aerodet("tao", "export-specs", "--out", "specs")
    assert (status, "specs exists already" in error) == (2, True)


def test_specs_of_a_profile_have_its_numbers_and_notes(aerodet):
    own = ("--set", "model.bn_momentum=0.99", "--set", "training.augmentation.turn_probability=0")
    settings = (*own, "--epochs", "33", "--root", "/w/")
    status, output, _ = aerodet("tao", "export-specs", "--out", "s", "--profile", "gpu", *settings)
    assert status == 0
    assert "never mirrors an image upside down" in output
    qat = read_spec("s/qat.txt")
    assert (qat.training_config.num_epochs, qat.training_config.batch_size_per_gpu) == (33, 32)
    assert qat.dataset_config.image_extension == "jpg"
    assert [s.image_directory_path for s in qat.dataset_config.data_sources] == [
        "/w/data/real_subset",
        "/w/data/synthetic_train",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--profile", "gpu"), "qat: model_config.bn_momentum is 0.95, which TAO does not have"),
        (("--set", "size=64"), "name one with --profile"),
        (("--root", "w"), "--root w is no absolute path"),
    ],
)
def test_what_tao_does_not_have_is_refused_and_nothing_written(aerodet, arguments, sentence):
    status, _, error = aerodet("tao", "export-specs", "--out", "s", *arguments)
    assert status == 2
    assert sentence in error
    assert not Path("s").exists()


def test_commands_are_printed_for_the_launcher_or_the_containers(aerodet):
    assert aerodet("tao", "commands") == (0, (GOLDEN / "commands.txt").read_text(), "")
    _, output, _ = aerodet("tao", "commands", "--inside", "--gpus", "4")
    lines = output.splitlines()
    assert len(lines) == 20
    assert "nvcr.io/nvidia/tao/tao-toolkit:5.0.0-tf1.15.5  detectnet_v2 train -e /workspace/specs/qat.txt" in output
    assert sum("--gpus 4" in line for line in lines) == 5


def test_mounts_are_written(aerodet, tmp_path):
    Path("data").mkdir()
    assert aerodet("tao", "mounts", "data:/workspace/data", "--file", "m.json")[0] == 0
    assert json.loads(Path("m.json").read_text())["Mounts"] == [
        {"source": str(tmp_path / "data"), "destination": "/workspace/data"}
    ]
    status, _, error = aerodet("tao", "mounts", "data", "--file", "m.json")
    assert (status, "'data' is no mount" in error) == (2, True)


def test_the_figures_of_a_task_are_printed(aerodet):
    Path("results").mkdir()
    status, _, error = aerodet("tao", "status", "results")
    assert (status, "results has no status.json" in error) == (2, True)
    done = {"status": "SUCCESS", "kpi": {"mean average precision": 71.25}}
    Path("results/status.json").write_text(json.dumps(done))
    assert aerodet("tao", "status", "results", "--json") == (0, '{"mean_average_precision": 71.25}\n', "")
    assert aerodet("tao", "status", "results")[1].split() == ["mean_average_precision", "71.25"]
    Path("results/results.json").write_text('{"AP_aircraft": 0.5}')
    assert aerodet("tao", "status", "results", "--json")[1] == '{"AP_aircraft": 0.5}\n'


def test_tfrecords_of_a_kitti_folder(aerodet):
    for number in range(4):
        record = ImageRecord(number, f"{number}.png", 32, 24, "g", np.array([[2, 2, 20, 20]]), np.zeros(1, np.int64))
        for name in ("images", "labels"):
            Path("kitti", name).mkdir(parents=True, exist_ok=True)
        Path(f"kitti/images/{number}.png").write_bytes(encode_image(np.zeros((24, 32, 3), np.uint8)))
        Path(f"kitti/labels/{number}.txt").write_text("\n".join(kitti_label(record, ["Aircraft"])[0]))
    status, output, _ = aerodet("tao", "tfrecords", "kitti", "out/real", "--val-split", "25", "--shards", "1")
    assert status == 0
    assert "4 images (fold 0: 1, fold 1: 3)" in output
    assert "note:" not in output
    (frame,) = read_tfrecords(Path("out").glob("real-fold-000-*"))
    assert (frame.id, frame.classes, frame.boxes.tolist()) == ("images/0", ("aircraft",), [[2, 2, 20, 20]])
    assert "must not have validation_fold: 0" in aerodet("tao", "tfrecords", "kitti", "out/test")[1]
    status, _, error = aerodet("tao", "tfrecords", "kitti", "out/real")
    assert (status, "exists, and a pattern" in error) == (2, True)


def test_weights_go_to_tao_and_back(aerodet):
    spec = format_spec(build_spec(SpecOptions(layers=10, image_width=64, image_height=64, pretrained="x.hdf5")))
    model = DetectNet(layers=10, num_classes=1)
    save_checkpoint(Path("torch/model.pt"), model, spec=spec, classes=("aircraft",))
    status, output, _ = aerodet("tao", "export-weights", "torch", "model.hdf5")
    assert (status, "load_graph: true" in output) == (0, True)
    Path("spec.txt").write_text(spec)
    status, output, _ = aerodet("tao", "import-weights", "model.hdf5", "--spec", "spec.txt", "--out", "back")
    assert (status, output) == (0, "back: 4,921,413 parameters\n")
    again, content = load_model(Path("back"))
    assert content["classes"] == ("aircraft",)
    assert not read_spec("back/spec.txt").model_config.pretrained_model_file
    states = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


def test_weights_that_cannot_change_sides_are_refused(aerodet):
    assert aerodet("tao", "export-weights", "torch", "model.h5")[0] == 2
    status, _, error = aerodet("tao", "export-weights", "torch", "model.hdf5")
    assert (status, "there is no checkpoint" in error) == (2, True)
    spec = format_spec(build_spec(SpecOptions(layers=10, classes=("a", "b"))))
    save_checkpoint(Path("torch/model.pt"), DetectNet(layers=10), spec=spec, classes=("a",))
    aerodet("tao", "export-weights", "torch", "model.hdf5")
    Path("spec.txt").write_text(spec)
    status, _, error = aerodet("tao", "import-weights", "model.hdf5", "--spec", "spec.txt", "--out", "back")
    assert (status, "detects 1 classes and spec.txt names 2 (a, b)" in error) == (2, True)
    Path("model.hdf5").write_bytes(Path("model.hdf5").read_bytes()[:5000])
    status, _, error = aerodet("tao", "import-weights", "model.hdf5", "--spec", "spec.txt", "--out", "back")
    assert (status, "model.hdf5 is truncated" in error) == (2, True)
    assert not Path("back").exists()


def test_an_engine_is_shown_and_its_bundle_checked(aerodet):
    Path("a.engine").write_bytes(b"ftrt" + bytes(20) + bytes([10, 8, 0, 43]) + bytes(20))
    status, output, _ = aerodet("engine", "show", "a.engine")
    assert (status, json.loads(output)["version"]) == (0, "10.8.0.43")
    status, _, error = aerodet("engine", "rebuild", ".", "--out", "b.engine")
    assert (status, "is not an export" in error) == (2, True)
    status, _, error = aerodet("engine", "rebuild", ".", "--out", "a.engine")
    assert (status, "exists already" in error) == (2, True)
