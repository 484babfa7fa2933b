from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aerodet.data import ImageRecord, split_by_fraction, tile_frame, tile_grid

QUICK = settings(max_examples=50, deadline=None)
sides = st.integers(1, 200)
tile_sizes = st.integers(1, 6).map(lambda n: 16 * n)
overlaps = st.floats(0, 0.9)


@QUICK
@given(sides, sides, tile_sizes, overlaps)
def test_tiles_lie_inside_the_frame_and_cover_it(width, height, size, overlap):
    covered = np.zeros((height, width), bool)
    for x, y in tile_grid(width, height, size, overlap):
        assert 0 <= x <= max(0, width - size)
        assert 0 <= y <= max(0, height - size)
        covered[y : y + size, x : x + size] = True
    assert covered.all()


@st.composite
def frames(draw):
    width, height = draw(st.integers(20, 150)), draw(st.integers(20, 150))
    corners = st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0.05, 1))
    boxes = [
        (x * width, y * height, min(width, (x + w) * width), min(height, (y + h) * height))
        for x, y, w, h in draw(st.lists(corners, max_size=6))
    ]
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return ImageRecord(1, "frame.png", width, height, "g", array, np.arange(len(array)))


@QUICK
@given(frames(), tile_sizes, overlaps)
def test_boxes_in_tiles_are_the_parts_of_the_frames_boxes(record, size, overlap):
    image = np.zeros((record.height, record.width, 3), np.uint8)
    tiles, report = tile_frame(image, record, size, overlap, min_visible=0.0, min_side=0.0)
    union = np.stack([np.full(4, np.inf), np.full(4, -np.inf)]).repeat(1, axis=0)
    joined = {label: union.copy() for label in record.labels.tolist()}
    for tile in tiles:
        boxes = tile.record.boxes
        assert tile.image.shape == (size, size, 3)
        assert (boxes >= 0).all()
        assert (boxes <= size).all()
        origin = np.array([tile.record.attributes["tile_x"], tile.record.attributes["tile_y"]] * 2)
        for box, label in zip(boxes + origin, tile.record.labels.tolist(), strict=True):
            joined[label] = np.stack([np.minimum(joined[label][0], box), np.maximum(joined[label][1], box)])
    for label, box in zip(record.labels.tolist(), record.boxes, strict=True):
        low, high = joined[label]
        assert np.allclose([low[0], low[1], high[2], high[3]], box, atol=1e-3)
    assert report.lost == report.slivers == 0


@QUICK
@given(frames(), tile_sizes, overlaps, st.floats(0, 1))
def test_no_box_disappears_from_the_tile_report(record, size, overlap, min_visible):
    image = np.zeros((record.height, record.width, 3), np.uint8)
    tiles, report = tile_frame(image, record, size, overlap, min_visible=min_visible)
    kept = {int(label) for tile in tiles for label in tile.record.labels}
    assert len(kept) + report.lost == report.frame_boxes == len(record.boxes)
    assert report.tile_boxes == sum(len(tile.record.boxes) for tile in tiles)


group_lists = st.lists(st.integers(0, 8), min_size=2, max_size=60)


def records_of(groups):
    return [ImageRecord(n, f"{n}.png", 16, 16, f"g{group}") for n, group in enumerate(groups)]


@QUICK
@given(group_lists.filter(lambda groups: len(set(groups)) > 1), st.floats(0.01, 0.99), st.integers(0, 99))
def test_splits_partition_the_images_and_keep_groups_together(groups, fraction, seed):
    records = records_of(groups)
    split = split_by_fraction(records, fraction, seed)
    taken, rest = split
    assert taken
    assert rest
    assert sorted(taken + rest) == list(range(len(groups)))
    assert not {groups[i] for i in taken} & {groups[i] for i in rest}
    assert split == split_by_fraction(records, fraction, seed)
    largest = max(groups.count(group) for group in set(groups))
    assert abs(len(taken) - fraction * len(groups)) <= largest


@QUICK
@given(group_lists, st.floats(0.01, 0.99), st.integers(0, 99))
def test_splits_within_groups_take_exactly_the_fraction_and_spread_it(groups, fraction, seed):
    taken, rest = split_by_fraction(records_of(groups), fraction, seed, within_groups=True)
    assert sorted(taken + rest) == list(range(len(groups)))
    assert len(taken) == min(max(1, round(fraction * len(groups))), len(groups) - 1)
    for group in set(groups):
        share = len(taken) * groups.count(group) / len(groups)
        assert abs(sum(groups[i] == group for i in taken) - share) < 1
