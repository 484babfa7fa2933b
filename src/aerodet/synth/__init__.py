"""Procedural overhead scenes of airports with aircraft of true size, so that a first run needs no data.

Two looks of the same world: ``synthetic``, clean and bright as a renderer leaves it, and ``sensor``, as a satellite
delivers it. A detector trained on the first alone loses on the second, which is the gap that fine-tuning closes.

::

    settings = SceneSettings(size=256, gsd=1.0, look="sensor")
    for scene in render_scenes(settings, count=200, seed=7, workers=4):
        ...  # scene.image, scene.boxes, scene.labels, scene.group
"""

from aerodet.synth.scenes import CLASSES, Scene, SceneSettings, render_scene, render_scenes
from aerodet.synth.sheet import contact_sheet

__all__ = ["CLASSES", "Scene", "SceneSettings", "contact_sheet", "render_scene", "render_scenes"]
