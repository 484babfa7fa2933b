"""Jobs: image sets of scenes, their annotations, parts and continuation."""

from __future__ import annotations

import numpy as np
import pytest

from aerodet.data import ImageSet, decode_mask, gather_image_sets
from aerodet.errors import DataError, SpecError
from aerodet.files import folder_digest
from aerodet.synth import SceneSettings, load_look, render_scene, render_set
from aerodet.synth import job as module

SETTINGS = SceneSettings(size=128, gsd=1.0, look=load_look("varied", ["labels.margin=[0, 0]"]), empty=0.2)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job") / "scenes"
    render_set(folder, SETTINGS, 6, seed=4)
    return folder


def test_the_set_has_each_scene_with_its_masks_and_attributes(rendered):
    images = ImageSet(rendered)
    assert [record.id for record in images.records] == [1, 2, 3, 4, 5, 6]
    assert sum(len(record.boxes) for record in images.records) > 5
    for index, record in enumerate(images.records):
        scene = render_scene(SETTINGS, 4, index)
        assert np.array_equal(images.image(index), scene.image)
        assert record.group == scene.group
        assert record.attributes["gsd"] == pytest.approx(scene.gsd, abs=1e-4)
        for detail, mask, box in zip(record.details, scene.masks, record.boxes, strict=True):
            assert np.array_equal(decode_mask(detail["segmentation"]), mask)
            assert detail["area"] == mask.sum()
            assert 0 < detail["visible_fraction"] <= 1
            assert detail["role"]
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_parts_gathered_are_the_whole_byte_for_byte(rendered, tmp_path):
    for first, count in ((0, 2), (2, 3), (5, 1)):
        render_set(tmp_path / str(first), SETTINGS, count, seed=4, first=first)
    gather_image_sets([tmp_path / name for name in ("0", "2", "5")], tmp_path / "whole")
    assert folder_digest(tmp_path / "whole") == folder_digest(rendered)


def test_parts_with_the_same_scenes_are_refused(rendered, tmp_path):
    with pytest.raises(DataError, match="already in"):
        gather_image_sets([rendered, rendered], tmp_path / "whole")
    with pytest.raises(DataError, match="at least one"):
        gather_image_sets([], tmp_path / "whole")


def test_a_job_that_was_stopped_keeps_its_finished_parts_and_ends_with_the_same_bytes(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART", 2)
    drawn = []

    def stopping(settings, count, seed, workers=None, *, first=0):
        if first == 4:
            raise KeyboardInterrupt
        drawn.append(first)
        return original(settings, count, seed, workers, first=first)

    original = module.render_scenes
    monkeypatch.setattr(module, "render_scenes", stopping)
    with pytest.raises(KeyboardInterrupt):
        render_set(tmp_path / "scenes", SETTINGS, 6, seed=4, continued=True)
    assert not (tmp_path / "scenes").exists()
    monkeypatch.setattr(module, "render_scenes", original)
    monkeypatch.setattr(module, "render_scenes", lambda *a, **k: drawn.append(k["first"]) or original(*a, **k))
    render_set(tmp_path / "scenes", SETTINGS, 6, seed=4, continued=True)
    assert drawn == [0, 2, 4]
    assert folder_digest(tmp_path / "scenes") == folder_digest(rendered)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


@pytest.mark.parametrize(("count", "first"), [(0, 0), (-1, 0), (1, -1)])
def test_a_job_without_scenes_is_refused(count, first, tmp_path):
    with pytest.raises(SpecError, match="at least 1 scene"):
        render_set(tmp_path / "scenes", SETTINGS, count, seed=4, first=first)
