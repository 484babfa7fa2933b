import numpy as np
import pytest

from aerodet.drift import FEATURES, compare, look


def images(count, seed=0, light=100.0, spread=20.0):
    generator = np.random.default_rng(seed)
    levels = generator.normal(light, 10, count)
    return [look(generator.normal(level, spread, (48, 48, 3)).clip(0, 255).astype(np.uint8)) for level in levels]


def test_the_figures_of_known_images():
    flat = look(np.full((8, 8, 3), 100, np.uint8))
    assert flat == pytest.approx(
        {"brightness": 100, "contrast": 0, "saturation": 0, "warmth": 0, "sharpness": -3}, abs=1e-9
    )
    red = look(np.tile(np.array([200, 100, 0], np.uint8), (8, 8, 1)))
    assert red["saturation"] == 1
    assert red["warmth"] == 1
    half = np.zeros((8, 8, 3), np.uint8)
    half[:, 4:] = 200
    assert look(half)["brightness"] == 100
    assert look(half)["contrast"] == 100


def test_images_of_one_kind_have_not_drifted():
    assert sum(bool(compare(images(60, seed), images(60, seed + 100)).drifted) for seed in range(10)) == 0


def test_darker_images_have_drifted_in_brightness():
    drift = compare(images(40), images(40, 1, light=60))
    assert "brightness" in drift.drifted
    assert drift.distances["brightness"] > 0.8
    assert "brightness (" in drift.sentence


def test_a_small_shift_is_no_drift_however_many_images_show_it():
    assert compare(images(400), images(400, 1, light=101)).drifted == ()


def test_too_few_images_are_not_judged():
    drift = compare(images(40), images(7, 1, light=10))
    assert (drift.distances, drift.drifted) == ({}, ())
    assert drift.sentence == "7 new and 40 old images are too few to compare"


def test_every_figure_is_compared():
    assert set(compare(images(8), images(8, 1)).distances) == set(FEATURES)
