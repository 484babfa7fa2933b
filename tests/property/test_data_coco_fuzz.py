"""A thousand COCO files, each broken in a few places."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerodet.data import coco_document, encode_image, read_coco
from aerodet.errors import DataError

SIDE = 64
SOUND = {
    "images": [
        {"id": n, "file_name": f"{n}.png", "width": SIDE, "height": SIDE, "group": "g", "gsd": 0.3} for n in (1, 2, 3)
    ],
    "annotations": [
        {
            "id": n,
            "image_id": 1 + n % 3,
            "category_id": n % 2,
            "bbox": [4 * n, 5 * n, 20.5, 12],
            "area": 246.0,
            "iscrowd": 0,
            "segmentation": [[4 * n, 5 * n, 4 * n + 20, 5 * n, 4 * n + 20, 5 * n + 12]],
        }
        for n in range(6)
    ],
    "categories": [{"id": 0, "name": "aircraft"}, {"id": 1, "name": "vehicle"}],
}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 70),
    st.sampled_from([10**400, -(2**63), 2**64, 1e308, float("nan"), float("inf"), -0.0, 1.5]),
    st.sampled_from(
        ["", "1", "aircraft", "1.png", "1.xml", "2.png.aux.xml", "../1.png", "/", "a\0b", "x" * 300, "\ud800"]
    ),
    st.text(max_size=4),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@st.composite
def mutated(draw):
    document = copy.deepcopy(SOUND)
    for _ in range(draw(st.integers(1, 4))):
        place, key = document, draw(st.sampled_from(["images", "annotations", "categories"]))
        while isinstance(place.get(key) if isinstance(place, dict) else place[key], dict | list) and draw(
            st.integers(0, 9)
        ):
            place = place[key]
            if not place:
                break
            key = draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        if not place:
            continue
        how = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
        if how == "replace":
            place[key] = draw(values)
        elif how == "remove":
            del place[key]
        elif isinstance(place, list):
            place.append(copy.deepcopy(place[key]))
        if not {"images", "annotations", "categories"} <= document.keys():
            break
    text = json.dumps(document)
    return document, text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 30)) == 0 else text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    for name in ("1.png", "2.png", "3.png"):
        (root / name).write_bytes(encode_image(np.zeros((SIDE, SIDE, 3), np.uint8)))
    return root


policies = st.sampled_from(["fail", "fix", "drop"])


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(), policies, policies, st.sampled_from(["merge", "keep"]), st.sampled_from([None, "area", "iscrowd"]))
def test_a_broken_file_is_refused_with_a_sentence_or_every_box_is_accounted_for(
    folder, case, on_bad_box, on_bad_entry, duplicates, class_from
):
    document, text = case
    path = folder / "instances.json"
    path.write_text(text)
    try:
        source = read_coco(
            path,
            classes=("aircraft",) if class_from is None else ("246:aircraft", "0:aircraft"),
            class_from=class_from,
            on_bad_box=on_bad_box,
            on_bad_entry=on_bad_entry,
            duplicates=duplicates,
            min_side=1,
        )
    except DataError as error:
        sentence = str(error)
        assert "\n" not in sentence
        assert sentence.encode()  # it can be printed
        return
    report = source.report
    kept = [box for record in source.records for box in record.boxes.tolist()]
    assert len(kept) == report.boxes
    assert report.annotations == len(document["annotations"]) == report.boxes + report.left_out
    assert all(
        0 <= x1 < x2 <= r.width and 0 <= y1 < y2 <= r.height
        for r in source.records
        for x1, y1, x2, y2 in [*r.boxes, *r.ignored]
    )
    assert len(source.records) == len(source.paths) == report.images
    if on_bad_box == on_bad_entry == "fail":
        assert report.broken == 0
    json.dumps(coco_document(source.records, source.classes), allow_nan=False)
    assert all(sentence.encode() for sentence in report.sentences())
