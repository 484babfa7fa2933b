import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from aerodet.data import ImageRecord
from aerodet.errors import DataError
from aerodet.gap import BANDS, STATISTICS, compare, distance, measure

BOX = (10, 10, 30, 20)


@dataclass
class Pictures:
    """Images that are made when they are asked for."""

    paint: object
    boxes: tuple = ((BOX,),)
    count: int = 12
    side: int = 64
    places: int = 4
    attributes: dict = field(default_factory=dict)
    seen: list = field(default_factory=list)
    classes = ("aircraft",)

    @property
    def records(self):
        return [
            ImageRecord(
                number + 1,
                f"{number}.png",
                self.side,
                self.side,
                f"place-{number % self.places}",
                np.array(self.boxes[number % len(self.boxes)], np.float32).reshape(-1, 4),
                np.zeros(len(self.boxes[number % len(self.boxes)]), np.int64),
                self.attributes,
            )
            for number in range(self.count)
        ]

    def image(self, index):
        self.seen.append(index)
        return self.paint(index, self.side)


def flat(*colour):
    return lambda index, side: np.full((side, side, 3), colour, np.uint8)


def noise(sigma, mean=128):
    def paint(index, side):
        grey = np.random.default_rng(index).normal(mean, sigma, (side, side, 1))
        return np.repeat(np.clip(np.rint(grey), 0, 255), 3, axis=2).astype(np.uint8)

    return paint


def wave(cycles):
    """Return grey stripes of so many cycles a pixel."""

    def paint(index, side):
        row = 128 + 100 * np.sin(2 * np.pi * cycles * np.arange(side))
        return np.broadcast_to(np.rint(row)[None, :, None], (side, side, 3)).astype(np.uint8)

    return paint


def test_a_shift_by_one_spread_is_a_distance_of_one():
    real = np.array([0.0, 2.0])  # mean 1, standard deviation 1
    assert distance(real, real) == 0
    assert distance(real, real + 1) == 1
    assert distance(real, real - 2.5) == 2.5
    assert distance(10 * real, 10 * real + 10) == 1  # whatever the unit


def test_a_distance_by_hand():
    # Of 0, 1, 1, 2 to 1: half of the values move by 1, so 0.5 over a standard deviation of √0.5.
    assert distance(np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0])) == pytest.approx(0.5 / math.sqrt(0.5))


def test_without_a_spread_that_of_both_together_is_the_unit():
    assert distance(np.array([3.0, 3.0]), np.array([3.0])) == 0
    assert distance(np.array([3.0]), np.array([5.0])) == 2  # 2 over a standard deviation of 1


def test_several_figures_are_taken_in_the_mean():
    real = np.array([[0.0, 0.0], [2.0, 20.0]])
    assert distance(real, real + np.array([1.0, 30.0])) == pytest.approx(2.0)  # 1 and 3 spreads


def test_the_distance_is_that_of_scipy():
    generator = np.random.default_rng(0)
    for count in (1, 7, 200):
        ours, theirs = generator.normal(0, 2, 50), generator.exponential(1, count)
        assert distance(ours, theirs) == pytest.approx(wasserstein_distance(ours, theirs) / ours.std())


def test_colours_are_measured_in_their_units():
    samples = measure(Pictures(flat(200, 100, 50))).samples
    assert samples["brightness"].values == pytest.approx(np.full(12, 124), abs=1)
    assert samples["contrast"].values == pytest.approx(np.zeros(12))
    assert samples["saturation"].values == pytest.approx(np.full(12, 0.75))  # (200 - 50) / 200
    assert samples["warmth"].values == pytest.approx(np.full(12, 0.6))  # (200 - 50) / (200 + 50)


def test_white_noise_has_a_flat_spectrum_at_its_variance():
    spectra = measure(Pictures(noise(10), side=256)).samples["spectrum"].values
    assert spectra.shape == (12, BANDS)
    assert spectra.mean(axis=0) == pytest.approx(np.full(BANDS, 2.0), abs=0.08)  # log10 of 10²


@pytest.mark.parametrize(("cycles", "band"), [(0.1, 6), (0.25, 16), (0.45, 28)])
def test_stripes_stand_in_the_band_of_their_frequency(cycles, band):
    spectrum = measure(Pictures(wave(cycles), side=256, count=1)).samples["spectrum"].values[0]
    assert spectrum.argmax() in (band, band - 1)  # 2 * 32 * cycles; a tie on an edge falls to either side
    assert spectrum.max() > np.delete(spectrum, slice(band - 3, band + 4)).max() + 2


def test_tiny_images_have_no_spectrum():
    figures = measure(Pictures(noise(10), side=64))
    assert len(figures.samples["spectrum"].values) == 0
    found = compare(figures, measure(Pictures(noise(10), side=128)))
    (spectrum,) = [c for c in found.comparisons if c.key == "spectrum"]
    assert spectrum.distance is None
    assert spectrum.to_dict()["real"] is None


