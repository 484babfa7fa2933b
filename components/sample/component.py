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
):
    """Take a fraction of every place's images: the few that somebody would label.

    Args:
        dataset: Image set.
        subset: The smaller image set.
        metrics: Images and boxes.
        fraction: Of the images, above 0 and at most 1.
        seed: Of the choice.
    """
    from aerodet import stages

    stages.run(stages.sample, locals())
