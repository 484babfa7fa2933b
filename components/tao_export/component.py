"""Export with TAO."""

from kfp import dsl

from aerodet.components._script import command
from aerodet.tao.commands import TRAIN_IMAGE


@dsl.container_component
def tao_export(
    model: dsl.Input[dsl.Model],
    exported: dsl.Output[dsl.Model],
):
    """Export a quantisation-aware TAO checkpoint.

    Args:
        model: Results of ``tao_train`` with ``enable_qat``.
        exported: ``model.onnx``, ``calibration.json`` and ``spec.txt``.
    """
    return dsl.ContainerSpec(
        image=TRAIN_IMAGE,
        command=command("export"),
        args=[
            "--model",
            model.path,
            "--out",
            exported.path,
        ],
    )
