"""Detect with an engine, with TAO Deploy."""

from kfp import dsl

from aerodet.components._script import command
from aerodet.tao.commands import DEPLOY_IMAGE


@dsl.container_component
def tao_inference(
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    detections: dsl.Output[dsl.Artifact],
    spec: str,
):
    """Detect with an engine.

    Args:
        model: Results of ``tao_engine``.
        dataset: Image set.
        detections: ``labels/``, a KITTI file with confidences for each image.
        spec: Inference spec, protobuf text.
    """
    return dsl.ContainerSpec(
        image=DEPLOY_IMAGE,
        command=command("inference"),
        args=[
            "--model",
            model.path,
            "--dataset",
            dataset.path,
            "--out",
            detections.path,
            "--spec",
            spec,
        ],
    )
