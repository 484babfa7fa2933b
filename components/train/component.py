"""Train a DetectNet_v2."""

from typing import Optional

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    spec: str,
    name: str,
    steps: int,
    seed: int,
    validation_fraction: float = 0.0,
    synthetic_share: float = 0.0,
    state: str = "",
    synthetic: Optional[dsl.Input[dsl.Dataset]] = None,
    init: Optional[dsl.Input[dsl.Model]] = None,
    teacher: Optional[dsl.Input[dsl.Model]] = None,
    distillation: float = 1.0,
    gpus: int = 1,
    compile: str = "auto",  # noqa: A002
    deterministic: bool = False,  # noqa: FBT001, FBT002
):
    """Train a DetectNet_v2, from scratch or from a checkpoint, float or quantisation-aware.

    A stage that was stopped goes on from its newest checkpoint in ``state``.

    Args:
        dataset: Image set to train on.
        model: Checkpoint, its spec and its history.
        metrics: Parameters, images, epochs, AP50 on the validation images.
        spec: Experiment spec, protobuf text; ``num_epochs`` is replaced.
        name: The arm's name.
        steps: Optimiser steps.
        seed: Of weights, order and augmentation.
        validation_fraction: Share of ``dataset`` on which the epoch to keep is chosen.
        synthetic_share: Share of an epoch that comes from ``synthetic``.
        state: Folder or ``s3://bucket/prefix`` for TensorBoard events and the newest checkpoint; empty: none.
        synthetic: Image set to mix in.
        init: Checkpoint to start from; the spec's ``load_graph`` says how much of it is taken.
        teacher: Checkpoint of a larger network, whose answers are learned beside the labels.
        distillation: Weight of the teacher's answers, relative to the labels.
        gpus: To train on, one process each; without a GPU the CPU trains alone.
        compile: How a GPU runs steps: auto for what pays, or off, graph, inductor.
        deterministic: A seed gives the same weights again on a GPU; slower.
    """
    from aerodet import stages

    stages.run(stages.train, locals())
