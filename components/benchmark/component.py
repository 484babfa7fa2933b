"""Compare the latency of two exports."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def benchmark(
    float_bundle: dsl.Input[dsl.Model],
    int8_bundle: dsl.Input[dsl.Model],
    benchmark: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    batch: int,
    threads: int,
    pairs: int,
):
    """Compare the latency of the unpruned float graph and the INT8 graph, alternating, on the same threads.

    Args:
        float_bundle: Export of the unpruned float model.
        int8_bundle: Export of the quantised model.
        benchmark: ``benchmark.json``.
        metrics: Medians in milliseconds and their ratio.
        batch: Images a call.
        threads: CPU threads.
        pairs: Pairs of calls.
    """
    from aerodet import stages

    stages.run(stages.benchmark, locals())
