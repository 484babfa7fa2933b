"""Write the report of a sweep."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def sweep_report(
    real: dsl.Input[dsl.Dataset],
    synthetic: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    curve: dsl.Input[dsl.Artifact],
    gap: dsl.Input[dsl.Artifact],
    results: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    run_id: str,
    profile: str,
    started: float,
):
    """Write ``results.json`` and the report of a sweep: the data-efficiency curve and the gap, in one HTML file.

    Args:
        real: Image set of the real arm.
        synthetic: Image set of the synthetic arm.
        test: Image set that everything was tested on.
        curve: All points.
        gap: Statistics of the real and the synthetic set.
        results: ``results.json``.
        report: The HTML file.
        metrics: AP50 of the points.
        run_id: The run.
        profile: The profile as JSON.
        started: When the run began, seconds since 1970; 0 leaves the duration out.
    """
    from aerodet import stages

    stages.run(stages.sweep_report, locals())
