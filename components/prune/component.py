"""Cut weak channels out of a checkpoint."""

from typing import Optional

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prune(
    model: dsl.Input[dsl.Model],
    pruned: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    threshold: float = 0.0,
    keep: float = 0.0,
    normalizer: str = "max",
    criterion: str = "union",
    granularity: int = 8,
    min_filters: int = 16,
    importance: str = "l2",
    params: int = 0,
    products: float = 0.0,
    dataset: Optional[dsl.Input[dsl.Dataset]] = None,
):
    """Cut weak channels out of a checkpoint by TAO's rule; the tensors really get smaller.

    Args:
        model: Float checkpoint.
        pruned: Smaller checkpoint and ``pruning.json``.
        metrics: Parameters before and after, and the threshold if one was used.
        threshold: ``-pth``, used when ``keep`` and ``params`` are 0.
        keep: Share of the parameters to keep at most; the lowest threshold that does it is searched.
        normalizer: ``max`` or ``L2``.
        criterion: ``union``, ``intersection``, ``arithmetic_mean`` or ``geometric_mean``.
        granularity: The number of channels kept is a multiple of it.
        min_filters: At least so many stay.
        importance: ``l2`` as TAO measures it, ``bn`` (scale of the batch normalisation) or ``taylor`` (change of loss).
        params: Parameters to keep at most, reached as nearly as one block of channels allows; 0: by the others.
        products: With ``params``: multiply-accumulates for a pixel of the input, at most; 0: any number.
        dataset: Image set that ``taylor`` measures on.
    """
    from aerodet import stages

    stages.run(stages.prune, locals())
