"""Take a fraction of an image set."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def sample(
    dataset: dsl.Input[dsl.Dataset],
    subset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    fraction: float,
    seed: int,
    frames: int = 0,
):
    """Take a fraction of every place's images, or a few whole frames: what somebody would label.

    Args:
        dataset: Image set.
        subset: The smaller image set.
        metrics: Images and boxes.
        fraction: Of the images, above 0 and at most 1; without meaning where ``frames`` are asked for.
        seed: Of the choice.
        frames: That are taken with all their tiles, from those that show an object; 0: take a fraction.
    """
    from aerodet import stages

    stages.run(stages.sample, locals())
