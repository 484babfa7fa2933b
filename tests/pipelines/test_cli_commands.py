import json
import sys

import cv2
import numpy as np
import pytest

import aerodet as package
from aerodet.data import ImageSet
from aerodet.errors import MachineError
from aerodet.pipelines import StoppedError, cli

SPEC = """
random_seed: 42
model_config {
  num_layers: 18
  arch: "resnet"
}
"""


def write_coco(folder, boxes, size=64):
    folder.mkdir()
    images, annotations = [], []
    for number, box in enumerate(boxes, start=1):
        pixels = np.random.default_rng(number + 10 * len(folder.name)).integers(0, 255, (size, size, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
        images.append(
            {"id": number, "file_name": f"{number}.png", "width": size, "height": size, "group": f"g{number}"}
        )
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": box})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "aircraft"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def test_version(aerodet):
    assert aerodet("--version") == (0, f"{package.__version__}\n", "")


def test_no_command_shows_the_help(aerodet):
    _, output, shown = aerodet()
    assert "Usage: " in output + shown
    assert "Count the parameters" in output + shown


def test_an_unknown_option_is_a_usage_error(aerodet):
    status, _, shown = aerodet("model", "--depth", "3")
    assert status == 2
    assert "No such option" in shown


@pytest.mark.parametrize(
    ("arguments", "total", "trainable"),
    [
        ([], 11_197_893, 11_188_165),
        (["--all-projections"], 11_550_853, None),
        (["--classes", "3"], 11_203_023, None),
        (["--arch", "resnet18", "--width", "0.5"], None, None),
    ],
)
def test_model_counts_parameters(aerodet, arguments, total, trainable):
    status, output, _ = aerodet("model", *arguments, "--json")
    counts = json.loads(output)
    assert status == 0
    assert counts["total"] == counts["trainable"] + counts["non_trainable"]
    assert total is None or counts["total"] == total
    assert trainable is None or counts["trainable"] == trainable


def test_model_prints_for_people(aerodet):
    assert "total            11,197,893" in aerodet("model")[1]


def test_spec_check_names_what_is_wrong(aerodet, tmp_path):
    (tmp_path / "wrong.txt").write_text(SPEC)
    status, output, shown = aerodet("spec", "check", "wrong.txt")
    assert (status, output) == (2, "")
    assert all(line.startswith("wrong.txt: ") for line in shown.splitlines())

    (tmp_path / "unknown.txt").write_text(SPEC + "colour: 3\n")
    status, _, shown = aerodet("spec", "check", "unknown.txt")
    assert status == 2
    assert shown.startswith("error: unknown.txt:7: no field 'colour'")


def test_synth_writes_an_image_set_and_replaces_nothing(aerodet, tmp_path):
    arguments = ("synth", "--out", "scenes", "--count", 2, "--size", 128, "--gsd", 1.0, "--seed", 3)
    status, output, _ = aerodet(*arguments)
    assert status == 0
    assert output.startswith("scenes: 2 scenes with")
    assert len(ImageSet(tmp_path / "scenes")) == 2
    status, _, shown = aerodet(*arguments)
    assert status == 2
    assert "scenes exists already" in shown


def test_audit_of_sound_data_finds_nothing(aerodet, tmp_path):
    write_coco(tmp_path / "train", [[5, 5, 20, 20], [10, 10, 30, 8]])
    status, output, _ = aerodet("data", "audit", "train")
    assert status == 0
    assert "nothing found" in output
    assert output.splitlines()[1].split() == ["train", "2", "0", "2", "2", "0", "2", "0", "0"]


def test_audit_tells_of_broken_boxes_and_leaks(aerodet, tmp_path):
    write_coco(tmp_path / "a", [[5, 5, 200, 20], [10, 10, 30, 8]])
    write_coco(tmp_path / "b", [[5, 5, 20, 20]])
    status, output, _ = aerodet("data", "audit", "a", "--test", "b")
    assert status == 2
    assert "note: a: 1 boxes past their frame were clipped to it" in output
    assert "error: a: a run refuses its broken boxes" in output
    assert "error: b: group g1 is in b" in output

    status, output, _ = aerodet("data", "audit", "a", "--test", "b", "--json")
    assert status == 2
    content = json.loads(output)
    assert content["read"]["a"]["clipped"] == 1
    assert content["sets"]["b"]["images"] == 1


def test_audit_refuses_a_set_named_twice_and_doubts_without_a_page(aerodet, tmp_path):
    write_coco(tmp_path / "a", [[5, 5, 20, 20]])
    for arguments in (("a", "--test", "./a"), ("a", "a")):
        status, _, shown = aerodet("data", "audit", *arguments)
        assert status == 2
        assert "is named twice" in shown
    status, _, shown = aerodet("data", "audit", "a", "--model", "any")
    assert (status, "with --html too" in shown) == (2, True)
    assert aerodet("data", "audit", "a", "--html", ".")[0] == 2


def test_audit_takes_one_of_several_coco_files(aerodet, tmp_path):
    folder = write_coco(tmp_path / "a", [[5, 5, 20, 20]])
    (folder / "annotations.json").rename(folder / "instances_train_aircraft.json")
    (folder / "instances_test_aircraft.json").write_text("{}")
    assert "give the file to use, or its split" in aerodet("data", "audit", "a")[2]
    assert aerodet("data", "audit", "a/instances_train_aircraft.json")[0] == 0


def test_synth_refuses_another_kind_of_sheet_before_it_renders(aerodet, tmp_path):
    status, _, shown = aerodet("synth", "--out", "few", "--count", 1, "--sheet", "few.gif")
    assert (status, "written as .png or .jpg" in shown) == (2, True)
    assert not (tmp_path / "few").exists()


def test_gap_compares_two_folders_of_any_form(aerodet, tmp_path):
    write_coco(tmp_path / "real", [[5, 5, 20, 20], [10, 10, 30, 8]])
    assert aerodet("synth", "--out", "scenes", "--count", 3, "--size", 128, "--gsd", 1.0)[0] == 0
    status, output, _ = aerodet("data", "gap", "real", "scenes", "--out", "gap.html", "--real-gsd", 0.5)
    assert status == 0
    pixels, metres = (line.split() for line in output.splitlines() if "Box size" in line)
    assert pixels[2] == "17.75"  # the mean of √400 and √240
    assert metres[5] == "8.87"
    assert "The synthetic images are furthest from the real ones in " in output
    assert (tmp_path / "gap.html").read_text().startswith("<!doctype html>")
    status, output, _ = aerodet("data", "gap", "real", "scenes", "--json", "--images", 2)
    assert status == 0
    assert json.loads(output)["sets"]["synthetic"]["measured"] == 2


def test_gap_refuses_what_is_not_there(aerodet, tmp_path):
    write_coco(tmp_path / "real", [[5, 5, 20, 20]])
    status, output, shown = aerodet("data", "gap", "real", "nowhere", "--out", "gap.html")
    assert (status, output) == (2, "")
    assert shown == "error: nowhere does not exist; give a folder of labelled images\n"
    assert not (tmp_path / "gap.html").exists()


def test_convert_writes_kitti_and_tiles(aerodet, tmp_path):
    write_coco(tmp_path / "source", [[5, 5, 20, 20], [10, 10, 30, 8]])
    status, output, _ = aerodet("data", "convert", "source", "kitti", "--to", "kitti")
    assert status == 0
    assert output.startswith("kitti: 2 images, 2 boxes")
    assert (
        (tmp_path / "kitti" / "labels" / "1.txt").read_text().startswith("aircraft 0.00 0 0.00 5.00 5.00 25.00 25.00")
    )

    assert aerodet("data", "convert", "kitti", "tiles", "--to", "tiles", "--size", 32)[0] == 0
    assert ImageSet(tmp_path / "tiles").records[0].width == 32
    status, output, _ = aerodet("data", "convert", "tiles", "again", "--to", "kitti")
    assert status == 0
    assert "note: kitti has no places: read again, each image is one, where here 2 places keep their" in output
    assert "note: yolo has no places" in aerodet("data", "convert", "tiles", "yolo", "--to", "yolo")[1]
    assert "note: " not in aerodet("data", "convert", "tiles", "coco", "--to", "coco")[1]
    assert "note: " not in aerodet("data", "convert", "kitti", "more", "--to", "yolo")[1]  # an image a place already


@pytest.mark.parametrize(
    ("source", "to", "option", "why"),
    [
        ("kitti", "yolo", ("--split", "train"), "kitti is no COCO folder"),
        ("kitti", "yolo", ("--on-bad-box", "fail"), "kitti is no COCO folder"),  # its default, yet asked for
        ("kitti", "yolo", ("--on-bad-entry", "fix"), "kitti is no COCO folder"),
        ("kitti", "yolo", ("--class-from", "role"), "kitti is no COCO folder"),
        ("kitti", "yolo", ("--min-side", 2), "kitti is no COCO folder"),
        ("tiles", "yolo", ("--duplicates", "keep"), "tiles is no COCO folder"),
        ("coco", "kitti", ("--size", 32), "--to kitti cuts no tiles"),
        ("coco", "yolo", ("--overlap", 0.1), "--to yolo cuts no tiles"),
        ("coco", "coco", ("--truncated", "drop"), "--to coco cuts no tiles"),
        ("coco", "tiles", ("--images", "link"), "tiles are new files"),
        ("tiles", "coco", ("--class", "ship"), "tiles is an image set, which has its classes"),
    ],
)
def test_convert_refuses_options_that_would_change_nothing(aerodet, tmp_path, source, to, option, why):
    write_coco(tmp_path / "coco", [[5, 5, 20, 20]])
    aerodet("data", "convert", "coco", "kitti", "--to", "kitti")
    aerodet("data", "convert", "coco", "tiles", "--to", "tiles", "--size", 32)
    status, _, shown = aerodet("data", "convert", source, "other", "--to", to, *option)
    assert (status, shown) == (2, f"error: {option[0]} would change nothing: {why}; leave it out\n")
    assert not (tmp_path / "other").exists()


def test_convert_refuses_idle_options_before_it_reads(aerodet, tmp_path):
    write_coco(tmp_path / "broken", [[5, 5, 200, 20]])
    status, _, shown = aerodet("data", "convert", "broken", "other", "--to", "kitti", "--size", 32, "--overlap", 0.1)
    assert status == 2
    assert shown == "error: --size, --overlap would change nothing: --to kitti cuts no tiles; leave it out\n"


def test_convert_refuses_bad_boxes_and_taken_folders(aerodet, tmp_path):
    write_coco(tmp_path / "source", [[5, 5, 200, 20]])
    status, _, shown = aerodet("data", "convert", "source", "kitti", "--to", "kitti")
    assert status == 2
    assert shown.startswith("error: ")
    assert not (tmp_path / "kitti").exists()
    assert aerodet("data", "convert", "source", "kitti", "--to", "kitti", "--on-bad-box", "fix")[0] == 0
    assert "kitti exists already" in aerodet("data", "convert", "source", "kitti", "--to", "kitti")[2]
    assert "nowhere does not exist" in aerodet("data", "audit", "nowhere")[2]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (MachineError("the disk is full"), 3, "error: the disk is full\n"),
        (StoppedError("the run was stopped", 2), 130, "the run was stopped\n"),
    ],
)
def test_errors_become_a_line_and_a_status(aerodet, monkeypatch, error, status, line):
    def fail(*_):
        raise error

    monkeypatch.setattr("aerodet.detectnet.spec.read_spec", fail)
    assert aerodet("spec", "check", "any") == (status, "", line)


def test_a_defect_keeps_its_traceback(monkeypatch):
    def fail(*_):
        raise ValueError("a defect")

    monkeypatch.setattr("aerodet.detectnet.spec.read_spec", fail)
    monkeypatch.setattr(sys, "argv", ["aerodet", "spec", "check", "any"])
    with pytest.raises(ValueError, match="a defect"):
        cli.main()
