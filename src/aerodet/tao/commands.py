"""Command lines of TAO's ``detectnet_v2`` tasks, held against the flags that the containers know.

The tables are those of TAO 5.0 (``nvidia_tao_tf1/cv/detectnet_v2/scripts``, ``cv/common/magnet_prune.py``,
``cv/common/export/app.py``) and of TAO Deploy 7.3 (``nvidia_tao_deploy/cv/detectnet_v2/scripts``), reduced to what is
not a leftover.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aerodet.errors import SpecError

__all__ = ["DEPLOY_IMAGE", "FLAGS", "TRAIN_IMAGE", "Command", "Flag", "Group"]

# What launcher 6.26.3 maps `model detectnet_v2` and `deploy detectnet_v2` to; the first is the last release that trains
# DetectNet_v2.
TRAIN_IMAGE = "nvcr.io/nvidia/tao/tao-toolkit:5.0.0-tf1.15.5"
DEPLOY_IMAGE = "nvcr.io/nvidia/tao/tao-toolkit:6.26.3-deploy"

Group = Literal["model", "deploy"]


@dataclass(frozen=True)
class Flag:
    """A flag of a task.

    Args:
        name: as it is written, with its dashes.
        switch: it takes no value.
        required: the task does not start without it.
        choices: the values that it takes; empty for any.
    """

    name: str
    switch: bool = False
    required: bool = False
    choices: tuple[str, ...] = ()


def _table(*flags: str | Flag, required: tuple[str, ...] = ()) -> dict[str, Flag]:
    entries = [flag if isinstance(flag, Flag) else Flag(flag, required=flag in required) for flag in flags]
    return {flag.name: flag for flag in entries}


_VERBOSE, _STRICT, _FORCE_PTQ = Flag("-v", switch=True), Flag("-s", switch=True), Flag("--force_ptq", switch=True)
_DATA_TYPE = Flag("--data_type", choices=("fp32", "fp16", "int8"))
# Of every task in the training container, behind the subtask; several GPUs are used by train alone.
_COMMON = ("--gpus", "--gpu_index", "--num_processes", "--log_file")

FLAGS: Mapping[Group, Mapping[str, Mapping[str, Flag]]] = {
    "model": {
        "dataset_convert": _table("-d", "-o", "-f", "-r", _VERBOSE, *_COMMON, required=("-d", "-o")),
        "train": _table(
            "-e",
            "-r",
            "-n",
            "-k",
            Flag("--enable_determinism", switch=True),
            Flag("--use_amp", switch=True),
            _VERBOSE,
            *_COMMON,
            required=("-e", "-r"),
        ),
        "evaluate": _table(
            "-e",
            "-m",
            "-r",
            "-k",
            Flag("--use_training_set", switch=True),
            Flag("-f", choices=("tlt", "tensorrt")),
            _VERBOSE,
            *_COMMON,
            required=("-e", "-m"),
        ),
        "prune": _table(
            "-m",
            "-o",
            "--results_dir",
            "-k",
            Flag("-n", choices=("max", "L2")),
            Flag("-eq", choices=("arithmetic_mean", "geometric_mean", "union", "intersection")),
            "-pg",
            "-pth",
            "-nf",
            "-el",
            _VERBOSE,
            *_COMMON,
            required=("-m", "-o"),
        ),
        "export": _table(
            "-m",
            "-k",
            "-o",
            "--cal_json_file",
            Flag("--gen_ds_config", switch=True),
            "-e",
            "--static_batch_size",
            "--target_opset",
            "--results_dir",
            _VERBOSE,
            *_COMMON,
        ),
        "inference": _table("-e", "-i", "-r", "-m", "-b", "-k", _VERBOSE, *_COMMON, required=("-e", "-i", "-r")),
    },
    "deploy": {
        "gen_trt_engine": _table(
            "-m",
            "-e",
            "-r",
            "-k",
            _DATA_TYPE,
            "--engine_file",
            "--cal_cache_file",
            "--cal_json_file",
            "--cal_image_dir",
            "--cal_data_file",
            "--batch_size",
            "--min_batch_size",
            "--opt_batch_size",
            "--max_batch_size",
            "--batches",
            "--max_workspace_size",
            _FORCE_PTQ,
            _STRICT,
            _VERBOSE,
            "--gpu_index",
            "--log_file",
            required=("-m", "-e", "-r"),
        ),
        "evaluate": _table(
            "-e", "-m", "-i", "-l", "-b", "-r", "--gpu_index", "--log_file", required=("-e", "-m", "-r")
        ),
        "inference": _table("-e", "-i", "-m", "-b", "-r", "--gpu_index", "--log_file", required=("-e", "-m", "-r")),
    },
}


@dataclass(frozen=True)
class Command:
    """One task of a container.

    Args:
        group: ``model`` for the training container, ``deploy`` for the deploy container.
        subtask: ``train``, ``evaluate``...
        options: values by flag, in the order of the command line; True for a switch, False leaves it out.

    Raises:
        SpecError: the container does not know the subtask, a flag or a value, or a required flag is missing.
    """

    group: Group
    subtask: str
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        table = FLAGS[self.group].get(self.subtask)
        what = f"`tao {self.group} detectnet_v2 {self.subtask}`"
        if table is None:
            raise SpecError(f"there is no {what}; the subtasks are {', '.join(FLAGS[self.group])}")
        for name, value in self.options.items():
            flag = table.get(name)
            if flag is None:
                raise SpecError(f"{what} has no flag {name}; it has {', '.join(table)}")
            if flag.switch != isinstance(value, bool):
                raise SpecError(
                    f"{what}: {name} {'is a switch and takes no value' if flag.switch else 'needs a value'}"
                )
            if flag.choices and value not in flag.choices:
                raise SpecError(f"{what}: {name} is one of {', '.join(flag.choices)}, not {value}")
        if missing := [flag.name for flag in table.values() if flag.required and flag.name not in self.options]:
            raise SpecError(f"{what} needs {' and '.join(missing)}")

    @property
    def image(self) -> str:
        """The container's image."""
        return TRAIN_IMAGE if self.group == "model" else DEPLOY_IMAGE

    def words(self) -> list[str]:
        """Return the command as it is run inside the container, ``detectnet_v2 SUBTASK ...``."""
        words = ["detectnet_v2", self.subtask]
        for name, value in self.options.items():
            if isinstance(value, bool):
                words += [name] if value else []
            else:
                words += [name, f"{value:.7g}" if isinstance(value, float) else str(value)]
        return words

    def launcher(self) -> str:
        """Return the line for TAO's launcher, ``tao GROUP detectnet_v2 SUBTASK ...``."""
        return shlex.join(["tao", self.group, *self.words()])
