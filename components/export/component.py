"""Export a checkpoint for its consumers."""

from typing import List, Optional

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def export(
    model: dsl.Input[dsl.Model],
    bundle: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    engine: str = "auto",
    compute_capabilities: List[str] = ["8.9"],  # noqa: B006 - KFP reads the default, nobody changes it
    batch: int = 16,
    tao: Optional[dsl.Input[dsl.Model]] = None,
):
    """Export ONNX, and for a quantised model INT8 graphs, calibration files and TensorRT engines.

    Args:
        model: Checkpoint.
        bundle: The files, with ``files.json`` saying which is for whom.
        metrics: Bytes of the main files.
        engine: ``auto``: a TensorRT engine where a builder is installed; ``none``.
        compute_capabilities: GPUs to build for on a machine that has none.
        batch: Largest batch of the engine.
        tao: Results of ``tao_engine`` to put beside them.
    """
    from aerodet import stages

    stages.run(stages.export, locals())
