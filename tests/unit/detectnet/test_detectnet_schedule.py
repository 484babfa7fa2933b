"""The course of a training: the learning rate by the share of the steps, and how sure an AP50 is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from detectnet_pictures import small_spec

from aerodet.detectnet.schedule import learning_rate, standard_error
from aerodet.detectnet.settings import settings_of


def test_the_learning_rate_rises_exponentially_stays_and_falls_exponentially():
    settings = settings_of(small_spec(min_learning_rate=1e-6, max_learning_rate=1e-2, soft_start=0.1, annealing=0.6))

    assert learning_rate(0.0, settings) == pytest.approx(1e-6)
    assert learning_rate(0.05, settings) == pytest.approx(1e-4)  # the geometric middle
    assert learning_rate(0.1, settings) == pytest.approx(1e-2)
    assert learning_rate(0.6, settings) == pytest.approx(1e-2)
    assert learning_rate(0.8, settings) == pytest.approx(1e-4)
    assert learning_rate(1.0, settings) == pytest.approx(1e-6)


def test_without_soft_start_the_first_step_has_the_full_rate():
    settings = settings_of(small_spec(max_learning_rate=1e-2, soft_start=0.0, annealing=0.0))

    assert learning_rate(0.0, settings) == pytest.approx(1e-2)
    falling = [learning_rate(n / 10, settings) for n in range(11)]
    assert all(b < a for a, b in pairwise(falling))


def test_the_standard_error_is_that_of_a_share_and_falls_with_the_number_of_objects():
    assert standard_error(50.0, [9_996]) == pytest.approx(0.5)  # half of the square root of 10,000 in percent
    few, many = standard_error(97.0, [20]), standard_error(97.0, [2_000])
    assert (few, many) == (pytest.approx(6.4, abs=0.2), pytest.approx(0.4, abs=0.05))


def test_all_or_nothing_of_few_objects_is_no_certainty():
    assert standard_error(100.0, [20]) == pytest.approx(standard_error(0.0, [20]))
    assert standard_error(100.0, [20]) > 5


def test_a_rare_class_makes_the_mean_over_classes_unsure_and_one_without_objects_has_no_part():
    common, rare = standard_error(90.0, [990]), standard_error(90.0, [10])
    both = standard_error(90.0, [990, 10])
    assert both == pytest.approx((common**2 + rare**2) ** 0.5 / 2)
    assert standard_error(90.0, [990, 0]) == common
