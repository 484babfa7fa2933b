"""The schema of a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from aerodet.pipelines.profiles._cluster import Cluster

__all__ = [
    "Arm",
    "Augmentation",
    "Benchmark",
    "Compress",
    "Data",
    "Embedded",
    "Export",
    "Gap",
    "Gate",
    "Model",
    "Profile",
    "Prune",
    "Publish",
    "Sweep",
    "Tao",
    "Training",
]

Share = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]
ClassName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+$")]  # TAO lower-cases labels; upper case gives AP 0
OneOrMore = BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value])  # --set classes=ship
OffAsWord = BeforeValidator(lambda value: "off" if value is False else value)  # YAML reads off as false


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Embedded(_Section):
    """Scenes rendered where no folder of images is given."""

    real: Count = Field(300, description="sensor-look scenes that stand for the real images")
    synthetic: Count = Field(500, description="clean scenes for the synthetic arm")
    test: Count = Field(150, description="sensor-look scenes of other airports to test on")
    gsd: Annotated[float, Field(gt=0, le=5)] = Field(1.0, description="ground sample distance, m/px")
    look: str = Field("synthetic", description="of the synthetic scenes: a look that aerodet has, or a YAML file")
    parts: Count = Field(1, description="tasks that share the rendering of the synthetic scenes")


class Data(_Section):
    """Images of one's own, and how they are cut and split."""

    real: str = Field("", description="folder of COCO images; empty: embedded scenes")
    synthetic: str = Field("", description="folder of COCO images; empty: embedded scenes")
    test: str = Field("", description="folder of COCO images; empty: places held apart from `real`")
    classes: Annotated[list[str], OneOrMore] = Field(
        [], description="names in the COCO files, such as plane:aircraft for `plane` as `aircraft`; empty: `classes`"
    )
    class_from: str = Field("", description="field of the annotations that says the class, such as role")
    test_fraction: Fraction = Field(0.25, description="share of the images held apart when there is no test folder")
    overlap: Annotated[float, Field(ge=0, le=0.9)] = Field(0.2, description="of neighbours, as a share of a tile")
    scale: Annotated[float, Field(gt=0, le=4)] = Field(1.0, description="frames are resized by it before they are cut")
    min_visible: Share = Field(0.3, description="a box of which less than this is in a tile counts neither way there")
    keep_empty: Share = Field(0.5, description="share of the tiles without aircraft that is kept")
    tile_format: Literal["png", "jpg"] = Field(
        "png", description="png keeps pixels as they are, jpg is a quarter of it"
    )
    on_bad_box: Literal["fail", "fix", "drop"] = Field("fail", description="boxes outside the frame or of no size")
    on_bad_entry: Literal["fail", "fix", "drop"] = Field(
        "fail", description="images that are missing or listed twice, and boxes without a category"
    )
    min_side: Annotated[float, Field(ge=0)] = Field(
        2.0, description="px; boxes with a shorter side become regions to ignore"
    )
    duplicates: Literal["merge", "keep", "fail"] = Field(
        "merge", description="boxes that label an object a second time"
    )
    fraction: Fraction = Field(0.1, description="share of the real images that the finetune arm gets")


class Model(_Section):
    """The network."""

    arch: Literal["resnet10", "resnet18", "resnet34"] = "resnet18"
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    all_projections: bool = False
    bn_momentum: Annotated[float, Field(gt=0, lt=1)] = 0.99


class Augmentation(_Section):
    """TAO's augmentation, by TAO's names, for both axes where they are the same; and quarter turns."""

    hflip_probability: Share = 0.5
    vflip_probability: Share = 0.5
    zoom_min: Annotated[float, Field(gt=0)] = 0.8
    zoom_max: Annotated[float, Field(gt=0)] = 1.25
    translate_max: Annotated[float, Field(ge=0)] = 8.0
    turn_probability: Share = Field(0.0, description="of a quarter turn; not TAO's: the torch backend alone has it")
    color_shift_stddev: Annotated[float, Field(ge=0)] = 0.05
    hue_rotation_max: Annotated[float, Field(ge=0)] = 25.0
    saturation_shift_max: Share = 0.2
    contrast_scale_max: Share = 0.2


