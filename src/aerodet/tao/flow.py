"""The whole flow for TAO's containers, every spec and every command line, from one typed description.

::

    flow = TaoFlow(options=SpecOptions(classes=("aircraft",), image_width=512, image_height=512))
    flow.specs()["finetune"]        # a message; format_spec(..., for_tao=True) writes it as text
    flow.commands()                 # what to run, in order

Folders are those inside the containers::

    ROOT/data/<set>/images, .../labels         KITTI, as aerodet.data.write_kitti writes it
    ROOT/data/tfrecords/<set>/<set>-fold-...   by dataset_convert or aerodet.data.write_tfrecords
    ROOT/specs/<name>.txt
    ROOT/results/<name>/                       one a task: a training that finds another's checkpoints continues it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aerodet.detectnet import _experiment_pb2 as pb
from aerodet.detectnet.spec import DatasetExportConfig, Experiment, Inference
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import SpecError
from aerodet.tao.checks import check_flow
from aerodet.tao.commands import Command

if TYPE_CHECKING:
    from aerodet.detectnet.prune import PruneOptions

__all__ = ["SETS", "TRAININGS", "Spec", "TaoArm", "TaoFlow", "build_inference"]

Spec = Experiment | DatasetExportConfig | Inference

SETS = ("real_train", "real_test", "real_subset", "synthetic_train", "synthetic_test")
TRAININGS = ("train_real", "train_synthetic", "finetune", "retrain", "qat")  # in the order of the flow
_TEST_SETS = ("real_test", "synthetic_test")
_ENGINE = "model.engine"


@dataclass(frozen=True)
class TaoArm:
    """What one training has of its own.

    Args:
        epochs: passes over the images.
        max_learning_rate: at the plateau of the schedule.
        mix: also train on the synthetic images.
    """

    epochs: int = 120
    max_learning_rate: float = 5e-4
    mix: bool = False


def _prune_options() -> PruneOptions:
    from aerodet.detectnet.prune import PruneOptions  # torch, a second

    return PruneOptions(threshold=0.5)  # the article's


@dataclass(frozen=True)
class TaoFlow:
    """The description of a flow.

    Args:
        options: what all trainings share; data, start, epochs and learning rate come from the rest.
        arms: by training (:data:`TRAININGS`); the default for those that are not named.
        prune: as for :func:`aerodet.detectnet.prune.prune`.
        val_split: percent of a training set to validate on while training.
        num_shards: files a fold of TFRecords.
        gpus: of a training.
        engine_batch: largest batch of the engine.
        root: the folder in the containers that holds ``data``, ``specs`` and ``results``.

    Raises:
        SpecError: an arm is no training of the flow, or the values break a limit of TAO; all are named.
    """

    options: SpecOptions = field(default_factory=SpecOptions)
    arms: Mapping[str, TaoArm] = field(default_factory=dict)
    prune: PruneOptions = field(default_factory=_prune_options)
    val_split: float = 10.0
    num_shards: int = 10
    gpus: int = 1
    engine_batch: int = 16
    root: str = "/workspace"

    def __post_init__(self) -> None:
        if unknown := sorted(self.arms.keys() - set(TRAININGS)):
            raise SpecError(f"the flow has no training {', '.join(unknown)}; it has {', '.join(TRAININGS)}")
        if self.gpus < 1:
            raise SpecError(f"gpus must be at least 1, not {self.gpus}")
        faults = check_flow(self.specs())
        if faults:
            raise SpecError("\n  ".join([f"TAO would refuse or misread {len(faults)} values of the flow:", *faults]))

    # ------------------------------------------------------------------------------------------------------- specs

    def specs(self) -> dict[str, Spec]:
        """Return every spec of the flow by its name."""
        return {
            **{f"convert_{name}": self._convert(name) for name in SETS},
            **{name: self.training(name) for name in TRAININGS},
            "evaluate": self._evaluate(qat=False),
            "gen_trt_engine": self._evaluate(qat=True),
            "inference": build_inference(self.options, engine=self.engine),
        }

    def _convert(self, name: str) -> DatasetExportConfig:
        return DatasetExportConfig(
            kitti_config=pb.KITTIConfig(
                root_directory_path=f"{self.root}/data/{name}",
                image_dir_name="images",
                label_dir_name="labels",
                image_extension=f".{self.options.image_extension}",
                partition_mode="random",
                num_partitions=2,
                num_shards=self.num_shards,
                val_split=0.0 if name in _TEST_SETS else self.val_split,
            ),
            image_directory_path=f"{self.root}/data/{name}",
        )

    def training(self, name: str) -> Experiment:
        """Return the spec of a training of :data:`TRAININGS`."""
        arm = self.arms.get(name, TaoArm())
        own = {"train_real": "real_train", "train_synthetic": "synthetic_train"}.get(name, "real_subset")
        sources = (self._source(own), *((self._source("synthetic_train"),) if arm.mix else ()))
        start = {
            "finetune": self.model("train_synthetic"),
            "retrain": self.pruned,
            "qat": self.model("retrain"),
        }.get(name, "")
        options = replace(
            self.options,
            data_sources=sources,
            validation_source=None,  # fold 0 of the sources
            pretrained=start,
            load_graph=bool(start),  # without it TAO takes the backbone alone and starts the heads anew
            epochs=arm.epochs,
            max_learning_rate=arm.max_learning_rate,
            min_learning_rate=min(self.options.min_learning_rate, arm.max_learning_rate),
            enable_qat=name == "qat",
        )
        return build_spec(options)

    def _evaluate(self, *, qat: bool) -> Experiment:
        """Return the spec of what is measured on the test images."""
        test = self._source("real_test")
        options = replace(self.options, data_sources=(self._source("real_train"),), validation_source=test)
        return build_spec(replace(options, enable_qat=qat, pretrained="", load_graph=False))

    # ---------------------------------------------------------------------------------------------------- commands

    def commands(self) -> list[Command]:
        """Return the commands of the flow in order; the TFRecords may come from :mod:`aerodet.data` instead."""
        commands = [self._convert_command(name) for name in SETS]
        for name in TRAININGS:
            if name == "retrain":
                commands.append(self._prune_command())
            commands.append(self._train_command(name))
            commands.append(self._evaluate_command(name))
        return [*commands, *self._deploy_commands()]

    def model(self, training: str) -> str:
        """Return where a training leaves its model."""
        return f"{self.root}/results/{training}/weights/{training}.hdf5"

    @property
    def pruned(self) -> str:
        """Where the pruned model lies."""
        return f"{self.root}/results/prune/pruned.hdf5"

    @property
    def engine(self) -> str:
        """Where the engine lies."""
        return f"{self.root}/results/gen_trt_engine/{_ENGINE}"

    def _convert_command(self, name: str) -> Command:
        prefix = f"{self.root}/data/tfrecords/{name}/{name}"
        return Command("model", "dataset_convert", {"-d": self._spec(f"convert_{name}"), "-o": prefix})

    def _train_command(self, name: str) -> Command:
        options: dict[str, str | int | float | bool] = {
            "-e": self._spec(name),
            "-r": f"{self.root}/results/{name}",
            "-n": name,
            "--gpus": self.gpus,
        }
        return Command("model", "train", options)

    def _evaluate_command(self, name: str) -> Command:
        options = {"-e": self._spec("evaluate"), "-m": self.model(name), "-r": f"{self.root}/results/evaluate_{name}"}
        return Command("model", "evaluate", options)

    def _prune_command(self) -> Command:
        p = self.prune
        options: dict[str, str | int | float | bool] = {
            "-m": self.model("finetune"),
            "-o": self.pruned,
            "--results_dir": f"{self.root}/results/prune",
            "-eq": p.criterion,
            "-n": p.normalizer,
            "-pg": p.granularity,
            "-nf": p.min_filters,
            "-pth": p.threshold,
        }
        return Command("model", "prune", options)

    def _deploy_commands(self) -> list[Command]:
        export, built = f"{self.root}/results/export", f"{self.root}/results/gen_trt_engine"
        onnx, scales, test = f"{export}/model.onnx", f"{export}/calibration.json", f"{self.root}/data/real_test"
        engine: dict[str, str | int | float | bool] = {
            "-m": onnx,
            "-e": self._spec("gen_trt_engine"),
            "-r": built,
            "--data_type": "int8",
            "--cal_json_file": scales,
            "--cal_cache_file": f"{built}/calibration.cache",
            "--engine_file": self.engine,
            "--min_batch_size": 1,
            "--opt_batch_size": min(8, self.engine_batch),
            "--max_batch_size": self.engine_batch,
        }
        measured: dict[str, str | int | float | bool] = {  # a last batch that is not full would be left out
            "-e": self._spec("gen_trt_engine"),
            "-m": self.engine,
            "-i": f"{test}/images",
            "-l": f"{test}/labels",
            "-b": 1,
            "-r": f"{self.root}/results/evaluate_engine",
        }
        detected = {key: value for key, value in measured.items() if key != "-l"}
        detected |= {"-e": self._spec("inference"), "-r": f"{self.root}/results/inference"}
        return [
            Command(
                "model",
                "export",
                {"-m": self.model("qat"), "-o": onnx, "-e": self._spec("qat"), "--cal_json_file": scales},
            ),
            Command("deploy", "gen_trt_engine", engine),
            Command("deploy", "evaluate", measured),
            Command("deploy", "inference", detected),
        ]

    def _spec(self, name: str) -> str:
        return f"{self.root}/specs/{name}.txt"

    def _source(self, name: str) -> tuple[str, str]:
        return f"{self.root}/data/tfrecords/{name}/*", f"{self.root}/data/{name}"


def build_inference(options: SpecOptions, *, engine: str) -> Inference:
    """Build the spec of TAO Deploy's ``inference``.

    Args:
        options: as for the trainings.
        engine: its path; TAO Deploy takes the one of the command line.
    """
    o = options
    clustering = build_spec(o).postprocessing_config.target_class_config
    handlers = {
        name: pb.ClasswiseBboxHandlerConfig(
            clustering_config=clustering[name].clustering_config,
            confidence_model="aggregate_cov",
            output_map=name,
            bbox_color=pb.ClasswiseBboxHandlerConfig.BboxColor(R=0, G=255, B=0),
        )
        for name in o.classes
    }
    return Inference(
        inferencer_config=pb.InferencerConfig(
            tensorrt_config=pb.TensorRTConfig(
                parser=pb.TensorRTConfig.ETLT,
                backend_data_type=pb.TensorRTConfig.INT8,
                trt_engine=engine,
            ),
            target_classes=o.classes,
            batch_size=1,
            image_height=o.image_height,
            image_width=o.image_width,
            image_channels=3,
            stride=16,
        ),
        bbox_handler_config=pb.BboxHandlerConfig(
            kitti_dump=True, disable_overlay=False, overlay_linewidth=2, classwise_bbox_handler_config=handlers
        ),
    )
