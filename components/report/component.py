"""Write the report of a run."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    test: dsl.Input[dsl.Dataset],
    real: dsl.Input[dsl.Dataset],
    subset: dsl.Input[dsl.Dataset],
    synthetic: dsl.Input[dsl.Dataset],
    audit: dsl.Input[dsl.Artifact],
    gap: dsl.Input[dsl.Artifact],
    model_real: dsl.Input[dsl.Model],
    model_synthetic: dsl.Input[dsl.Model],
    model_finetune: dsl.Input[dsl.Model],
    model_pruned: dsl.Input[dsl.Model],
    model_retrained: dsl.Input[dsl.Model],
    model_qat: dsl.Input[dsl.Model],
    evaluation_real: dsl.Input[dsl.Artifact],
    evaluation_synthetic: dsl.Input[dsl.Artifact],
    evaluation_finetune: dsl.Input[dsl.Artifact],
    evaluation_pruned: dsl.Input[dsl.Artifact],
    evaluation_retrained: dsl.Input[dsl.Artifact],
    evaluation_qat: dsl.Input[dsl.Artifact],
    evaluation_int8: dsl.Input[dsl.Artifact],
    evaluation_int8_cpu: dsl.Input[dsl.Artifact],
    float_bundle: dsl.Input[dsl.Model],
    int8_bundle: dsl.Input[dsl.Model],
    benchmark: dsl.Input[dsl.Artifact],
    gate: dsl.Input[dsl.Artifact],
    version: dsl.Input[dsl.Artifact],
    results: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    run_id: str,
    profile: str,
    started: float,
):
    """Write ``results.json`` and the report of a run: one self-contained HTML file.

    Args:
        test: Image set that everything was tested on.
        real: Image set of the real arm.
        subset: The part of it that the finetune arm got.
        synthetic: Image set of the synthetic arm.
        audit: What the audit found.
        gap: Statistics of the real and the synthetic set.
        model_real: Checkpoint of the real arm.
        model_synthetic: Checkpoint of the synthetic arm.
        model_finetune: Checkpoint of the finetune arm.
        model_pruned: Pruned checkpoint.
        model_retrained: Retrained checkpoint.
        model_qat: Quantisation-aware checkpoint.
        evaluation_real: Of the real arm.
        evaluation_synthetic: Of the synthetic arm.
        evaluation_finetune: Of the finetune arm.
        evaluation_pruned: Of the pruned model.
        evaluation_retrained: Of the retrained model.
        evaluation_qat: Of the quantisation-aware model.
        evaluation_int8: Of the INT8 graph.
        evaluation_int8_cpu: Of the INT8 graph for CPUs.
        float_bundle: Export of the unpruned float model.
        int8_bundle: Export of the INT8 model.
        benchmark: Latency of both.
        gate: What the gate said of the INT8 model.
        version: What was published.
        results: ``results.json``.
        report: The HTML file.
        metrics: The run's headline figures.
        run_id: The run.
        profile: The profile as JSON.
        started: When the run began, seconds since 1970; 0 leaves the duration out.
    """
    from aerodet import stages

    stages.run(stages.report, locals())
