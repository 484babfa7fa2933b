"""Judge whether an INT8 model may become the champion."""

from typing import List

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gate(
    test: dsl.Input[dsl.Dataset],
    real: dsl.Input[dsl.Dataset],
    synthetic: dsl.Input[dsl.Dataset],
    audit: dsl.Input[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact],
    parent: dsl.Input[dsl.Artifact],
    benchmark: dsl.Input[dsl.Artifact],
    gate: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    registry: str,
    name: str,
    run_id: str,
    seed: int,
    least_ap50: float,
    int8_drop: float,
    champion_drop: float,
    slice_drop: float,
    slice_boxes: int,
    speedup: float,
    replicates: int,
    slices: List[str],
):
    """Judge whether an INT8 model may become the champion, rule by rule, with the numbers.

    A model that does not pass is a result, not a failure: the task succeeds either way.

    Args:
        test: Image set that both evaluations were made on.
        real: Image set that was trained on.
        synthetic: Image set that was trained on.
        audit: Of the three sets.
        evaluation: Of the INT8 graph.
        parent: Evaluation of the float model that it was made from.
        benchmark: Latency against the float model.
        gate: ``gate.json``: each rule's verdict, sentence and figures.
        metrics: Whether it passed, and how many rules failed or were skipped.
        registry: Address; the champion is looked up there.
        name: Registered model.
        run_id: The run; it keeps KFP from taking another run's verdict, made against another champion.
        seed: Of the draws of images.
        least_ap50: AP50 that every champion has, percent.
        int8_drop: Points of AP50 that quantisation may cost.
        champion_drop: Points of AP50 below the champion that are no matter.
        slice_drop: Points of AP50 that a slice may lose.
        slice_boxes: Slices with fewer true boxes say nothing.
        speedup: Times as fast as the float model, at least.
        replicates: Draws of the test images.
        slices: ``size``, ``place`` and names of image attributes.
    """
    from aerodet import stages

    stages.run(stages.gate, locals())
