"""Render overhead scenes of airports."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def synthesize(
    dataset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    look: str,
    count: int,
    size: int,
    gsd: float,
    seed: int,
    world: int = 0,
    first: int = 0,
):
    """Render overhead scenes of airports with true boxes, masks and attributes.

    Args:
        dataset: Image set: COCO annotations and tar shards.
        metrics: Images and boxes.
        look: A look by name (``synthetic``, ``sensor``, ``varied``), or its YAML.
        count: Number of scenes.
        size: Side of a scene in pixels, a multiple of 16.
        gsd: Ground sample distance in metres per pixel.
        seed: The run's seed.
        world: Added to the seed: sets of different worlds share no airport.
        first: Number of the first scene; a parallel loop gives each of its tasks another.
    """
    from aerodet import stages

    stages.run(stages.synthesize, locals())
