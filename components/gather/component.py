"""Make one image set of several."""

from typing import List

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gather(
    parts: dsl.Input[List[dsl.Dataset]],
    dataset: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
):
    """Make one image set of those that a parallel loop made.

    Args:
        parts: Image sets whose ids and names differ.
        dataset: Image set with all their images, in their order.
        metrics: Images and boxes.
    """
    from aerodet import stages

    stages.run(stages.gather, locals())
