"""Evaluate a checkpoint or an exported graph."""

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    graph: str = "",
):
    """Evaluate a checkpoint with PyTorch, or a graph of an export with ONNX Runtime.

    Args:
        model: Checkpoint, or the files of an export.
        dataset: Image set with the truth.
        evaluation: ``evaluation.json`` (COCO and TAO average precision, curve, slices) and ``detections.json``.
        metrics: The average precisions, in percent.
        graph: File of the export to evaluate, such as ``model.int8.onnx``; empty for a checkpoint.
    """
    from aerodet import stages

    stages.run(stages.evaluate, locals())
