"""The pipeline: three arms, then prune, retrain, QAT, export, evaluate, gate, publish, report.

::

    real ──────────────► train real ──────────────────────────────► evaluate
      └─► sample 10 % ─────────────┐
    synthetic ─────────► train synthetic ──► evaluate
                                   └─► finetune ──► evaluate
                                          └─► prune ─► retrain ─► QAT ─► export ─► evaluate, benchmark ─► gate
                                                                                             report ◄─ publish ◄─┘

The profile chooses at compile time where images come from (rendered or a folder of one's own), who trains (``backend``:
PyTorch, or NVIDIA's TAO containers) and every number; seed, sources and addresses stay parameters of the run.
"""

from dataclasses import dataclass
from pathlib import Path

from kfp import compiler, dsl
from kfp.dsl import pipeline_context
from kfp.dsl.pipeline_channel import PipelineArtifactChannel, PipelineParameterChannel

from aerodet import components
from aerodet.pipelines._pods import pipeline_config, place_pods
from aerodet.pipelines._specs import arm_spec
from aerodet.pipelines._tao_graph import TaoGraph
from aerodet.pipelines.profiles import Arm, Profile
from aerodet.synth import look_text

__all__ = ["PIPELINE_NAME", "build_pipeline", "compile_pipeline"]

PIPELINE_NAME = "aerodet"
_TEST_WORLD, _SYNTHETIC_WORLD = 1_000_003, 2_000_003  # added to the seed: worlds that share no airport


@dataclass(frozen=True)
class _Run:
    """What every task of a run is given."""

    profile: Profile
    seed: PipelineParameterChannel
    state: PipelineParameterChannel


def compile_pipeline(profile: Profile, package: Path, *, cluster: bool = False) -> Path:
    """Compile the pipeline of a profile to IR YAML.

    Args:
        profile: the choices.
        package: the ``.yaml`` file to write.
        cluster: for a cluster, with the profile's pod settings; without them a package runs on any machine.

    Returns:
        ``package``.

    Raises:
        SpecError: the profile has pod settings for a stage that does not exist.
    """
    package.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(build_pipeline(profile, cluster=cluster), str(package))
    return package


def build_pipeline(profile: Profile, *, cluster: bool = False) -> dsl.graph_component.GraphComponent:
    """Return the pipeline of a profile as a KFP object; see :func:`compile_pipeline`."""

    @dsl.pipeline(
        name=PIPELINE_NAME,
        description=profile.description or "Train, prune, quantise and publish.",
        pipeline_config=pipeline_config(profile.cluster) if cluster else None,
    )
    def pipeline(
        run_id: str,
        registry: str,
        state: str = "",
        started: float = 0.0,
        seed: int = profile.seed,
        real: str = profile.data.real,
        synthetic: str = profile.data.synthetic,
        test: str = profile.data.test,
        fraction: float = profile.data.fraction,
    ) -> None:
        run = _Run(profile, seed, state)
        # A schedule gives all its runs the same parameters; on a cluster the run's own id tells them apart.
        called = dsl.PIPELINE_JOB_ID_PLACEHOLDER if cluster else run_id
        sets = _images(run, real, synthetic, test)
        subset = components.sample(dataset=sets["real"], fraction=fraction, seed=seed)
        sets["subset"] = subset.set_display_name("sample").outputs["subset"]
        audit = components.audit(real=sets["real"], synthetic=sets["synthetic"], test=sets["test"])
        tao = TaoGraph(profile, seed, state) if profile.backend == "tao" else None
        if tao is not None:
            models, trained = tao.train(sets)
            engine = tao.engine(trained["qat"])
            bundles = _export(run, models, engine)
        else:
            models = _train(run, sets)
            bundles = _export(run, models)
        components.review(real=sets["real"], test=sets["test"], audit=audit.outputs["audit"], model=models["real"])
        evaluations = {name: _evaluate(model, sets["test"], name) for name, model in models.items()}
        if tao is not None:
            evaluations["int8"] = tao.evaluate(trained["qat"], engine, bundles["int8"], sets["test"])
        else:
            evaluations["int8"] = _evaluate(bundles["int8"], sets["test"], "int8", "model.int8.onnx")
        evaluations["int8_cpu"] = _evaluate(bundles["int8"], sets["test"], "int8_cpu", "model.int8.cpu.onnx")
        benchmark = components.benchmark(
            float_bundle=bundles["float"], int8_bundle=bundles["int8"], **profile.benchmark.model_dump()
        ).outputs["benchmark"]
        place = {"registry": registry, "name": profile.publish.name, "run_id": called}
        gate = components.gate(
            **{name: sets[name] for name in ("test", "real", "synthetic")},
            audit=audit.outputs["audit"],
            evaluation=evaluations["int8"],
            parent=evaluations["retrained"],
            benchmark=benchmark,
            **place,
            seed=seed,
            **profile.gate.model_dump(),
        ).outputs["gate"]
        version = components.publish(
            bundle=bundles["int8"], evaluation=evaluations["int8"], benchmark=benchmark, gate=gate, **place
        ).outputs["version"]
        components.report(
            **sets,
            audit=audit.outputs["audit"],
            **{f"model_{name}": model for name, model in models.items()},
            **{f"evaluation_{name}": evaluation for name, evaluation in evaluations.items()},
            float_bundle=bundles["float"],
            int8_bundle=bundles["int8"],
            benchmark=benchmark,
            gate=gate,
            version=version,
            run_id=called,
            profile=profile.model_dump_json(exclude={"cluster"}),
            started=started,
        )
        if cluster:
            place_pods(profile.cluster, pipeline_context.Pipeline.get_default_pipeline().tasks)

    return pipeline