class Training(_Section):
    """What all arms share."""

    batch_size: Count = Field(16, description="of each GPU")
    gpus: Count = Field(1, description="that a training uses, one process each; without a GPU the CPU trains alone")
    compile: Annotated[Literal["auto", "off", "graph", "inductor"], OffAsWord] = Field(
        "auto", description="how a GPU runs steps: what pays; as written; as a CUDA graph; by Inductor as well"
    )
    deterministic: bool = Field(False, description="a seed gives the same weights again on a GPU; slower")
    min_learning_rate: Annotated[float, Field(gt=0)] = 5e-6
    soft_start: Annotated[float, Field(ge=0, lt=1)] = 0.1
    annealing: Annotated[float, Field(ge=0, lt=1)] = 0.5
    l1_weight: Annotated[float, Field(ge=0)] = 3e-9
    deadzone_radius: Share = 0.4
    cov_radius: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="of the coverage ellipse, share of the box"
    )
    bbox_min_radius: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="least radius of the coverage ellipse in cells of 16 px, for aircraft that stand close"
    )
    foreground_weight: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="of covered cells; TAO's is 0.05")
    cov_weight: Annotated[float, Field(gt=0)] = 1.0
    bbox_weight: Annotated[float, Field(gt=0)] = 10.0
    autoweighting: bool = Field(True, description="re-balance the two losses after each epoch, as TAO does")
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="share of an arm's own images on which the epoch to keep is chosen"
    )
    validation_period: Count = Field(2, description="epochs between validations")
    clustering: Literal["dbscan", "nms"] = "dbscan"
    dbscan_eps: Fraction = 0.15
    nms_iou: Fraction = 0.2
    coverage_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.05
    augmentation: Augmentation = Augmentation()  # type: ignore[call-arg]


class Arm(_Section):
    """One training."""

    steps: Count = Field(description="optimiser steps; the spec gets the epochs that come nearest from above")
    max_learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    synthetic_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of an epoch drawn from the synthetic images, beside the arm's own"
    )
    distillation: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of the finetuned network's answers beside the labels, for the arms that come after it"
    )


class Prune(_Section):
    """TAO's pruning options."""

    threshold: Annotated[float, Field(ge=0)] | None = Field(None, description="-pth; or give `keep`")
    keep: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.33, description="share of the parameters to keep at most: the lowest threshold that does it is searched"
    )
    normalizer: Literal["max", "L2"] = "max"
    criterion: Literal["union", "intersection", "arithmetic_mean", "geometric_mean"] = "union"
    importance: Literal["l2", "bn", "taylor"] = Field("l2", description="of a channel; l2 is TAO's")
    granularity: Count = 8
    min_filters: Annotated[int, Field(ge=16)] = 16

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.threshold is None) == (self.keep is None):
            raise ValueError("give either `threshold` or `keep`, the other as null")
        return self


class Compress(_Section):
    """The compression search; see docs/compress.md."""

    model: str = Field("", description="checkpoint to compress; empty: the finetune arm is trained")
    parameters: Count | None = Field(None, description="of that checkpoint; `aerodet compress` reads them from it")
    target: Literal["cpu", "sm_80", "sm_90"] = Field("cpu", description="whose INT8 kernels the channels are to suit")
    budget: Annotated[float, Field(ge=0)] = Field(2.0, description="points of AP50 that the chosen model may lose")
    sizes: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), OneOrMore] = Field(
        [4, 25, 100],
        description="below 1: share of the parameters kept; up to 1,000: divided by; above: parameters",
    )
    importances: Annotated[list[Literal["l2", "bn", "taylor"]], Field(min_length=1), OneOrMore] = Field(
        ["l2", "taylor"], description="a branch of the search for each measure of a channel's importance"
    )
    limit_products: bool = Field(
        False, description="a pruned network makes no more products than the narrow one of its size"
    )
    controls: Annotated[list[Literal["narrow", "narrow-distilled", "one-shot"]], OneOrMore] = Field(
        ["narrow", "one-shot"], description="what a branch has to beat: narrow networks from scratch, pruning in one go"
    )
    retrain: Arm | None = Field(None, description="of each point; `retrain` with distillation by default")
    qat: Arm | None = Field(None, description="of each point; `qat` with distillation by default")
    distillation: Annotated[float, Field(ge=0)] | None = Field(
        None, description="of both; None: what they say, or 0.15 where they say none; measured in docs/compress.md"
    )

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        for name in ("sizes", "importances", "controls"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one of them twice")
        if 1 in self.sizes:
            raise ValueError("a size of 1 says nothing: 4 is a quarter of the parameters, and so is 0.25")
        return self


class Export(_Section):
    """What is exported besides ONNX."""

    engine: Literal["auto", "none"] = Field("auto", description="a TensorRT engine where a builder is installed")
    compute_capabilities: list[Annotated[str, StringConstraints(pattern=r"^\d+\.\d$")]] = Field(
        ["8.9"], description="GPUs to build for when this machine has none"
    )


class Benchmark(_Section):
    """How latency is compared."""

    batch: Count = 4
    threads: Count = 2
    pairs: Count = 30


class Tao(_Section):
    """The pods of NVIDIA's TAO containers, with ``backend: tao``. Secrets go by their names in the cluster."""

    gpus: Count = Field(1, description="of a training; the other tasks take one")
    accelerator: str = Field("nvidia.com/gpu", description="resource that a GPU is asked for by")
    shared_memory: str = Field("16Gi", description="/dev/shm, in which the data loader hands images over")
    pull_secret: str = Field("", description="Kubernetes secret of type dockerconfigjson for nvcr.io; empty: none")
    key_secret: str = Field("", description="Kubernetes secret whose key NGC_API_KEY the pods get; empty: none")


class Publish(_Section):
    """Where the engine goes."""

    name: Annotated[str, StringConstraints(min_length=1)] = "aircraft-detector"


class Gate(_Section):
    """What a challenger must reach to become the champion; see docs/registry.md."""

    least_ap50: Annotated[float, Field(ge=0, le=100)] = Field(1.0, description="AP50 that every champion has, percent")
    int8_drop: Annotated[float, Field(ge=0)] = Field(1.0, description="points of AP50 that quantisation may cost")
    champion_drop: Annotated[float, Field(ge=0)] = Field(0.5, description="points below the champion that may be")
    slice_drop: Annotated[float, Field(ge=0)] = Field(5.0, description="points that a size, place or kind may lose")
    slice_boxes: Count = Field(30, description="slices with fewer true boxes say nothing")
    speedup: Annotated[float, Field(ge=0)] = Field(1.0, description="times as fast as the float model, at least")
    replicates: Annotated[int, Field(ge=100)] = Field(1000, description="draws of the test images for the intervals")
    slices: Annotated[list[str], OneOrMore] = Field(
        ["size", "place", "role", "aircraft_types"], description="size, place, and attributes of the images or boxes"
    )


class Gap(_Section):
    """How real and synthetic images are held against each other; see docs/sweep.md."""

    images: Count = Field(300, description="looked at in each set; labels are those of all")
    real_gsd: Annotated[float, Field(ge=0)] = Field(
        0.0, description="m/px of the real images as trained on; 0: what they say of themselves"
    )
    synthetic_gsd: Annotated[float, Field(ge=0)] = Field(0.0, description="the same of the synthetic images")


class Sweep(_Section):
    """The points of `aerodet sweep`."""

    fractions: Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=1)] = Field(
        [0, 1, 2, 5, 10, 25, 50, 100], description="of the real images, percent; 0: synthetic images alone"
    )
    frames: list[Count] = Field([1], description="points of so many whole real frames; none: an empty list")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for name, values in (("fractions", self.fractions), ("frames", self.frames)):
            if twice := [value for at, value in enumerate(values) if value in values[:at]]:
                raise ValueError(f"`{name}` has {twice[0]:g} twice; give each once")
        if not any(self.fractions) and not self.frames:
            raise ValueError("without a fraction above 0 there is no real image in the sweep; give one, such as 10")
        return self