def test_boxes_are_measured_by_hand():
    boxes = (((0, 0, 30, 30), (0, 0, 8, 32)), ())  # of every other image
    samples = measure(Pictures(flat(0, 0, 0), boxes=boxes, count=4)).samples
    assert sorted(samples["side"].values) == [16, 16, 30, 30]
    assert sorted(samples["aspect"].values) == [1, 1, 4, 4]
    assert sorted(samples["boxes"].values) == [0, 0, 2, 2]
    assert max(samples["density"].values) == pytest.approx(2e6 / 64**2)
    assert len(samples["metres"].values) == 0


@pytest.mark.parametrize(
    ("attributes", "gsd", "metres"),
    [
        ({}, 0.0, []),
        ({"gsd": "unknown"}, 0.0, []),
        ({"gsd": 0.5}, 0.0, [5, 5]),
        ({"gsd": 0.5, "tile_scale": 0.25}, 0.0, [20, 20]),  # four times as coarse since it was cut
        ({"gsd": 0.5}, 0.3, [3, 3]),
    ],
)
def test_metres_come_from_the_image_its_tile_or_the_caller(attributes, gsd, metres):
    pictures = Pictures(flat(0, 0, 0), boxes=(((0, 0, 10, 10),),), count=2, attributes=attributes)
    assert measure(pictures, gsd=gsd).samples["metres"].values.tolist() == pytest.approx(metres)


def test_boxes_without_a_size_are_left_out():
    samples = measure(Pictures(flat(0, 0, 0), boxes=(((5, 5, 5, 9), BOX),), count=2)).samples
    assert len(samples["side"].values) == len(samples["aspect"].values) == 2
    assert samples["boxes"].values.tolist() == [2, 2]


def test_pixels_are_sampled_by_seed_and_labels_are_not():
    first, again, other = (Pictures(noise(9), count=40) for _ in range(3))
    figures = measure(first, count=10, seed=1)
    assert (figures.images, figures.measured, figures.places, figures.boxes) == (40, 10, 4, 40)
    assert len(set(first.seen)) == 10
    assert len(figures.samples["brightness"].values) == 10
    assert len(figures.samples["boxes"].values) == 40
    measure(again, count=10, seed=1)
    measure(other, count=10, seed=2)
    assert first.seen == again.seen != other.seen


def test_a_set_without_images_is_refused():
    with pytest.raises(DataError, match="no images in the real set"):
        measure(Pictures(noise(9), count=0), name="real")


def test_what_differs_is_far_and_what_does_not_is_near():
    real, other = measure(Pictures(noise(20))), measure(Pictures(lambda i, s: noise(20, 90)(i + 99, s), count=30))
    gap = compare(real, other)
    assert gap.distances["brightness"] > 20
    assert gap.distances["aspect"] == gap.distances["boxes"] == 0
    assert gap.sentence.startswith("The synthetic images are furthest from the real ones in brightness")
    assert compare(real, real).sentence.startswith("The synthetic images differ from the real ones no more than")
    assert set(compare(real, real).distances.values()) == {0.0}


def test_the_distance_to_itself_is_large_where_places_differ():
    def by_place(index, side):
        return np.full((side, side, 3), 60 * (index % 4), np.uint8)

    def within(gap):
        return {c.key: c.own for c in gap.comparisons}["brightness"]

    apart, alike = measure(Pictures(by_place, count=40)), measure(Pictures(noise(9), count=40))
    assert within(compare(apart, alike)) > 0.5
    assert within(compare(alike, apart)) < 0.6
    assert within(compare(measure(Pictures(noise(9), count=1)), alike)) is None


def test_the_density_is_told_where_images_differ_in_size():
    small, large = measure(Pictures(noise(9))), measure(Pictures(noise(9), side=128))
    alike, different = compare(small, small).distances, compare(small, large).distances
    assert ("boxes" in alike, "density" in alike) == (True, False)
    assert ("boxes" in different, different["density"] > 0) == (False, True)


def test_everything_is_json_and_histograms_add_up():
    boxes = ((BOX,), (BOX, (3, 3, 40, 60)), ())
    real = measure(Pictures(noise(20), boxes=boxes, side=128))
    gap = compare(real, measure(Pictures(noise(35, 100), boxes=boxes, count=7, side=128)))
    found = json.loads(json.dumps(gap.to_dict(), allow_nan=False))
    assert found["sets"]["synthetic"] == {"images": 7, "measured": 7, "boxes": 7, "places": 4}
    for statistic in found["statistics"]:
        assert statistic["label"] == STATISTICS[statistic["key"]].label
        if statistic["key"] == "spectrum":
            assert len(statistic["real"]["mean"]) == len(statistic["frequency"]) == BANDS
            continue
        edges = statistic["histogram"]["edges"]
        assert edges == sorted(edges)
        for side in ("real", "synthetic"):
            shares = statistic["histogram"][side]
            assert len(shares) == len(edges) - 1
            assert sum(shares) == pytest.approx(1, abs=1e-3)
    (counts,) = [s for s in found["statistics"] if s["key"] == "boxes"]
    assert counts["histogram"]["edges"] == [-0.5, 0.5, 1.5, 2.5]
    assert counts["histogram"]["real"] == pytest.approx([1 / 3] * 3, abs=1e-4)
