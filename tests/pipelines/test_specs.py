"""What a profile says of training is what the experiment spec of an arm says."""

import pytest

from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import parse_spec
from aerodet.pipelines._specs import arm_spec
from aerodet.pipelines.profiles import load_profile


def settings(*given):
    profile = load_profile("minimal", list(given))
    return settings_of(parse_spec(arm_spec(profile, profile.real, load_graph=False, qat=False)))


@pytest.mark.parametrize(
    ("setting", "value", "read"),
    [
        ("cov_radius", 0.25, lambda found: found.shapes[0].cov_radius_x),
        ("cov_radius", 0.25, lambda found: found.shapes[0].cov_radius_y),
        ("bbox_min_radius", 0.75, lambda found: found.shapes[0].bbox_min_radius),
        ("deadzone_radius", 0.5, lambda found: found.deadzone_radius),
        ("soft_start", 0.25, lambda found: found.training.soft_start),
        ("annealing", 0.75, lambda found: found.training.annealing),
        ("augmentation.zoom_min", 0.5, lambda found: found.augmentation.zoom_min),
        ("augmentation.turn_probability", 0.25, lambda found: found.augmentation.turn_probability),
    ],
)
def test_a_setting_of_training_reaches_the_spec(setting, value, read):
    assert read(settings(f"training.{setting}={value}")) == pytest.approx(value)
    assert read(settings()) != pytest.approx(value)
