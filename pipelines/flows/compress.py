"""The compression search: one network, pruned step by step by several measures, against narrow ones from scratch.

::

    teacher ─► prune l2 ─► retrain ─┬─► prune further ─► retrain ─┬─► …        a branch a measure, a point a size
       │                            └─► QAT ─► export ─► evaluate, benchmark ─► candidate
       ├─► prune taylor ─► …
       └─ teaches every retraining        narrow from scratch ─► QAT ─► export ─► …          candidates ─► report

The next smaller point of a branch starts from the retrained larger one. All of them are made, also those behind a point
that broke the budget: docs/compress.md says why. The candidates form one line, so that the last of them has all points.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from kfp import dsl
from kfp.dsl import pipeline_context
from kfp.dsl.pipeline_channel import PipelineArtifactChannel

from aerodet import components
from aerodet.detectnet.model import Architecture
from aerodet.detectnet.prune import PruneOptions
from aerodet.detectnet.shrink import (
    GRANULARITY,
    narrow_architecture,
    parameter_count,
    product_count,
    smallest_architecture,
)
from aerodet.errors import SpecError
from aerodet.pipelines._pods import pipeline_config, place_pods
from aerodet.pipelines.flows._tasks import Run, evaluate_model, image_sets, train_arm
from aerodet.pipelines.profiles import Arm, Profile

__all__ = ["Size", "build_pipeline", "sizes_of"]

_Artifacts = dict[str, PipelineArtifactChannel]
_DISTILLATION = 0.15
_LARGEST_FACTOR = 1000  # a size above it is a number of parameters


@dataclass(frozen=True)
class Size:
    """A size of the search: its name in the names of tasks, and the parameters to come to."""

    label: str
    wanted: int


def sizes_of(profile: Profile) -> list[Size]:
    """Return the sizes of a profile's search, the largest first.

    Raises:
        SpecError: one is no smaller than the network that is compressed, smaller than any can be, or there twice.
    """
    architecture = _architecture(profile)
    whole = profile.compress.parameters or parameter_count(architecture)
    options = _prune_options(profile)
    smallest = smallest_architecture(architecture, options)
    least = parameter_count(smallest)
    found = []
    for size in profile.compress.sizes:
        wanted = round(size * whole if size < 1 else whole / size if size <= _LARGEST_FACTOR else size)
        if wanted >= whole:
            raise SpecError(
                f"compress.sizes: {size:.10g} leaves {wanted:,} of {whole:,} parameters, which is no smaller"
            )
        if wanted < least:
            raise SpecError(
                f"compress.sizes: {size:.10g} leaves {wanted:,} of {whole:,} parameters, but no {profile.model.arch} "
                f"has fewer than {least:,}, which is {options.min_filters} channels in every layer"
            )
        if profile.compress.limit_products and product_count(smallest) > _narrow_products(profile, wanted):
            raise SpecError(
                f"compress.limit_products: {options.min_filters} channels in every layer make more products than the "
                f"narrow network of {wanted:,} parameters; set it false, or ask for larger sizes"
            )
        found.append(Size(f"{size:.10g}", wanted))
    found.sort(key=lambda size: -size.wanted)
    for larger, smaller in pairwise(found):
        if larger.wanted == smaller.wanted:
            raise SpecError(f"compress.sizes: {larger.label} and {smaller.label} are the same size")
    return found


def build_pipeline(profile: Profile, *, cluster: bool = False) -> dsl.graph_component.GraphComponent:
    """Return the search of a profile as a KFP object; see :func:`aerodet.pipelines.flows.compile_pipeline`.

    Raises:
        SpecError: a size cannot be reached, or the profile trains with TAO.
    """
    sizes = sizes_of(profile)
    if profile.backend == "tao":
        raise SpecError("the compression search trains with the torch backend; give --set backend=torch")

    @dsl.pipeline(
        name="aerodet-compress",
        description="Compress a network in many ways and choose.",
        pipeline_config=pipeline_config(profile.cluster) if cluster else None,
    )
    def pipeline(
        run_id: str,
        state: str = "",
        started: float = 0.0,
        seed: int = profile.seed,
        real: str = profile.data.real,
        synthetic: str = profile.data.synthetic,
        test: str = profile.data.test,
        fraction: float = profile.data.fraction,
        model: str = profile.compress.model,
    ) -> None:
        run = Run(profile, seed, state)
        sets = image_sets(run, real, synthetic, test)
        subset = components.sample(dataset=sets["real"], fraction=fraction, seed=seed)
        sets["subset"] = subset.set_display_name("sample").outputs["subset"]
        search = _Search(run, sets, _teacher(run, sets, model))
        search.fan_out(sizes)
        components.compare(
            candidates=search.candidates,
            subset=sets["subset"],
            test=sets["test"],
            run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER if cluster else run_id,
            profile=profile.model_dump_json(exclude={"cluster"}),
            started=started,
        ).set_display_name("report")
        if cluster:
            place_pods(profile.cluster, pipeline_context.Pipeline.get_default_pipeline().tasks)

    return pipeline


def _teacher(run: Run, sets: _Artifacts, model: str) -> PipelineArtifactChannel:
    """Return the network to compress: a checkpoint of one's own, or the main flow's finetune arm."""
    p = run.profile
    if p.compress.model:
        task = dsl.importer(artifact_uri=model, artifact_class=dsl.Model, reimport=False)
        return task.set_display_name("import-teacher").output
    started = train_arm(run, "synthetic", p.synthetic, sets["synthetic"])
    return train_arm(run, "finetune", p.finetune, sets["subset"], mix=sets["synthetic"], init=started)


@dataclass
class _Search:
    """The graph of a search while it grows."""

    run: Run
    sets: _Artifacts
    teacher: PipelineArtifactChannel
    candidates: PipelineArtifactChannel | None = None
    branches: _Artifacts = field(default_factory=dict)  # where each branch has come to

    def __post_init__(self) -> None:
        compress = self.run.profile.compress
        self.retrain = _taught(compress.retrain or self.run.profile.retrain, compress.distillation)
        self.qat = _taught(compress.qat or self.run.profile.qat, compress.distillation)
        self.reference = evaluate_model(self.teacher, self.sets["test"], "teacher")
        task = components.export(model=self.teacher, engine="none").set_display_name("export-teacher")
        self.whole = task.outputs["bundle"]

    def fan_out(self, sizes: list[Size]) -> None:
        """Make every point: at each size those of all branches, then the controls."""
        compress = self.run.profile.compress
        for step, size in enumerate(sizes, start=1):
            for importance in compress.importances:
                name = f"{importance}-{size.label}"
                pruned = self._prune(name, self.branches.get(importance, self.teacher), importance, size)
                self.branches[importance] = model = self._retrain(name, pruned, self.retrain)
                self._point(name, importance, size, model)
            longer = self.retrain.model_copy(update={"steps": step * self.retrain.steps})  # as the branch had by then
            if "one-shot" in compress.controls and step > 1:  # the first point of a branch is made in one go anyway
                name = f"one-shot-{size.label}"
                pruned = self._prune(name, self.teacher, compress.importances[0], size)
                self._point(name, "one-shot", size, self._retrain(name, pruned, longer))
            for way in ("narrow", "narrow-distilled"):
                if way in compress.controls:
                    model = self._narrow(f"{way}-{size.label}", size, step, distilled=way == "narrow-distilled")
                    self._point(f"{way}-{size.label}", way, size, model, taught=way == "narrow-distilled")

    def _prune(self, name: str, model: PipelineArtifactChannel, importance: str, size: Size) -> PipelineArtifactChannel:
        p, options = self.run.profile, _prune_options(self.run.profile)
        images = {"dataset": self.sets["subset"]} if importance == "taylor" else {}
        task = components.prune(
            model=model,
            params=size.wanted,
            products=_narrow_products(p, size.wanted) if p.compress.limit_products else 0.0,
            importance=importance,
            normalizer=options.normalizer,
            criterion=options.criterion,
            granularity=options.granularity,
            min_filters=options.min_filters,
            **images,
        )
        return task.set_display_name(f"prune-{name}").outputs["pruned"]

    def _retrain(self, name: str, model: PipelineArtifactChannel, arm: Arm) -> PipelineArtifactChannel:
        shared = {"mix": self.sets["synthetic"], "teacher": self.teacher}
        return train_arm(self.run, name, arm, self.sets["subset"], init=model, **shared)

    def _narrow(self, name: str, size: Size, step: int, *, distilled: bool) -> PipelineArtifactChannel:
        """Train a narrow network as the teacher was, for as many steps as the branches have had at this size.

        Its later steps take the higher of the two rates that a branch had them at.
        """
        p = self.run.profile
        width = narrow_architecture(_architecture(p), size.wanted).width
        model = p.model.model_copy(update={"width": width})
        run = Run(p.model_copy(update={"model": model}), self.run.seed, self.run.state)
        weight = self.retrain.distillation if distilled else 0.0
        first = p.synthetic.model_copy(update={"distillation": weight})
        steps = p.finetune.steps + step * self.retrain.steps
        rate = max(p.finetune.max_learning_rate, self.retrain.max_learning_rate)
        then = p.finetune.model_copy(update={"steps": steps, "max_learning_rate": rate, "distillation": weight})
        started = train_arm(run, f"{name}-synthetic", first, self.sets["synthetic"], teacher=self.teacher)
        shared = {"mix": self.sets["synthetic"], "teacher": self.teacher}
        return train_arm(run, name, then, self.sets["subset"], init=started, **shared)

    def _point(self, name: str, way: str, size: Size, model: PipelineArtifactChannel, *, taught: bool = True) -> None:
        """Quantise, export and measure a network, and put it with the candidates."""
        p, test = self.run.profile, self.sets["test"]
        arm = self.qat if taught else self.qat.model_copy(update={"distillation": 0.0})
        shared = {"mix": self.sets["synthetic"], "teacher": self.teacher}
        qat = train_arm(self.run, f"{name}-qat", arm, self.sets["subset"], init=model, qat=True, **shared)
        export = components.export(model=qat, engine="none").set_display_name(f"export-{name}")
        bundle = export.outputs["bundle"]
        graph = "model.int8.cpu.onnx" if p.compress.target == "cpu" else "model.int8.onnx"
        timed = components.benchmark(float_bundle=self.whole, int8_bundle=bundle, **p.benchmark.model_dump())
        earlier = {"before": self.candidates} if self.candidates is not None else {}
        task = components.candidate(
            bundle=bundle,
            evaluation=evaluate_model(bundle, test, name, graph),
            evaluation_float=evaluate_model(model, test, f"{name}-float"),
            evaluation_teacher=self.reference,
            teacher_bundle=self.whole,
            benchmark=timed.set_display_name(f"benchmark-{name}").outputs["benchmark"],
            name=name,
            way=way,
            wanted=size.wanted,
            budget=p.compress.budget,
            target=p.compress.target,
            **earlier,
        )
        self.candidates = task.set_display_name(f"candidate-{name}").outputs["candidates"]


def _taught(arm: Arm, wanted: float | None) -> Arm:
    distillation = (arm.distillation or _DISTILLATION) if wanted is None else wanted
    return arm.model_copy(update={"distillation": distillation})


def _architecture(profile: Profile) -> Architecture:
    m = profile.model
    return Architecture(
        layers=int(m.arch.removeprefix("resnet")),
        num_classes=len(profile.classes),
        width=m.width,
        all_projections=m.all_projections,
    )


def _narrow_products(profile: Profile, count: int) -> float:
    return product_count(narrow_architecture(_architecture(profile), count))


def _prune_options(profile: Profile) -> PruneOptions:
    p = profile.prune
    return PruneOptions(
        normalizer=p.normalizer,
        criterion=p.criterion,
        granularity=GRANULARITY[profile.compress.target],
        min_filters=p.min_filters,
    )