def _images(run: _Run, real: str, synthetic: str, test: str) -> dict[str, PipelineArtifactChannel]:
    """Make the three image sets, each rendered or cut from a folder."""
    data, embedded = run.profile.data, run.profile.embedded
    if data.real:
        real_set = _ingest(run, real, "all" if data.test else "train", "ingest-real")
        test_set = (
            _ingest(run, test, "test", "ingest-test", 1.0) if data.test else _ingest(run, real, "test", "ingest-test")
        )
    else:
        real_set = _render(run, "sensor", embedded.real, 0, "render-real")
        test_set = (
            _ingest(run, test, "test", "ingest-test", 1.0)
            if data.test
            else _render(run, "sensor", embedded.test, _TEST_WORLD, "render-test")
        )
    synthetic_set = _ingest(run, synthetic, "all", "ingest-synthetic") if data.synthetic else _render_synthetic(run)
    return {"real": real_set, "synthetic": synthetic_set, "test": test_set}


def _train(run: _Run, sets: dict[str, PipelineArtifactChannel]) -> dict[str, PipelineArtifactChannel]:
    """Train the arms and go down the chain; returns the checkpoints by name."""
    p = run.profile
    models = {
        "real": _arm(run, "real", p.real, sets["real"]),
        "synthetic": _arm(run, "synthetic", p.synthetic, sets["synthetic"]),
    }
    mix = sets["synthetic"]
    models["finetune"] = _arm(run, "finetune", p.finetune, sets["subset"], mix=mix, init=models["synthetic"])
    options = p.prune.model_dump()
    options = {**options, "threshold": options["threshold"] or 0.0, "keep": options["keep"] or 0.0}
    if options["importance"] == "taylor":
        options["dataset"] = sets["subset"]
    models["pruned"] = components.prune(model=models["finetune"], **options).outputs["pruned"]
    shared = {"mix": mix, "teacher": models["finetune"]}
    models["retrained"] = _arm(run, "retrain", p.retrain, sets["subset"], init=models["pruned"], **shared)
    models["qat"] = _arm(run, "qat", p.qat, sets["subset"], init=models["retrained"], qat=True, **shared)
    return models


