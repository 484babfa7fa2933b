"""Tasks that more than one pipeline is made of: image sets, a training, an evaluation."""

from dataclasses import dataclass

from kfp import dsl
from kfp.dsl.pipeline_channel import PipelineArtifactChannel, PipelineParameterChannel

from aerodet import components
from aerodet.pipelines._specs import arm_spec
from aerodet.pipelines.profiles import Arm, Profile
from aerodet.synth import look_text

__all__ = ["Run", "compare_sets", "evaluate_model", "image_sets", "train_arm"]

_TEST_WORLD, _SYNTHETIC_WORLD = 1_000_003, 2_000_003  # added to the seed: worlds that share no airport


@dataclass(frozen=True)
class Run:
    """What every task of a run is given."""

    profile: Profile
    seed: PipelineParameterChannel
    state: PipelineParameterChannel


def image_sets(run: Run, real: str, synthetic: str, test: str) -> dict[str, PipelineArtifactChannel]:
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


def train_arm(
    run: Run,
    name: str,
    arm: Arm,
    dataset: PipelineArtifactChannel,
    *,
    mix: PipelineArtifactChannel | None = None,
    init: PipelineArtifactChannel | None = None,
    teacher: PipelineArtifactChannel | None = None,
    qat: bool = False,
) -> PipelineArtifactChannel:
    """Train an arm; ``mix`` is drawn from as the arm's ``synthetic_share`` says."""
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
        compile=run.profile.training.compile,
        deterministic=run.profile.training.deterministic,
        **options,
    )
    return task.set_display_name(f"train-{name}").outputs["model"]


def evaluate_model(
    model: PipelineArtifactChannel, test: PipelineArtifactChannel, name: str, graph: str = ""
) -> PipelineArtifactChannel:
    task = components.evaluate(model=model, dataset=test, graph=graph)
    return task.set_display_name(f"evaluate-{name.replace('_', '-')}").outputs["evaluation"]


def compare_sets(run: Run, sets: dict[str, PipelineArtifactChannel]) -> PipelineArtifactChannel:
    """Hold the synthetic images against the real ones."""
    gap = run.profile.gap
    task = components.gap(real=sets["real"], synthetic=sets["synthetic"], seed=run.seed, **gap.model_dump())
    return task.outputs["gap"]


def _render(
    run: Run, look: str, count: int, world: int, name: str, first: PipelineParameterChannel | int = 0
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


def _render_synthetic(run: Run) -> PipelineArtifactChannel:
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


def _ingest(run: Run, source: str, part: str, name: str, test_fraction: float | None = None) -> PipelineArtifactChannel:
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
