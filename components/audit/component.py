"""Look for what is wrong with the data."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def audit(
    real: dsl.Input[dsl.Dataset],
    synthetic: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    audit: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
):
    """Look for broken boxes, unreadable and duplicate images, and places on both sides of the test split.

    Args:
        real: Image set of the real arm.
        synthetic: Image set of the synthetic arm.
        test: Image set that everything is tested on.
        audit: ``audit.json``: counts, histograms and findings.
        page: The same as one self-contained HTML file.
        metrics: Findings and errors.
    """
    from aerodet import stages

    stages.run(stages.audit, locals())
