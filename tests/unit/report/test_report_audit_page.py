from __future__ import annotations

import re

import numpy as np
import pytest

from aerodet.data import ImageRecord, ImageSet, ImageSetWriter, audit
from aerodet.metrics import Detections, rank_suspects
from aerodet.report.audit_page import draw_doubts, render_audit


@pytest.fixture
def images(tmp_path):
    generator = np.random.default_rng(0)
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        for number in range(1, 25):
            boxes = np.array([[4, 4, 4 + number, 20]] * (number % 3), np.float32).reshape(-1, 4)
            record = ImageRecord(number, f"<{number}>.png", 64, 64, f"place {number}", boxes, np.zeros(len(boxes), int))
            writer.add(record, generator.integers(0, 255, (64, 64, 3), np.uint8))
    return ImageSet(tmp_path / "set")


def test_the_page_says_what_is_in_the_sets_and_what_is_wrong(images, tmp_path):
    result = audit({"train": images, "test": images}).to_dict()
    render_audit(result, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "would make results untrue" in page
    assert "Places on both sides of a split" in page
    assert "6 more" in page  # 24 places, 18 of them with a bar of their own
    assert "&lt;1&gt;.png" in page
    assert "<1>.png" not in page
    assert not re.search(r"<script|src=\"http|href=\"http", page)


def test_a_set_without_boxes_has_a_page_too(tmp_path):
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
        writer.add(ImageRecord(1, "a.png", 32, 32, "g"), pixels)
    render_audit(audit({"train": ImageSet(tmp_path / "set")}).to_dict(), tmp_path / "page.html")
    assert "Nothing was found" in (tmp_path / "page.html").read_text()


def test_an_audit_from_before_regions_were_counted_has_a_page_too(images, tmp_path):
    content = audit({"train": images}).to_dict()
    del content["sets"]["train"]["regions"]
    render_audit(content, tmp_path / "page.html")
    assert "Ignored" in (tmp_path / "page.html").read_text()


def test_doubtful_labels_are_shown_with_their_pictures(images, tmp_path):
    seen = [Detections([[40, 40, 70, 70]], [0.8], [0]) for _ in images.records]
    suspects = rank_suspects([(r.boxes, r.labels) for r in images.records], seen)
    doubts = draw_doubts("train", images, suspects, 5)
    says = ["labelled, not seen", "seen, not labelled"]  # each kind in turn
    assert [doubt.what for doubt in doubts] == [*says, *says, says[0]]
    assert all(doubt.jpeg.startswith(b"\xff\xd8") for doubt in doubts)
    render_audit(audit({"train": images}).to_dict(), tmp_path / "page.html", doubts)
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg;base64") == 5
