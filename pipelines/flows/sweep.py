"""The sweep: how many real images it takes, with synthetic pretraining and without.

::

    real ─┬─► sample 1 % ──┬─► finetune 1 % ──► evaluate ─┐
          │                └─► real 1 % ──────► evaluate ─┴─► point 1 % ─┐
          ├─► sample 10 % ─── …                                          └─► point 10 % ─ … ─► report
          └─────────────────── … finetune 100 %, real ─► …
    synthetic ─► train synthetic ─► evaluate ─► point 0 %                    gap (real, synthetic) ─┘

Each training is a task of its own, written out when the pipeline is compiled: on a cluster all of them run side by side
as GPUs are free, on one machine one after the other, and a sweep that was stopped keeps those that were finished. The
points form a chain, since a component takes a fixed number of artifacts; a link of it only reads two evaluations.
"""

from dataclasses import dataclass

from kfp import dsl
from kfp.dsl import pipeline_context
from kfp.dsl.pipeline_channel import PipelineArtifactChannel

from aerodet import components
from aerodet.errors import SpecError
from aerodet.pipelines._pods import pipeline_config, place_pods
from aerodet.pipelines.flows._tasks import Run, compare_sets, evaluate_model, image_sets, train_arm
from aerodet.pipelines.profiles import Profile

__all__ = ["build_pipeline"]


def build_pipeline(profile: Profile, *, cluster: bool = False) -> dsl.graph_component.GraphComponent:
    """Return the pipeline of a profile as a KFP object; see :func:`aerodet.pipelines.flows.compile_pipeline`.

    Raises:
        SpecError: the profile trains with TAO's containers.
    """
    if profile.backend == "tao":
        raise SpecError(f"profile {profile.name} trains with TAO, a sweep with PyTorch only; add --set backend=torch")

    @dsl.pipeline(
        name="aerodet-sweep",
        description=profile.description or "Train on more and more real images, with and without pretraining.",
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
    ) -> None:
        run = Run(profile, seed, state)
        sets = image_sets(run, real, synthetic, test)
        gap = compare_sets(run, sets)
        pretrained = train_arm(run, "synthetic", profile.synthetic, sets["synthetic"])
        curve: PipelineArtifactChannel | None = None
        for point in _points(profile):
            task = _add_point(run, point, sets, pretrained, curve)
            curve = task.set_display_name(f"point-{point.label}").outputs["curve"]
        components.sweep_report(
            **{name: sets[name] for name in ("real", "synthetic", "test")},
            curve=curve,
            gap=gap,
            run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER if cluster else run_id,
            profile=profile.model_dump_json(exclude={"cluster"}),
            started=started,
        ).set_display_name("report")
        if cluster:
            place_pods(profile.cluster, pipeline_context.Pipeline.get_default_pipeline().tasks)

    return pipeline


@dataclass(frozen=True)
class _Point:
    """A point of the curve: a percentage of the real images, or whole frames."""

    percent: float = 0.0
    frames: int = 0

    @property
    def label(self) -> str:
        """The end of the names of its tasks."""
        return f"frames-{self.frames}" if self.frames else f"{self.percent:g}"


def _points(profile: Profile) -> list[_Point]:
    sweep = profile.sweep
    return [
        *(_Point(percent=float(percent)) for percent in sorted(sweep.fractions)),
        *(_Point(frames=count) for count in sorted(sweep.frames)),
    ]


def _add_point(
    run: Run,
    point: _Point,
    sets: dict[str, PipelineArtifactChannel],
    synthetic: PipelineArtifactChannel,
    curve: PipelineArtifactChannel | None,
) -> dsl.PipelineTask:
    """Train and evaluate both models of a point, and add it to the curve."""
    asked = {"percent": point.percent, "frames": point.frames}
    earlier = {"previous": curve} if curve is not None else {}
    if not point.percent and not point.frames:
        return components.curve(pretrained=evaluate_model(synthetic, sets["test"], "synthetic"), **asked, **earlier)
    p, whole = run.profile, point.percent == 100
    subset = sets["real"] if whole else _sample(run, point, sets["real"])
    name = "real" if whole else f"real-{point.label}"  # of all real images: the main flow's real arm
    finetune = f"finetune-{point.label}"
    tuned = train_arm(run, finetune, p.finetune, subset, mix=sets["synthetic"], init=synthetic)
    scratch = train_arm(run, name, p.real, subset)
    return components.curve(
        subset=subset,
        pretrained=evaluate_model(tuned, sets["test"], finetune),
        scratch=evaluate_model(scratch, sets["test"], name),
        **asked,
        **earlier,
    )


def _sample(run: Run, point: _Point, real: PipelineArtifactChannel) -> PipelineArtifactChannel:
    task = components.sample(dataset=real, fraction=point.percent / 100, seed=run.seed, frames=point.frames)
    return task.set_display_name(f"sample-{point.label}").outputs["subset"]