class Profile(_Section):
    """A whole run.

    ``size`` is the side in pixels of tiles, scenes and the network's input; a multiple of 16. ``backend`` says who
    trains: the PyTorch trainer in our own image, or NVIDIA's TAO containers on a cluster.
    """

    name: str
    description: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    classes: Annotated[list[ClassName], Field(min_length=1), OneOrMore] = ["aircraft"]
    size: Annotated[int, Field(ge=64, multiple_of=16)] = 512
    embedded: Embedded = Embedded()  # type: ignore[call-arg]
    data: Data = Data()  # type: ignore[call-arg]
    model: Model = Model()
    training: Training = Training()  # type: ignore[call-arg]
    real: Arm
    synthetic: Arm
    finetune: Arm
    retrain: Arm
    qat: Arm
    prune: Prune = Prune()  # type: ignore[call-arg]
    compress: Compress = Compress()  # type: ignore[call-arg]
    export: Export = Export()  # type: ignore[call-arg]
    benchmark: Benchmark = Benchmark()
    backend: Literal["torch", "tao"] = "torch"
    tao: Tao = Tao()  # type: ignore[call-arg]
    gate: Gate = Gate()  # type: ignore[call-arg]
    gap: Gap = Gap()  # type: ignore[call-arg]
    sweep: Sweep = Sweep()  # type: ignore[call-arg]
    publish: Publish = Publish()
    cluster: Cluster = Cluster()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _as_many_gpus_as_the_pods_have(self) -> Self:
        given = [self.cluster.stages[name].gpu for name in ("train", "default") if name in self.cluster.stages]
        gpu = next((gpu for gpu in given if gpu is not None), None)
        if gpu is not None and gpu.count != self.training.gpus:
            raise ValueError(
                f"training.gpus is {self.training.gpus}, but cluster.stages.train.gpu.count gives the pods "
                f"{gpu.count}; make them equal"
            )
        return self

    def with_sources(
        self, *, real: Path | None, synthetic: Path | None, test: Path | None, seed: int | None
    ) -> Profile:
        """Return a copy with the folders and the seed of the command line."""
        given = {"real": real, "synthetic": synthetic, "test": test}
        sources = {k: str(v.resolve()) for k, v in given.items() if v is not None}
        update: dict[str, object] = {"data": self.data.model_copy(update=sources)}
        if seed is not None:
            update["seed"] = seed
        return self.model_copy(update=update)
