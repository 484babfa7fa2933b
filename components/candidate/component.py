"""Add a point to those of a compression search."""

from typing import Optional

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def candidate(
    bundle: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    evaluation_float: dsl.Input[dsl.Artifact],
    evaluation_teacher: dsl.Input[dsl.Artifact],
    teacher_bundle: dsl.Input[dsl.Model],
    benchmark: dsl.Input[dsl.Artifact],
    candidates: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    name: str,
    way: str,
    wanted: int,
    budget: float,
    target: str,
    before: Optional[dsl.Input[dsl.Artifact]] = None,
):
    """Add a point to those of a compression search, and keep the export of the best one so far.

    Args:
        bundle: INT8 export of the point.
        evaluation: Of its INT8 graph.
        evaluation_float: Of its checkpoint before quantisation.
        evaluation_teacher: Of the network that is compressed.
        teacher_bundle: Float export of that network.
        benchmark: Latency of both exports.
        candidates: ``candidates.json`` and ``best/``, the export of the best point within the budget.
        metrics: The point's parameters, bytes, AP50 and speed.
        name: Of the point.
        way: How it came to be: a measure of importance, ``one-shot``, ``narrow`` or ``narrow-distilled``.
        wanted: Parameters that were aimed at; points with the same number are compared.
        budget: Points of AP50 that the best may lose.
        target: Whose kernels its channels suit: ``cpu``, ``sm_80`` or ``sm_90``.
        before: Candidates so far.
    """
    from aerodet import stages

    stages.run(stages.candidate, locals())
