"""Train with TAO."""

from typing import Optional

from kfp import dsl

from aerodet.components._script import command
from aerodet.tao.commands import TRAIN_IMAGE


@dsl.container_component
def tao_train(
    dataset: dsl.Input[dsl.Dataset],
    records: dsl.Input[dsl.Dataset],
    trained: dsl.Output[dsl.Model],
    name: str,
    gpus: int = 1,
    state: str = "",
    synthetic: Optional[dsl.Input[dsl.Dataset]] = None,
    init: Optional[dsl.Input[dsl.Model]] = None,
):
    """Train a DetectNet_v2 with NVIDIA's TAO.

    Args:
        dataset: Image set to train on.
        records: Its TFRecords and spec, of ``tao_records``.
        trained: ``model.hdf5``, ``spec.txt`` and ``status.json``.
        name: The arm's name.
        gpus: Of the pod.
        state: Folder that outlives the pod; a training that was stopped goes on from there. Empty: none.
        synthetic: Image set that is mixed in.
        init: Results of another TAO task to start from.
    """
    return dsl.ContainerSpec(
        image=TRAIN_IMAGE,
        command=command("train"),
        args=[
            "--dataset",
            dataset.path,
            "--records",
            records.path,
            "--out",
            trained.path,
            "--name",
            name,
            "--gpus",
            gpus,
            "--state",
            state,
            dsl.IfPresentPlaceholder("synthetic", then=["--synthetic", synthetic.path]),
            dsl.IfPresentPlaceholder("init", then=["--init", init.path]),
        ],
    )
