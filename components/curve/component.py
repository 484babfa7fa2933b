"""Add a point to a data-efficiency curve."""

from typing import Optional

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def curve(
    curve: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    percent: float = 0.0,
    frames: int = 0,
    subset: Optional[dsl.Input[dsl.Dataset]] = None,
    pretrained: Optional[dsl.Input[dsl.Artifact]] = None,
    scratch: Optional[dsl.Input[dsl.Artifact]] = None,
    previous: Optional[dsl.Input[dsl.Artifact]] = None,
):
    """Add a point to a data-efficiency curve: what was trained on so many real images, with and without pretraining.

    Args:
        curve: ``curve.json``: the points so far and this one.
        metrics: Real images, and AP50 with and without pretraining.
        percent: Of the real images that were asked for.
        frames: Real frames that were asked for instead.
        subset: The real images trained on; none: synthetic images alone.
        pretrained: Evaluation of the model that started from the synthetic one.
        scratch: Evaluation of the model that started from nothing.
        previous: The curve so far.
    """
    from aerodet import stages

    stages.run(stages.curve, locals())
