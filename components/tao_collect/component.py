"""Turn a TAO checkpoint into one that the other stages know."""

from typing import Optional

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tao_collect(
    trained: dsl.Input[dsl.Model],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    name: str,
    records: Optional[dsl.Input[dsl.Dataset]] = None,
    parent: Optional[dsl.Input[dsl.Model]] = None,
):
    """Turn what a TAO task left into the checkpoint that the other stages know.

    Args:
        trained: Results of ``tao_train`` or ``tao_prune``.
        model: Checkpoint, its spec and its history.
        metrics: What the task logged in its ``status.json``, and the parameters.
        name: The arm's name.
        records: What it was trained on, of ``tao_records``.
        parent: Checkpoint that it started from.
    """
    from aerodet import stages

    stages.run(stages.tao_collect, locals())
