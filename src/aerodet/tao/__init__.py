"""NVIDIA's TAO containers as a back end: specs, command lines, results, weights.

::

    flow = TaoFlow(options=SpecOptions())          # every spec and command of the flow, held against TAO's limits
    read_status(results)                           # how a task ended, its figures
    model = read_weights(Path("model.hdf5"))       # a TAO checkpoint as a DetectNet, and write_weights back

Nothing here needs TAO: the containers hold it, and ``nvidia-tao`` cannot share an environment with Kubeflow Pipelines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aerodet.tao.checks import check_flow, notes
from aerodet.tao.commands import DEPLOY_IMAGE, FLAGS, TRAIN_IMAGE, Command
from aerodet.tao.flow import SETS, TRAININGS, TaoArm, TaoFlow, build_inference
from aerodet.tao.mounts import write_mounts
from aerodet.tao.status import TaoStatus, read_results, read_status

if TYPE_CHECKING:
    from aerodet.tao.weights import read_weights, write_weights

__all__ = [
    "DEPLOY_IMAGE",
    "FLAGS",
    "SETS",
    "TRAININGS",
    "TRAIN_IMAGE",
    "Command",
    "TaoArm",
    "TaoFlow",
    "TaoStatus",
    "build_inference",
    "check_flow",
    "notes",
    "read_results",
    "read_status",
    "read_weights",
    "write_mounts",
    "write_weights",
]


def __getattr__(name: str) -> Any:
    if name in ("read_weights", "write_weights"):  # torch, a second
        from aerodet.tao import weights

        return getattr(weights, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
