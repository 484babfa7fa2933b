"""Evaluate an engine with TAO Deploy."""

from kfp import dsl

from aerodet.components._script import command
from aerodet.tao.commands import DEPLOY_IMAGE


@dsl.container_component
def tao_engine_evaluate(
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    records: dsl.Input[dsl.Dataset],
    results: dsl.Output[dsl.Artifact],
):
    """Evaluate an engine with TAO Deploy's metric.

    Args:
        model: Results of ``tao_engine``.
        dataset: Image set with the truth.
        records: Of ``tao_records`` on the same set; its labels are read.
        results: ``results.json``.
    """
    return dsl.ContainerSpec(
        image=DEPLOY_IMAGE,
        command=command("engine_evaluate"),
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
