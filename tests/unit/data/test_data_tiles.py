from __future__ import annotations

import numpy as np
import pytest
from data_pictures import make_record, picture

from aerodet.data import ImageSet, ImageSetWriter, TileReport, tile_frame, tile_grid, tile_images
from aerodet.errors import SpecError
from aerodet.files import folder_digest


def test_the_last_row_and_column_are_shifted_back_inside():
    assert tile_grid(100, 48, 48, 0.0) == [(0, 0), (48, 0), (52, 0)]
    assert tile_grid(96, 96, 48, 0.0) == [(0, 0), (48, 0), (0, 48), (48, 48)]


def test_a_frame_of_airbus_size_has_as_many_tiles_as_expected():
    assert len(tile_grid(2560, 2560, 512, 0.2)) == 36


def test_a_frame_smaller_than_a_tile_has_one_tile_padded_black():
    image = np.full((20, 30, 3), 200, np.uint8)
    (tile,), report = tile_frame(image, make_record(1, boxes=[[25, 5, 30, 20]], width=30, height=20), 32)
    assert (tile.image[:20, :30] == 200).all()
    assert (tile.image[20:] == 0).all()
    assert (tile.image[:, 30:] == 0).all()
    assert tile.record.boxes.tolist() == [[25, 5, 30, 20]]
    assert (tile.record.width, tile.record.height) == (32, 32)
    assert report.tiles == 1


def test_boxes_move_with_their_tile_and_are_clipped_to_it():
    image = picture(1, 96, 48)
    record = make_record(1, group="g", boxes=[[40, 10, 60, 20]], width=96)
    tiles, report = tile_frame(image, record, 48, 0.0)
    assert [tile.record.boxes.tolist() for tile in tiles] == [[[40, 10, 48, 20]], [[0, 10, 12, 20]]]
    assert np.array_equal(tiles[1].image, image[:, 48:])
    assert tiles[1].record.attributes == {"scene": "image_1.png", "tile_x": 48, "tile_y": 0, "tile_scale": 1.0}
    assert [tile.record.file_name for tile in tiles] == ["image_1_x0_y0.png", "image_1_x48_y0.png"]
    assert [(tile.record.id, tile.record.group) for tile in tiles] == [(1, "g"), (2, "g")]
    assert (report.clipped, report.slivers, report.lost, report.tile_boxes) == (2, 0, 0, 2)


def test_a_box_that_is_hardly_visible_is_left_out_and_counted():
    record = make_record(1, boxes=[[28, 10, 50, 20]], width=96)
    tiles, report = tile_frame(picture(1, 96, 48), record, 48, 0.0, min_visible=0.25)
    assert [len(tile.record.boxes) for tile in tiles] == [1, 0]
    assert (report.slivers, report.lost) == (1, 0)


def test_a_box_that_no_tile_keeps_is_counted_as_lost():
    record = make_record(1, boxes=[[10, 10, 11, 30], [38, 0, 58, 20]], width=96)
    _, report = tile_frame(picture(1, 96, 48), record, 48, 0.0, min_visible=0.6)
    assert (report.lost, report.slivers, report.tile_boxes) == (2, 3, 0)


def test_whole_boxes_survive_a_demand_for_wholeness():
    record = make_record(1, boxes=[[48.3, 1.7, 70.9, 33.1]], width=96)
    tiles, _ = tile_frame(picture(1, 96, 48), record, 48, 0.0, min_visible=1.0)
    assert sum(len(tile.record.boxes) for tile in tiles) == 1


def test_resizing_scales_pixels_and_boxes():
    record = make_record(1, boxes=[[20, 10, 60, 40]], width=128, height=96)
    (tile,), _ = tile_frame(picture(1, 128, 96), record, 64, scale=0.5)
    assert tile.record.boxes.tolist() == [[10, 5, 30, 20]]
    tiles, _ = tile_frame(picture(1, 16, 16), make_record(1, boxes=[[2, 2, 6, 6]], width=16, height=16), 32, scale=2.0)
    assert tiles[0].record.boxes.tolist() == [[4, 4, 12, 12]]


