"""Score what TAO Deploy's inference found."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tao_score(
    detections: dsl.Input[dsl.Artifact],
    dataset: dsl.Input[dsl.Dataset],
    bundle: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
):
    """Score what TAO Deploy's inference found with an engine, by the metrics that everything else is scored by.

    Args:
        detections: Results of ``tao_inference``.
        dataset: Image set with the truth.
        bundle: Export that the engine is part of.
        evaluation: ``evaluation.json`` and ``detections.json``.
        metrics: The average precisions, in percent.
    """
    from aerodet import stages

    stages.run(stages.tao_score, locals())
