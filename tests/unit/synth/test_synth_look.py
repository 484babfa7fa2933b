"""Looks: what YAML may say, and that each switch does what it says."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from aerodet.errors import SpecError
from aerodet.synth import Scene, SceneSettings, load_look, look_names, look_text, render_scene


def scene(*overrides: str, index: int = 0, size: int = 192) -> Scene:
    settings = SceneSettings(size=size, gsd=0.8, look=load_look("varied", overrides), empty=0.0)
    return render_scene(settings, 3, index)


@pytest.mark.parametrize("name", look_names())
def test_every_look_renders(name):
    image = render_scene(SceneSettings(size=128, look=load_look(name)), 0, 0).image
    assert image.shape == (128, 128, 3)
    assert image.std() > 5


def test_a_look_of_ones_own_travels_as_text_and_one_of_ours_by_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(files("aerodet.synth").joinpath("looks", "sensor.yaml").read_text())
    assert look_text("sensor") == "sensor"
    assert load_look(look_text(str(path))) == load_look("sensor") == load_look(str(path))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["light.elevation=[60, 30]"], "light.elevation: give a range within 5 to 90, low end first, not [60, 30]"),
        (["light.elevation=[0, 30]"], "light.elevation: give a range within 5 to 90, low end first, not [0, 30]"),
        (["sensor.gamma=[0.1, 9]"], "sensor.gamma: give a range within 0.3 to 3"),
        (["clutter.vehicles=-1"], "clutter.vehicles"),
        (["ground.snow=2"], "ground.snow: should be less than or equal to 1"),
        (["weather=rain"], "'weather' is nothing that a look has"),
        (["palette.water=[[0, 0, 9]]"], "palette: 'water' is none of concrete"),
        (["palette.grass=[]"], "palette: there is no colour for grass"),
        (["liveries={}"], "liveries: at least one share must be above 0"),
        (["fleets={airship: 1}"], "fleets: 'airship' is none of"),
        (["light.shadows"], "a setting is key=value"),
        (["name.first=x"], "a setting is key=value"),
    ],
)
def test_what_a_look_cannot_be_is_said(overrides, words):
    with pytest.raises(SpecError) as error:
        load_look("varied", overrides)
    assert words in str(error.value)


@pytest.mark.parametrize(("source", "words"), [("infrared", "there is no look"), ("a: [\nb", "is not YAML")])
def test_what_is_no_look_is_said(source, words):
    with pytest.raises(SpecError, match=words):
        load_look(source)


def test_a_zoom_that_leaves_the_limits_of_the_ground_sample_distance_is_refused():
    with pytest.raises(SpecError, match=r"view\.zoom"):
        SceneSettings(gsd=2.0, look=load_look("sensor", ["view.zoom=[1, 4]"]))


def test_without_shadows_the_ground_is_brighter_and_aircraft_stay_as_they_are():
    plain = ["sensor.read=null", "sensor.shot=null", "sensor.jpeg=null", "atmosphere.haze=null"]
    lit, dark = scene(*plain, "light.shadows=false"), scene(*plain, "light.shadows=true")
    assert lit.boxes.tolist() == dark.boxes.tolist()
    assert lit.image.astype(int).mean() > dark.image.astype(int).mean()


def test_snow_whitens_the_open_ground():
    before, after = (
        np.mean([scene(f"ground.snow={share}", index=index).image.mean() for index in range(6)]) for share in (0, 1)
    )
    assert after > before + 10


def test_rain_darkens_the_pavement():
    before, after = (
        np.mean([scene(f"ground.wet={share}", index=index).image.mean() for index in range(6)]) for share in (0, 1)
    )
    assert after < before


def test_every_step_of_the_sensor_can_be_switched_off():
    steps = (
        "blur",
        "shot",
        "read",
        "sharpening",
        "saturation",
        "contrast",
        "gamma",
        "gain",
        "offset",
        "warmth",
        "jpeg",
    )
    off = scene(*(f"sensor.{step}=null" for step in steps))
    noisy = scene(*(f"sensor.{step}=null" for step in steps if step != "read"), "sensor.read=[9, 9]")

    def roughness(image):
        return np.abs(np.diff(image.astype(int), axis=1)).mean()

    assert roughness(noisy.image) > roughness(off.image) + 3


def test_equipment_and_decoys_fill_a_scene():
    empty, full = (scene(f"clutter.equipment={n}", f"clutter.decoys={n}", "clutter.vehicles=0") for n in (0, 5))
    assert not np.array_equal(empty.image, full.image)


def test_a_zoom_changes_the_ground_sample_distance_of_each_scene():
    seen = [scene("view.zoom=[0.5, 2]", index=index, size=256).gsd for index in range(12)]
    assert min(seen) < 0.7
    assert max(seen) > 1.0
    assert all(0.4 <= gsd <= 1.6 for gsd in seen)