def _export(
    run: _Run, models: dict[str, PipelineArtifactChannel], tao: PipelineArtifactChannel | None = None
) -> dict[str, PipelineArtifactChannel]:
    export = run.profile.export
    others = {"tao": tao} if tao is not None else {}
    whole = components.export(model=models["finetune"], engine="none").set_display_name("export-float")
    small = components.export(
        model=models["qat"], engine=export.engine, compute_capabilities=export.compute_capabilities, **others
    ).set_display_name("export-int8")
    return {"float": whole.outputs["bundle"], "int8": small.outputs["bundle"]}


def _render(
    run: _Run, look: str, count: int, world: int, name: str, first: PipelineParameterChannel | int = 0
) -> PipelineArtifactChannel:
    task = components.synthesize(
        look=look,
        count=count,
        size=run.profile.size,
        gsd=run.profile.embedded.gsd,
        seed=run.seed,
        world=world,
        first=first,
    )
    return task.set_display_name(name).outputs["dataset"]


def _render_synthetic(run: _Run) -> PipelineArtifactChannel:
    """Render the synthetic arm's scenes in one task, or in several side by side."""
    embedded = run.profile.embedded
    look = look_text(embedded.look)
    if embedded.parts == 1:
        return _render(run, look, embedded.synthetic, _SYNTHETIC_WORLD, "render-synthetic")
    count = -(-embedded.synthetic // embedded.parts)
    starts = list(range(0, embedded.synthetic, count))
    with dsl.ParallelFor(items=starts, name="render") as first:
        part = _render(run, look, count, _SYNTHETIC_WORLD, "render-synthetic", first)
    return components.gather(parts=dsl.Collected(part)).set_display_name("gather-synthetic").outputs["dataset"]


def _ingest(
    run: _Run, source: str, part: str, name: str, test_fraction: float | None = None
) -> PipelineArtifactChannel:
    """Cut a folder into tiles; of a folder that is a test set already, ``test_fraction`` 1 takes the whole."""
    data = run.profile.data
    task = components.ingest(
        source=source,
        part=part,
        classes=data.classes or run.profile.classes,
        size=run.profile.size,
        overlap=data.overlap,
        scale=data.scale,
        min_visible=data.min_visible,
        keep_empty=data.keep_empty,
        tile_format=data.tile_format,
        on_bad_box=data.on_bad_box,
        duplicates=data.duplicates,
        test_fraction=test_fraction or data.test_fraction,
        seed=run.seed,
        class_from=data.class_from,
        on_bad_entry=data.on_bad_entry,
        min_side=data.min_side,
    )
    return task.set_display_name(name).outputs["dataset"]


def _arm(
    run: _Run,
    name: str,
    arm: Arm,
    dataset: PipelineArtifactChannel,
    *,
    mix: PipelineArtifactChannel | None = None,
    init: PipelineArtifactChannel | None = None,
    teacher: PipelineArtifactChannel | None = None,
    qat: bool = False,
) -> PipelineArtifactChannel:
    options = {"init": init} if init is not None else {}
    if mix is not None and arm.synthetic_share > 0:
        options |= {"synthetic": mix, "synthetic_share": arm.synthetic_share}
    if teacher is not None and arm.distillation > 0:
        options |= {"teacher": teacher, "distillation": arm.distillation}
    task = components.train(
        dataset=dataset,
        spec=arm_spec(run.profile, arm, load_graph=init is not None, qat=qat),
        name=name,
        steps=arm.steps,
        seed=run.seed,
        validation_fraction=run.profile.training.validation_fraction,
        state=run.state,
        gpus=run.profile.training.gpus,
        **options,
    )
    return task.set_display_name(f"train-{name}").outputs["model"]


def _evaluate(
    model: PipelineArtifactChannel, test: PipelineArtifactChannel, name: str, graph: str = ""
) -> PipelineArtifactChannel:
    task = components.evaluate(model=model, dataset=test, graph=graph)
    return task.set_display_name(f"evaluate-{name.replace('_', '-')}").outputs["evaluation"]
