from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from data_pictures import make_record

from aerodet.data import split_by_fraction, split_by_frames
from aerodet.errors import DataError


def places(*sizes):
    return [make_record(i * 1000 + n, group=f"g{i}") for i, size in enumerate(sizes) for n in range(size)]


def test_groups_stay_together_and_everything_is_on_one_side():
    records = places(5, 5, 5, 5, 5, 5, 5, 5, 5, 5)
    split = split_by_fraction(records, 0.3, seed=1)
    taken, rest = split
    assert sorted(taken + rest) == list(range(50))
    assert not {records[i].group for i in taken} & {records[i].group for i in rest}
    assert len(taken) == 15
    assert (split.groups_taken, split.groups) == (3, 10)


def test_the_seed_decides():
    records = places(*[3] * 20)
    assert split_by_fraction(records, 0.2, seed=4) == split_by_fraction(records, 0.2, seed=4)
    assert len({tuple(split_by_fraction(records, 0.2, seed=s).taken) for s in range(5)}) > 1


def test_each_side_has_a_group_even_at_extreme_fractions():
    records = places(10, 12, 9)
    assert len(split_by_fraction(records, 0.001, seed=0).taken) == 9
    for seed in range(5):
        assert split_by_fraction(records, 0.999, seed=seed).rest


def test_a_fraction_of_one_takes_everything():
    split = split_by_fraction(places(4), 1, seed=0)
    assert (split.taken, split.rest) == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("fraction", [0, 2, -0.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(DataError, match="must be over 0 and at most 1"):
        split_by_fraction(places(2, 2), fraction, seed=0)


def test_a_single_group_is_refused_unless_it_may_be_split():
    with pytest.raises(DataError, match=r"all 20 images belong to group 'g0'.*within_groups"):
        split_by_fraction(places(20), 0.1, seed=0)
    split = split_by_fraction(places(20), 0.1, seed=0, within_groups=True)
    assert (len(split.taken), len(split.rest)) == (2, 18)


def test_within_groups_each_place_gives_its_share():
    records = places(40, 20, 10, 10)
    taken, _ = split_by_fraction(records, 0.1, seed=3, within_groups=True)
    counts = [sum(records[i].group == f"g{g}" for i in taken) for g in range(4)]
    assert counts == [4, 2, 1, 1]


def test_within_small_groups_the_total_is_still_as_asked():
    assert len(split_by_fraction(places(*[3] * 20), 0.1, seed=0, within_groups=True).taken) == 6
    assert len(split_by_fraction(places(2, 2), 0.01, seed=0, within_groups=True).taken) == 1
    assert len(split_by_fraction(places(2, 2), 0.99, seed=0, within_groups=True).taken) == 3


def test_too_little_to_split_is_refused():
    with pytest.raises(DataError, match="no images to split"):
        split_by_fraction([], 0.5, seed=0)
    with pytest.raises(DataError, match="one image alone"):
        split_by_fraction(places(1), 0.5, seed=0, within_groups=True)


def test_both_fractions_are_reported():
    split = split_by_fraction(places(*[1] * 50), 0.1, seed=0)
    assert split.fraction == 0.1
    assert split.share_of_mix(95) == 0.05
    assert split.to_dict() == {
        "asked": 0.1,
        "image_fraction": 0.1,
        "box_fraction": 0.1,
        "images_taken": 5,
        "images": 50,
        "boxes_taken": 5,
        "boxes": 50,
        "groups_taken": 5,
        "groups": 50,
    }


def test_within_groups_a_larger_fraction_holds_the_smaller_ones():
    records = places(1, 7, 40, 3, 12, 12, 25)
    taken = [set(split_by_fraction(records, f, seed=5, within_groups=True).taken) for f in np.linspace(0.01, 1, 60)]
    assert all(smaller <= larger for smaller, larger in itertools.pairwise(taken))
    assert len(taken[-1]) == len(records)


def tiles(*boxes):
    """Return two tiles of each frame; the first has the frame's boxes."""
    box = [4, 4, 20, 20]
    return [
        replace(make_record(10 * i + part, boxes=[box] * count * (part == 0)), attributes=origin(i, part))
        for i, count in enumerate(boxes)
        for part in (0, 1)
    ]


def origin(frame, part):
    return {"scene": f"{frame}.jpg", "tile_x": 64 * part, "tile_y": 0, "tile_scale": 1.0}


def test_a_frame_is_taken_with_all_its_tiles():
    records = tiles(3, 0, 1, 2)
    for seed in range(8):
        split = split_by_frames(records, 1, seed)
        first, second = split.taken
        assert second == first + 1
        assert first % 2 == 0
        assert first != 2  # the second frame shows nothing
        assert (split.asked, split.fraction) == (0.25, 0.25)
    assert len({tuple(split_by_frames(records, 1, seed).taken) for seed in range(8)}) > 1


def test_more_frames_hold_the_fewer():
    records = tiles(1, 1, 1, 1, 1)
    taken = [set(split_by_frames(records, count, seed=2).taken) for count in range(1, 6)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(taken))


def test_what_was_not_cut_is_a_frame_itself():
    assert len(split_by_frames([make_record(i, boxes=[[1, 1, 9, 9]]) for i in range(5)], 2, seed=0).taken) == 2


@pytest.mark.parametrize("count", [0, 4])
def test_frames_that_are_not_there_are_refused(count):
    with pytest.raises(
        DataError, match=rf"{count} frames cannot be taken: 3 of 4 frames show an object; ask for 1 to 3"
    ):
        split_by_frames(tiles(1, 0, 1, 1), count, seed=0)
