"""Read the figures of TAO's own evaluation."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tao_metrics(
    results: dsl.Input[dsl.Artifact],
    figures: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
):
    """Read the figures of an evaluation by TAO's trainer or TAO Deploy.

    Args:
        results: Results of ``tao_evaluate`` or ``tao_engine_evaluate``.
        figures: ``figures.json``.
        metrics: The same figures.
    """
    from aerodet import stages

    stages.run(stages.tao_metrics, locals())
