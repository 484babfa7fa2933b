"""Prune with TAO."""

from kfp import dsl

from aerodet.components._script import command
from aerodet.tao.commands import TRAIN_IMAGE


@dsl.container_component
def tao_prune(
    model: dsl.Input[dsl.Model],
    plan: dsl.Input[dsl.Model],
    pruned: dsl.Output[dsl.Model],
    normalizer: str = "max",
    criterion: str = "union",
    granularity: int = 8,
    min_filters: int = 16,
):
    """Cut weak channels out of a TAO checkpoint.

    Args:
        model: Results of ``tao_train``.
        plan: Of ``prune`` on the same checkpoint; its threshold is taken.
        pruned: ``model.hdf5``, ``spec.txt`` and ``status.json``.
        normalizer: ``max`` or ``L2``.
        criterion: ``union``, ``intersection``, ``arithmetic_mean`` or ``geometric_mean``.
        granularity: The number of channels kept is a multiple of it.
        min_filters: At least so many stay.
    """
    return dsl.ContainerSpec(
        image=TRAIN_IMAGE,
        command=command("prune"),
        args=[
            "--model",
            model.path,
            "--plan",
            plan.path,
            "--out",
            pruned.path,
            "--normalizer",
            normalizer,
            "--criterion",
            criterion,
            "--granularity",
            granularity,
            "--min_filters",
            min_filters,
        ],
    )
