"""Write TFRecords and the spec for a TAO container."""

from typing import Optional

from kfp import dsl

from aerodet.components._image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tao_records(
    dataset: dsl.Input[dsl.Dataset],
    records: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    spec: str,
    name: str,
    seed: int,
    steps: int = 0,
    gpus: int = 1,
    validation_fraction: float = 0.0,
    synthetic_share: float = 0.0,
    synthetic: Optional[dsl.Input[dsl.Dataset]] = None,
):
    """Write what a TAO container needs beside the images: TFRecords, label files and the spec, held against limits.

    Args:
        dataset: Image set.
        records: TFRecords, ``labels.tar``, ``spec.txt`` and ``records.json``.
        metrics: Images, and epochs of a training.
        spec: Experiment spec, protobuf text; its data, length, start and seed are replaced.
        name: Of what is trained or evaluated, for messages.
        seed: Of the training, and of the choice of validation images.
        steps: Optimiser steps of a training; 0: the images are there to evaluate on.
        gpus: That share an epoch.
        validation_fraction: Share of ``dataset`` that is validated on while training.
        synthetic_share: Share of an epoch that comes from ``synthetic``.
        synthetic: Image set to mix in.
    """
    from aerodet import stages

    stages.run(stages.tao_records, locals())
