"""Evaluate with TAO."""

from kfp import dsl

from aerodet.components._script import command
from aerodet.tao.commands import TRAIN_IMAGE


@dsl.container_component
def tao_evaluate(
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    records: dsl.Input[dsl.Dataset],
    results: dsl.Output[dsl.Artifact],
):
    """Evaluate a TAO checkpoint with TAO's own metric.

    Args:
        model: Results of ``tao_train`` or ``tao_prune``.
        dataset: Image set with the truth.
        records: Its TFRecords and spec, of ``tao_records`` with ``steps`` 0.
        results: ``status.json``.
    """
    return dsl.ContainerSpec(
        image=TRAIN_IMAGE,
        command=command("evaluate"),
        args=[
            "--model",
            model.path,
            "--dataset",
            dataset.path,
            "--records",
            records.path,
            "--out",
            results.path,
        ],
    )
