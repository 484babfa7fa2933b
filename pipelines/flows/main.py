"""The main flow: three arms, then prune, retrain, QAT, export, evaluate, gate, publish, report.

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

from kfp import dsl
from kfp.dsl import pipeline_context
from kfp.dsl.pipeline_channel import PipelineArtifactChannel

from aerodet import components
from aerodet.pipelines._pods import pipeline_config, place_pods
from aerodet.pipelines.flows._tao import TaoGraph
from aerodet.pipelines.flows._tasks import Run, compare_sets, evaluate_model, image_sets, train_arm
from aerodet.pipelines.profiles import Profile

__all__ = ["build_pipeline"]


def build_pipeline(profile: Profile, *, cluster: bool = False) -> dsl.graph_component.GraphComponent:
    """Return the pipeline of a profile as a KFP object; see :func:`aerodet.pipelines.flows.compile_pipeline`."""

    @dsl.pipeline(
        name="aerodet",
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
        run = Run(profile, seed, state)
        # A schedule gives all its runs the same parameters; on a cluster the run's own id tells them apart.
        called = dsl.PIPELINE_JOB_ID_PLACEHOLDER if cluster else run_id
        sets = image_sets(run, real, synthetic, test)
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
        evaluations = {name: evaluate_model(model, sets["test"], name) for name, model in models.items()}
        if tao is not None:
            evaluations["int8"] = tao.evaluate(trained["qat"], engine, bundles["int8"], sets["test"])
        else:
            evaluations["int8"] = evaluate_model(bundles["int8"], sets["test"], "int8", "model.int8.onnx")
        evaluations["int8_cpu"] = evaluate_model(bundles["int8"], sets["test"], "int8_cpu", "model.int8.cpu.onnx")
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
            gap=compare_sets(run, sets),
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


def _train(run: Run, sets: dict[str, PipelineArtifactChannel]) -> dict[str, PipelineArtifactChannel]:
    """Train the arms and go down the chain; returns the checkpoints by name."""
    p = run.profile
    models = {
        "real": train_arm(run, "real", p.real, sets["real"]),
        "synthetic": train_arm(run, "synthetic", p.synthetic, sets["synthetic"]),
    }
    mix = sets["synthetic"]
    models["finetune"] = train_arm(run, "finetune", p.finetune, sets["subset"], mix=mix, init=models["synthetic"])
    options = p.prune.model_dump()
    options = {**options, "threshold": options["threshold"] or 0.0, "keep": options["keep"] or 0.0}
    if options["importance"] == "taylor":
        options["dataset"] = sets["subset"]
    models["pruned"] = components.prune(model=models["finetune"], **options).outputs["pruned"]
    shared = {"mix": mix, "teacher": models["finetune"]}
    models["retrained"] = train_arm(run, "retrain", p.retrain, sets["subset"], init=models["pruned"], **shared)
    models["qat"] = train_arm(run, "qat", p.qat, sets["subset"], init=models["retrained"], qat=True, **shared)
    return models


def _export(
    run: Run, models: dict[str, PipelineArtifactChannel], tao: PipelineArtifactChannel | None = None
) -> dict[str, PipelineArtifactChannel]:
    export = run.profile.export
    others = {"tao": tao} if tao is not None else {}
    whole = components.export(model=models["finetune"], engine="none").set_display_name("export-float")
    small = components.export(
        model=models["qat"], engine=export.engine, compute_capabilities=export.compute_capabilities, **others
    ).set_display_name("export-int8")
    return {"float": whole.outputs["bundle"], "int8": small.outputs["bundle"]}
