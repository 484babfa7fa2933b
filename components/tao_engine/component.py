"""Build an engine with TAO Deploy."""

from kfp import dsl

from aerodet.components._script import command
from aerodet.tao.commands import DEPLOY_IMAGE


@dsl.container_component
def tao_engine(
    model: dsl.Input[dsl.Model],
    engine: dsl.Output[dsl.Model],
    best: int = 8,
    batch: int = 16,
):
    """Build an INT8 engine with TAO Deploy, for the GPU that the pod runs on.

    Args:
        model: Results of ``tao_export``.
        engine: ``model.engine``, ``calibration.cache``, ``build.json``, and what it was built from.
        best: Batch that it is tuned for.
        batch: Largest batch.
    """
    return dsl.ContainerSpec(
        image=DEPLOY_IMAGE,
        command=command("engine"),
        args=[
            "--model",
            model.path,
            "--out",
            engine.path,
            "--best",
            best,
            "--batch",
            batch,
        ],
    )
