"""The part of the pipeline that NVIDIA's TAO containers take over, with ``backend: tao``.

::

    records ─► tao train ─► collect: a checkpoint as of the torch backend, and TAO's figures
    finetune ─► prune (plan) ─► tao prune ─► collect ─► retrain ─► QAT ─► tao export ─► tao engine ─► export
                                                                             tao inference ─► score ◄─┘

What goes in and out are the artifacts of the torch backend, so that evaluation, report and registry do not differ.
"""

from dataclasses import dataclass, field
from typing import Any

from kfp import dsl, kubernetes
from kfp.dsl.pipeline_channel import PipelineArtifactChannel, PipelineParameterChannel

from aerodet import components
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import build_spec
from aerodet.errors import SpecError
from aerodet.pipelines._specs import arm_spec, shared_options
from aerodet.pipelines._tao import inference_spec
from aerodet.pipelines.profiles import Arm, Profile
from aerodet.tao import check_flow

__all__ = ["TaoGraph"]

_Artifacts = dict[str, PipelineArtifactChannel]
_BATCH = (8, 16)  # of the engine: tuned for, largest


@dataclass(frozen=True)
class _Chain:
    """The models of a run: as checkpoints, and as TAO left them, both by name."""

    models: _Artifacts = field(default_factory=dict)
    trained: _Artifacts = field(default_factory=dict)

    def add(
        self,
        name: str,
        trained: PipelineArtifactChannel,
        records: PipelineArtifactChannel | None = None,
        parent: str = "",
    ) -> None:
        origin: dict[str, Any] = {"records": records} if records is not None else {}
        origin |= {"parent": self.models[parent]} if parent else {}
        task = components.tao_collect(trained=trained, name=name, **origin).set_display_name(f"collect-{name}")
        self.models[name], self.trained[name] = task.outputs["model"], trained


