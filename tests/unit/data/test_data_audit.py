from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from data_pictures import make_record, picture

from aerodet.data import ImageFiles, ImageSet, ImageSetWriter, audit


def image_set(folder, pictures, *, groups=None, boxes=None):
    with ImageSetWriter(folder, ("aircraft",)) as writer:
        for number, pixels in enumerate(pictures, start=1):
            group = groups[number - 1] if groups else f"{folder.name}_{number}"
            chosen = boxes.get(number, [[10, 10, 30, 20]]) if boxes else [[10, 10, 30, 20]]
            writer.add(make_record(number, group=group, boxes=chosen), pixels)
    return ImageSet(folder)


def kinds(report):
    return [(finding.severity, finding.kind) for finding in report.findings]


def test_clean_sets_give_figures_and_no_findings(tmp_path):
    train = image_set(
        tmp_path / "train", [picture(n) for n in range(6)], boxes={1: [], 2: [[0, 0, 40, 40], [0, 0, 64, 48]]}
    )
    report = audit({"train": train, "test": image_set(tmp_path / "test", [picture(n) for n in range(10, 14)])})
    figures = report.sets["train"]
    assert report.findings == []
    assert (figures.images, figures.boxes, figures.empty_images) == (6, 6, 1)
    assert figures.sizes == {"small": 4, "medium": 2, "large": 0}
    assert sum(figures.size_histogram["counts"]) == 6
    assert figures.boxes_per_image == {"mean": 1.0, "median": 1.0, "max": 2, "counts": [1, 4, 1]}
    assert figures.classes == {"aircraft": 6}
    assert len(figures.mean_rgb) == 3
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["severities"] == {
        "error": 0,
        "warning": 0,
        "note": 0,
    }


def test_regions_to_ignore_are_counted_apart(tmp_path):
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        writer.add(make_record(1, ignored=[[0, 0, 9, 9], [50, 50, 60, 60]]), picture(1))
        writer.add(make_record(2), picture(2))
    figures = audit({"set": ImageSet(tmp_path / "set")}).sets["set"]
    assert (figures.boxes, figures.regions) == (sum(figures.classes.values()), 2)


def test_broken_tiny_and_repeated_boxes_are_found(tmp_path):
    boxes = {
        1: [[10, 10, 10, 20]],
        2: [[50, 10, 70, 20]],
        3: [[1, 1, 2.5, 9]],
        4: [[1, 1, 9, 9], [1, 1, 9, 9]],
        5: [[np.nan, 1, 2, 3]],
    }
    with pytest.raises(ValueError, match="JSON"):
        image_set(tmp_path / "refused", [picture(n) for n in range(5)], boxes=boxes)
    del boxes[5]
    report = audit({"train": image_set(tmp_path / "train", [picture(n) for n in range(4)], boxes=boxes)})
    assert kinds(report) == [("error", "broken-box")] * 2 + [("warning", "tiny-box"), ("warning", "repeated-box")]
    assert "has no size" in report.findings[0].sentence
    assert "reaches past the frame of 64x48" in report.findings[1].sentence
    assert len(report.errors) == 2


def test_unreadable_images_are_found_and_the_rest_is_audited(tmp_path, capfd):
    files = []
    for number in range(3):
        files.append(tmp_path / f"image_{number}.png")
        files[-1].write_bytes(b"" if number == 1 else cv2.imencode(".png", picture(number))[1].tobytes())
    source = ImageFiles(("aircraft",), [make_record(n) for n in range(3)], files)
    report = audit({"train": source})
    assert kinds(report) == [("error", "unreadable")]
    assert report.findings[0].image == "image_1.png"
    assert report.sets["train"].unreadable_images == 1


def test_exact_and_near_duplicates_inside_a_set_are_warnings(tmp_path):
    brighter = np.clip(picture(1).astype(int) + 12, 0, 255).astype(np.uint8)
    report = audit({"train": image_set(tmp_path / "train", [picture(1), picture(2), picture(1), brighter])})
    assert kinds(report) == [("warning", "duplicate"), ("warning", "near-duplicate")]
    assert (report.findings[0].image, report.findings[0].other_image) == ("image_3.png", "image_1.png")
    assert report.findings[1].image == "image_4.png"


def test_flat_pictures_are_not_taken_for_near_duplicates(tmp_path):
    noise = [np.random.default_rng(n).integers(98, 102, (48, 64, 3), np.uint8) for n in range(4)]
    assert audit({"train": image_set(tmp_path / "train", noise)}).findings == []


def test_a_test_image_that_was_trained_on_is_an_error(tmp_path):
    train = image_set(tmp_path / "train", [picture(1), picture(2)])
    report = audit({"train": train, "test": image_set(tmp_path / "test", [picture(3), picture(2)])})
    assert kinds(report) == [("error", "duplicate")]
    finding = report.errors[0]
    assert (finding.set, finding.image, finding.other_set, finding.other_image) == (
        "test",
        "image_2.png",
        "train",
        "image_2.png",
    )


def test_training_sets_that_share_images_are_noted_once(tmp_path):
    real = image_set(tmp_path / "real", [picture(n) for n in range(4)])
    tenth = image_set(tmp_path / "tenth", [picture(n) for n in range(2)])
    report = audit({"real": real, "tenth": tenth})
    assert [finding.sentence for finding in report.findings] == ["2 images of tenth are also in real"]
    assert kinds(report) == [("note", "duplicate")]


def test_a_place_on_both_sides_of_the_split_is_an_error(tmp_path):
    train = image_set(tmp_path / "a", [picture(1), picture(2)], groups=["oslo", "rome"])
    held_out = image_set(tmp_path / "b", [picture(3)], groups=["rome"])
    report = audit({"train": train, "held-out": held_out}, test_sets=["held-out"])
    assert kinds(report) == [("error", "leak")]
    assert "group rome is in held-out (1 images) and in train (1)" in report.findings[0].sentence
    assert audit({"train": train, "held-out": held_out}).findings == []
