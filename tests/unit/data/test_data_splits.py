from __future__ import annotations

import pytest
from data_pictures import make_record

from aerodet.data import split_by_fraction
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
