"""The pipeline: three arms, then prune, retrain, QAT, export, evaluate, publish, report.

::

    real ──────────────► train real ──────────────────────────────► evaluate
      └─► sample 10 % ─────────────┐
    synthetic ─────────► train synthetic ──► evaluate
                                   └─► finetune ──► evaluate
                                          └─► prune ─► retrain ─► QAT ─► export ─► evaluate, benchmark ─► publish
                                                                                                     └─► report

The profile chooses at compile time where images come from (rendered or a folder of one's own) and every number; seed,
sources and addresses stay parameters of the run.
"""

from dataclasses import dataclass
from pathlib import Path

from kfp import compiler, dsl
from kfp.dsl.pipeline_channel import PipelineArtifactChannel, PipelineParameterChannel

from aerodet import components
from aerodet.pipelines._specs import arm_spec
from aerodet.pipelines.profiles import Arm, Profile

__all__ = ["PIPELINE_NAME", "build_pipeline", "compile_pipeline"]

PIPELINE_NAME = "aerodet"
_TEST_WORLD, _SYNTHETIC_WORLD = 1_000_003, 2_000_003  # added to the seed: worlds that share no airport


@dataclass(frozen=True)
class _Run:
    """What every task of a run is given."""

    profile: Profile
    seed: PipelineParameterChannel
    state: PipelineParameterChannel


def compile_pipeline(profile: Profile, package: Path) -> Path:
    """Compile the pipeline of a profile to IR YAML.

    Args:
        profile: the choices.
        package: the ``.yaml`` file to write.

    Returns:
        ``package``.
    """
    package.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(build_pipeline(profile), str(package))
    return package


def build_pipeline(profile: Profile) -> dsl.graph_component.GraphComponent:
    """Return the pipeline of a profile as a KFP object."""

    @dsl.pipeline(name=PIPELINE_NAME, description=profile.description or "Train, prune, quantise and publish.")
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
        sets = _images(run, real, synthetic, test)
        subset = components.sample(dataset=sets["real"], fraction=fraction, seed=seed)
        sets["subset"] = subset.set_display_name("sample").outputs["subset"]
        audit = components.audit(real=sets["real"], synthetic=sets["synthetic"], test=sets["test"])
        models = _train(run, sets)
        components.review(real=sets["real"], test=sets["test"], audit=audit.outputs["audit"], model=models["real"])
        bundles = _export(run, models)
        evaluations = {name: _evaluate(model, sets["test"], name) for name, model in models.items()}
        for name, graph in (("int8", "model.int8.onnx"), ("int8_cpu", "model.int8.cpu.onnx")):
            evaluations[name] = _evaluate(bundles["int8"], sets["test"], name, graph)
        benchmark = components.benchmark(
            float_bundle=bundles["float"], int8_bundle=bundles["int8"], **profile.benchmark.model_dump()
        ).outputs["benchmark"]
        version = components.publish(
            bundle=bundles["int8"],
            evaluation=evaluations["int8"],
            benchmark=benchmark,
            registry=registry,
            name=profile.publish.name,
            run_id=run_id,
        ).outputs["version"]
        components.report(
            **sets,
            audit=audit.outputs["audit"],
            **{f"model_{name}": model for name, model in models.items()},
            **{f"evaluation_{name}": evaluation for name, evaluation in evaluations.items()},
            float_bundle=bundles["float"],
            int8_bundle=bundles["int8"],
            benchmark=benchmark,
            version=version,
            run_id=run_id,
            profile=profile.model_dump_json(),
            started=started,
        )

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
    synthetic_set = (
        _ingest(run, synthetic, "all", "ingest-synthetic")
        if data.synthetic
        else _render(run, "synthetic", embedded.synthetic, _SYNTHETIC_WORLD, "render-synthetic")
    )
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
    models["pruned"] = components.prune(model=models["finetune"], **options).outputs["pruned"]
    models["retrained"] = _arm(run, "retrain", p.retrain, sets["subset"], mix=mix, init=models["pruned"])
    models["qat"] = _arm(run, "qat", p.qat, sets["subset"], mix=mix, init=models["retrained"], qat=True)
    return models


def _export(run: _Run, models: dict[str, PipelineArtifactChannel]) -> dict[str, PipelineArtifactChannel]:
    export = run.profile.export
    whole = components.export(model=models["finetune"], engine="none").set_display_name("export-float")
    small = components.export(
        model=models["qat"], engine=export.engine, compute_capabilities=export.compute_capabilities
    ).set_display_name("export-int8")
    return {"float": whole.outputs["bundle"], "int8": small.outputs["bundle"]}


def _render(run: _Run, look: str, count: int, world: int, name: str) -> PipelineArtifactChannel:
    task = components.synthesize(
        look=look, count=count, size=run.profile.size, gsd=run.profile.embedded.gsd, seed=run.seed, world=world
    )
    return task.set_display_name(name).outputs["dataset"]


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
    qat: bool = False,
) -> PipelineArtifactChannel:
    options = {"init": init} if init is not None else {}
    if mix is not None and arm.synthetic_share > 0:
        options |= {"synthetic": mix, "synthetic_share": arm.synthetic_share}
    task = components.train(
        dataset=dataset,
        spec=arm_spec(run.profile, arm, load_graph=init is not None, qat=qat),
        name=name,
        steps=arm.steps,
        seed=run.seed,
        validation_fraction=run.profile.training.validation_fraction,
        state=run.state,
        **options,
    )
    return task.set_display_name(f"train-{name}").outputs["model"]


def _evaluate(
    model: PipelineArtifactChannel, test: PipelineArtifactChannel, name: str, graph: str = ""
) -> PipelineArtifactChannel:
    task = components.evaluate(model=model, dataset=test, graph=graph)
    return task.set_display_name(f"evaluate-{name.replace('_', '-')}").outputs["evaluation"]