@dataclass(frozen=True)
class TaoGraph:
    """The TAO tasks of a run.

    Args:
        profile: the choices.
        seed: of the run.
        state: folder of the run that outlives pods.

    Raises:
        SpecError: the profile asks for what TAO does not have.
    """

    profile: Profile
    seed: PipelineParameterChannel
    state: PipelineParameterChannel

    def __post_init__(self) -> None:
        faults = check_flow({f"profile {self.profile.name}": build_spec(shared_options(self.profile))})
        p = self.profile
        if p.prune.importance != "l2":
            faults.append(f"prune.importance: TAO measures channels by their L2 norm, not by '{p.prune.importance}'")
        if taught := [name for name in ("retrain", "qat") if getattr(p, name).distillation]:
            names = " and ".join(f"{name}.distillation" for name in taught)
            faults.append(f"{names}: TAO learns from labels alone; set to 0")
        if faults:
            raise SpecError("\n  ".join(["TAO would refuse or misread this profile:", *faults]))

    def train(self, sets: _Artifacts) -> tuple[_Artifacts, _Artifacts]:
        """Train the arms and go down the chain.

        Returns:
            The checkpoints by name, as the torch backend has them, and what TAO itself left, by the same names.
        """
        p, mix, subset = self.profile, sets["synthetic"], sets["subset"]
        chain = _Chain()
        chain.add("real", *self._arm("real", p.real, sets["real"]))
        chain.add("synthetic", *self._arm("synthetic", p.synthetic, sets["synthetic"]))
        made = self._arm("finetune", p.finetune, subset, mix, chain.trained["synthetic"])
        chain.add("finetune", *made, parent="synthetic")
        chain.add("pruned", self._prune(chain.models["finetune"], chain.trained["finetune"]), parent="finetune")
        made = self._arm("retrain", p.retrain, subset, mix, chain.trained["pruned"])
        chain.add("retrained", *made, parent="pruned")
        made = self._arm("qat", p.qat, subset, mix, chain.trained["retrained"], qat=True)
        chain.add("qat", *made, parent="retrained")
        return chain.models, chain.trained

    def engine(self, qat: PipelineArtifactChannel) -> PipelineArtifactChannel:
        """Export TAO's quantised checkpoint and build its engine."""
        exported = self._on_gpu(components.tao_export(model=qat), "tao-export")
        best, batch = _BATCH
        built = components.tao_engine(model=exported.outputs["exported"], best=best, batch=batch)
        return self._on_gpu(built, "tao-engine").outputs["engine"]

    def evaluate(
        self,
        qat: PipelineArtifactChannel,
        engine: PipelineArtifactChannel,
        bundle: PipelineArtifactChannel,
        test: PipelineArtifactChannel,
    ) -> PipelineArtifactChannel:
        """Measure the quantised model and the engine by TAO's metrics, and the engine by everybody's.

        Returns:
            The evaluation of the engine, as of any other model.
        """
        spec = arm_spec(self.profile, self.profile.qat, load_graph=False, qat=True)
        task = components.tao_records(dataset=test, spec=spec, name="evaluate", seed=self.seed)
        records = task.set_display_name("records-test").outputs["records"]
        measured = {
            "qat": self._on_gpu(components.tao_evaluate(model=qat, dataset=test, records=records), "tao-evaluate-qat"),
            "engine": self._on_gpu(
                components.tao_engine_evaluate(model=engine, dataset=test, records=records), "tao-evaluate-engine"
            ),
        }
        for name, task in measured.items():
            components.tao_metrics(results=task.outputs["results"]).set_display_name(f"tao-figures-{name}")
        found = components.tao_inference(model=engine, dataset=test, spec=format_spec(inference_spec(self.profile)))
        detections = self._on_gpu(found, "tao-inference").outputs["detections"]
        scored = components.tao_score(detections=detections, dataset=test, bundle=bundle)
        return scored.set_display_name("evaluate-int8").outputs["evaluation"]

    def _arm(
        self,
        name: str,
        arm: Arm,
        dataset: PipelineArtifactChannel,
        mix: PipelineArtifactChannel | None = None,
        init: PipelineArtifactChannel | None = None,
        *,
        qat: bool = False,
    ) -> tuple[PipelineArtifactChannel, PipelineArtifactChannel]:
        """Return what TAO left of a training, and the records that it was made from."""
        p = self.profile
        mixed: dict[str, Any] = {"synthetic": mix} if mix is not None and arm.synthetic_share > 0 else {}
        prepared = components.tao_records(
            dataset=dataset,
            spec=arm_spec(p, arm, load_graph=init is not None, qat=qat),
            name=name,
            seed=self.seed,
            steps=arm.steps,
            gpus=p.tao.gpus,
            validation_fraction=p.training.validation_fraction,
            synthetic_share=arm.synthetic_share if mixed else 0.0,
            **mixed,
        )
        records = prepared.set_display_name(f"records-{name}").outputs["records"]
        start = {"init": init} if init is not None else {}
        task = components.tao_train(
            dataset=dataset,
            records=records,
            name=name,
            gpus=p.tao.gpus,
            state=self.state,
            **mixed,
            **start,
        )
        return self._on_gpu(task, f"train-{name}", p.tao.gpus).outputs["trained"], records

    def _prune(self, model: PipelineArtifactChannel, trained: PipelineArtifactChannel) -> PipelineArtifactChannel:
        prune = self.profile.prune
        options = prune.model_dump(exclude={"threshold", "keep", "importance"})
        task = components.prune(model=model, threshold=prune.threshold or 0.0, keep=prune.keep or 0.0, **options)
        plan = task.set_display_name("plan-prune").outputs["pruned"]
        return self._on_gpu(components.tao_prune(model=trained, plan=plan, **options), "prune").outputs["pruned"]

    def _on_gpu(self, task: dsl.PipelineTask, name: str, gpus: int = 1) -> dsl.PipelineTask:
        """Give a task its name, GPUs, shared memory and secrets."""
        tao = self.profile.tao
        task.set_display_name(name).set_accelerator_type(tao.accelerator).set_accelerator_limit(gpus)
        kubernetes.empty_dir_mount(task, "dshm", "/dev/shm", medium="Memory", size_limit=tao.shared_memory)
        if tao.pull_secret:
            kubernetes.set_image_pull_secrets(task, [tao.pull_secret])
        if tao.key_secret:
            kubernetes.use_secret_as_env(task, tao.key_secret, {"NGC_API_KEY": "NGC_API_KEY"})
        return task
