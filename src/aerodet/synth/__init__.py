"""Procedural overhead scenes of airports with aircraft of true size and shape, labelled by their visible masks.

A look says what is drawn at random. Three come with aerodet: ``synthetic``, clean and bright as a renderer leaves it;
``sensor``, as a satellite delivers it; ``varied``, all that one cannot know of photographs. A detector trained on the
first alone loses on the second, which is the gap that fine-tuning closes.

::

    settings = SceneSettings(size=512, gsd=0.5, look=load_look("varied", ["light.shadows=false"]))
    for scene in render_scenes(settings, count=200, seed=7, workers=4):
        ...  # scene.image, scene.boxes, scene.masks, scene.details, scene.group
    render_set(Path("scenes"), settings, 5000, seed=7, workers=4)
"""

from aerodet.synth.job import render_set
from aerodet.synth.look import Look, load_look, look_names, look_text
from aerodet.synth.scenes import CLASSES, Scene, SceneSettings, render_scene, render_scenes
from aerodet.synth.sheet import contact_sheet, set_sheet

__all__ = [
    "CLASSES",
    "Look",
    "Scene",
    "SceneSettings",
    "contact_sheet",
    "load_look",
    "look_names",
    "look_text",
    "render_scene",
    "render_scenes",
    "render_set",
    "set_sheet",
]
