"""Hold synthetic images against real ones."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gap(
    real: dsl.Input[dsl.Dataset],
    synthetic: dsl.Input[dsl.Dataset],
    gap: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    images: int,
    seed: int,
    real_gsd: float = 0.0,
    synthetic_gsd: float = 0.0,
):
    """Hold the statistics of a synthetic set against those of a real one: how far apart they are, and in what.

    Args:
        real: Image set.
        synthetic: Image set.
        gap: ``gap.json``: statistics, histograms and distances, and a few pictures of each set.
        page: The same as one self-contained HTML file.
        metrics: The distance of each statistic, in standard deviations of the real set.
        images: Looked at in each set, drawn by seed; labels are those of all.
        seed: Of the draw.
        real_gsd: Metres a pixel of the real images; 0: what they say of themselves.
        synthetic_gsd: Metres a pixel of the synthetic images; 0: what they say of themselves.
    """
    from aerodet import stages

    stages.run(stages.gap, locals())
