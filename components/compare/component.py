"""Compare the points of a compression search."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    candidates: dsl.Input[dsl.Artifact],
    subset: dsl.Input[dsl.Dataset],
    test: dsl.Input[dsl.Dataset],
    results: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    chosen: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    run_id: str,
    profile: str,
    started: float,
):
    """Compare the points of a compression search, and put the one to take aside.

    Args:
        candidates: All points.
        subset: The real images that were trained on.
        test: Image set that everything was tested on.
        results: ``results.json``: all points, which are on the front, which is chosen, and what pruning was worth.
        report: The HTML file.
        chosen: Export of the best point within the budget, and ``chosen.json``, which says if there is none.
        metrics: Number of points, AP50 of the unpruned network and of the chosen one, its speed.
        run_id: The run.
        profile: The profile as JSON.
        started: When the run began, seconds since 1970; 0 leaves the duration out.
    """
    from aerodet import stages

    stages.run(stages.compare, locals())
