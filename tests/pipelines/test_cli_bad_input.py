"""What a user gets wrong: exit status 2, one sentence, and nothing half-written."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from aerodet.data import encode_image
from aerodet.pipelines import RunRecord

SIZE = 160


@pytest.fixture
def coco(tmp_path):
    """Write a folder of six frames at six places with one box each; ``damage`` changes its COCO document."""

    def write(damage=lambda document: None, *, images=True):
        folder = tmp_path / "airports"
        folder.mkdir()
        generator = np.random.default_rng(0)
        numbers = range(1, 7)
        if images:
            for number in numbers:
                pixels = generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
                (folder / f"{number}.png").write_bytes(encode_image(pixels))
        document = {
            "images": [{"id": n, "file_name": f"{n}.png", "width": SIZE, "height": SIZE} for n in numbers],
            "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [20, 30, 40, 30]} for n in numbers],
            "categories": [{"id": 1, "name": "aircraft"}],
        }
        damage(document)
        (folder / "annotations.json").write_text(json.dumps(document))
        return folder

    return write


def box(document, *xywh):
    document["annotations"][2]["bbox"] = list(xywh)


def empty(document):
    document.update(images=[], annotations=[], categories=[])


def without_annotations(document):
    document.update(annotations=[])


def category(name):
    return lambda document: document["categories"][0].update(name=name)


def one_place(document):
    for image in document["images"]:
        image["group"] = "here"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda d: box(d, 150, 30, 40, 30), "1 of 6 boxes lie outside their frame or have no size"),
        (lambda d: box(d, -30, 30, 40, 30), "annotation 3 of image 3.png, bbox [-30, 30, 40, 30]"),
        (lambda d: box(d, 20, 30, 0, 30), "1 of 6 boxes lie outside their frame or have no size"),
        (lambda d: box(d, 20, 30, 40, -5), "pass --set data.on_bad_box=fix"),
        (category("ship"), "has no category 'aircraft', only 'ship'; name the category that holds it"),
        (category("Aircraft"), "spells category 'aircraft' as 'Aircraft'"),
        (empty, "is an empty COCO file"),
        (without_annotations, "is an empty COCO file: its list of annotations has no entry"),
        (lambda d: d["images"][3].update(file_name="lost.png"), "image lost.png, named in"),
        (lambda d: d["annotations"][0].update(image_id=99), "belongs to image 99, which the file does not list"),
        (one_place, "all 6 images show one place, so none can be held apart for testing; give --test"),
    ],
    ids=[
        "outside",
        "outside-left",
        "zero",
        "negative",
        "category",
        "case",
        "empty",
        "no-boxes",
        "missing",
        "dangling",
        "one-place",
    ],
)
def test_a_folder_that_cannot_be_used_is_one_sentence(aerodet, coco, tmp_path, damage, sentence):
    status, output, shown = aerodet("run", "--profile", "minimal", "--real", coco(damage))
    assert (status, output) == (2, "")
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert sentence in shown
    assert not (tmp_path / "runs").exists()


def test_no_images_is_one_sentence(aerodet, coco, tmp_path):
    status, _, shown = aerodet("run", "--profile", "minimal", "--real", coco(images=False))
    assert status == 2
    assert "there are no images for " in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--real", "nowhere"], "is not a folder; give a folder with images and a COCO file"),
        (["--synthetic", "."], "holds no COCO file"),
        (["--set", "data.fraction=0"], "data.fraction: should be greater than 0, not 0"),
        (["--set", "data.fraction=2"], "data.fraction: should be less than or equal to 1, not 2"),
        (["--set", "classes=ship"], "classes are ship, but rendered scenes show aircraft"),
        (["--set", "classes=[]"], "classes: "),
        (["--set", "size=64"], "raise one so that they span 100 m or more"),
        (["--set", "training.augmentation.zoom_min=3"], "zoom_min is 3; it must be at most zoom_max"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_a_choice_that_cannot_be_run_is_one_sentence_and_leaves_no_run(aerodet, tmp_path, arguments, sentence):
    status, output, shown = aerodet("run", "--profile", "minimal", *arguments)
    assert (status, output) == (2, "")
    assert shown.count("\n") == 1
    assert sentence in shown
    assert not list(tmp_path.glob("runs/*-minimal-*"))


@pytest.mark.parametrize(
    ("setting", "there", "sentence"),
    [
        ("training.compile=graph", 0, "compile: graph records CUDA graphs, and this training has no GPU"),
        ("training.gpus=4", 2, "4 GPUs were asked for and this machine has 2"),
    ],
)
def test_what_the_machine_has_not_is_said_before_a_run_begins(
    aerodet, tmp_path, monkeypatch: pytest.MonkeyPatch, setting, there, sentence
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)

    status, output, shown = aerodet("run", "--profile", "minimal", "--set", setting)

    assert (status, output) == (3, "")
    assert sentence in shown
    assert not (tmp_path / "runs").exists()


def test_scenes_of_another_size_are_one_sentence(aerodet, tmp_path):
    assert aerodet("synth", "--out", "scenes", "--count", 1, "--size", 256)[0] == 0
    status, output, shown = aerodet("run", "--profile", "minimal", "--synthetic", "scenes")
    assert (status, output) == (2, "")
    assert "has 256x256 px, and the network takes 128x128; cut it with" in shown
    assert shown.count("\n") == 1
    assert not list(tmp_path.glob("runs/*-minimal-*"))


def test_the_remedy_that_a_sentence_names_works(aerodet, coco):
    folder = coco(category("Plane"))
    _, _, shown = aerodet("run", "--profile", "minimal", "--real", folder)
    remedy = shown.split("for example ")[1].split(" in a run")[0].split()
    assert remedy == ["--set", "data.classes=Plane:aircraft"]
    from aerodet.pipelines.preflight import check
    from aerodet.pipelines.profiles import load_profile

    check(load_profile("minimal", remedy[1:]).with_sources(real=folder, synthetic=None, test=None, seed=None))


def test_classes_that_do_not_match_are_one_sentence(aerodet, coco):
    folder = coco(category("plane"))
    status, _, shown = aerodet("run", "--profile", "minimal", "--real", folder, "--set", "data.classes=plane")
    assert status == 2
    assert "data.classes give plane, but the classes are aircraft" in shown


def test_a_truncated_image_ends_the_run_and_resuming_goes_on_when_it_is_whole(aerodet, coco, tmp_path):
    folder = coco()
    path = folder / "3.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    run = tmp_path / "runs" / "first"
    for arguments in (["--profile", "minimal", "--real", folder, "--name", "first"], ["--resume", run]):
        status, output, shown = aerodet("run", *arguments)
        assert (status, output) == (2, "")
        assert "Traceback" not in shown
        assert shown.splitlines()[-1] == (
            f"error: ingest-real: image {path} is truncated or not an image; fetch it again or take it out of the data "
            "set; once that is put right, `aerodet run --resume runs/first` continues the run"
        )
        assert not (run / "artifacts" / "ingest-real" / "dataset").exists()

    path.write_bytes(whole)
    command = [sys.executable, "-c", "from aerodet.pipelines.cli import main; main()", "run", "--resume", str(run)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            stage = RunRecord.read(run).stage("ingest-test")
            if stage is not None and stage.state == "SUCCEEDED":
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # the rest is what every run does
        assert process.wait(60) == 130
    states = {stage.name: stage.state for stage in RunRecord.read(run).stages}
    assert (states["ingest-real"], states["ingest-test"]) == ("SUCCEEDED", "SUCCEEDED")
    assert (run / "artifacts" / "ingest-real" / "dataset" / "provenance.json").is_file()


def test_a_spec_with_an_unknown_field_is_named_with_its_line(aerodet, tmp_path):
    (tmp_path / "spec.txt").write_text('random_seed: 42\nmodel_config {\n  arch: "resnet"\n  depth: 18\n}\n')
    status, output, shown = aerodet("spec", "check", "spec.txt")
    assert (status, output) == (2, "")
    assert shown.startswith("error: spec.txt:4: no field 'depth'")
    assert shown.count("\n") == 1
