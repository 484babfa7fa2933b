"""Show which labels a trained model doubts."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def review(
    real: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    audit: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    review: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
):
    """Rank the labels of the real and the test set by how much a trained model disagrees with them.

    Args:
        real: Image set of the real arm.
        test: Image set that everything is tested on.
        audit: What the audit found.
        model: Checkpoint that judges.
        review: ``review.json``: the disagreements, the gravest first.
        page: The audit with pictures of the most doubtful labels: one self-contained HTML file.
        metrics: Doubtful labels by kind.
    """
    from aerodet import stages

    stages.run(stages.review, locals())