def test_empty_tiles_are_thinned_by_the_generator_and_counted():
    record = make_record(1, boxes=[], width=320, height=320)
    image = picture(1, 320, 320)
    kept, report = tile_frame(image, record, 32, 0.0, keep_empty=0.3, generator=np.random.default_rng(1))
    again, _ = tile_frame(image, record, 32, 0.0, keep_empty=0.3, generator=np.random.default_rng(1))
    assert 15 <= len(kept) <= 45
    assert report.tiles + report.left_out == 100
    assert report.empty_tiles == report.tiles
    assert [tile.record.file_name for tile in kept] == [tile.record.file_name for tile in again]
    assert tile_frame(image, record, 32, 0.0, keep_empty=0.0)[0] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 100}, "tile size 100 must be 16, .*96 would do"),
        ({"size": 0}, "16 would do"),
        ({"overlap": 0.91}, "tile overlap 0.91 must be at least 0 and at most 0.9"),
        ({"overlap": -0.1}, "tile overlap -0.1"),
        ({"scale": 0}, "tile scale 0"),
        ({"scale": float("nan")}, "tile scale nan"),
        ({"min_visible": 2}, "min_visible 2"),
        ({"keep_empty": -1}, "keep_empty -1"),
    ],
)
def test_options_out_of_their_limits_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        tile_frame(picture(1), make_record(1), **{"size": 32, **options})


def test_a_set_of_frames_becomes_a_set_of_tiles(tmp_path):
    with ImageSetWriter(tmp_path / "frames", ("aircraft",)) as writer:
        for number in (1, 2):
            writer.add(make_record(number, width=96), picture(number, 96, 48))
    frames = ImageSet(tmp_path / "frames")
    report = tile_images(frames, tmp_path / "tiles", 48, 0.0)
    tiles = ImageSet(tmp_path / "tiles")
    assert report == TileReport(frames=2, tiles=4, empty_tiles=2, frame_boxes=2, tile_boxes=2)
    assert report.to_dict()["tiles"] == len(tiles) == 4
    assert [record.id for record in tiles.records] == [1, 2, 3, 4]
    assert [record.group for record in tiles.records] == ["place_1", "place_1", "place_2", "place_2"]
    assert np.array_equal(tiles.image(3), picture(2, 96, 48)[:, 48:])
    tile_images(frames, tmp_path / "again", 48, 0.0)
    assert folder_digest(tmp_path / "again") == folder_digest(tmp_path / "tiles")
    tile_images(frames, tmp_path / "jpeg", 48, 0.0, suffix=".jpg")
    assert ImageSet(tmp_path / "jpeg").records[0].file_name == "image_1_x0_y0.jpg"


def cut(truncated):
    """A frame of two aircraft, one of which lies across the border of two tiles, a fifth of it in the second."""
    frame = np.full((32, 64, 3), 100, np.uint8)
    frame[8:18, 24:34] = 255
    record = make_record(1, boxes=[[24, 8, 34, 18], [40, 8, 50, 18]], width=64, height=32)
    return tile_frame(frame, record, 32, 0.0, min_visible=0.3, truncated=truncated)


def test_an_object_that_a_tile_cuts_is_kept_where_enough_of_it_shows():
    (left, right), report = cut("keep")
    assert left.record.boxes.tolist() == [[24, 8, 32, 18]]
    assert right.record.boxes.tolist() == [[8, 8, 18, 18]]
    assert (right.image[8:18, :2] == 255).all()
    assert (report.clipped, report.slivers, report.blanked) == (1, 1, 0)
    assert (left.record.ignored.tolist(), right.record.ignored.tolist()) == ([], [[0, 8, 2, 18]])


def test_regions_to_ignore_are_cut_like_the_frame_and_come_back_from_an_image_set(tmp_path):
    record = make_record(1, boxes=[[2, 2, 12, 12]], width=64, height=32, ignored=[[28, 4, 40, 20]])
    with ImageSetWriter(tmp_path / "tiles", ("aircraft",)) as writer:
        tiles, _ = tile_frame(np.zeros((32, 64, 3), np.uint8), record, 64, 0.0, scale=2.0)
        for tile in tiles:
            writer.add(tile.record, tile.image)

    left, right = ImageSet(tmp_path / "tiles").records
    assert (left.ignored.tolist(), right.ignored.tolist()) == ([[56, 8, 64, 40]], [[0, 8, 16, 40]])
    assert (len(left.boxes), len(right.boxes)) == (1, 0)


def test_an_object_that_a_tile_cuts_can_be_left_out():
    (left, right), report = cut("drop")
    assert len(left.record.boxes) == 0
    assert right.record.boxes.tolist() == [[8, 8, 18, 18]]
    assert (report.clipped, report.slivers, report.lost) == (0, 2, 1)


def test_what_is_left_out_can_be_painted_over():
    (left, right), report = cut("blank")
    assert left.record.boxes.tolist() == [[24, 8, 32, 18]]
    assert (left.image[8:18, 24:32] == 255).all()
    assert (right.image[8:18, :2] < 110).all()
    assert right.record.ignored.tolist() == []
    assert (report.slivers, report.blanked) == (1, 1)
