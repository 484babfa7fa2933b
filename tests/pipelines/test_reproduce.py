"""Stages are made again from their provenance and held against the original."""

import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from aerodet import stages
from aerodet.data import ImageRecord, ImageSetWriter
from aerodet.errors import DataError, UserError
from aerodet.lineage import Catalog, read_provenance, write_provenance
from aerodet.pipelines.reproduce import Figure, reproduce
from aerodet.stages import Outcome, stage
from aerodet.storage import open_store


@dataclass
class Artifact:
    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


calls = itertools.count(1)


@stage("figures", "copy")
def measure(*, dataset, figures, copy, seed: int, noise: str = "none", state: str = ""):
    """A stage whose figures are the same, near or elsewhere on each run, as ``noise`` has it."""
    count = next(calls)
    shift = {"none": 0, "small": 1e-4, "large": 1}[noise] * (count % 2)
    figures.mkdir()
    (figures / "figures.json").write_text(json.dumps({"ap50": 50.0 + shift, "median_ms": float(count), "state": state}))
    copy.mkdir()
    (copy / "seed.txt").write_text(str(seed))
    return Outcome({"figures": {"kind": "evaluation"}, "copy": {"kind": "other"}}, {"ap50": 50.0 + shift})


@pytest.fixture(autouse=True)
def known_stage(monkeypatch):
    monkeypatch.setattr(stages, "measure", measure, raising=False)
    monkeypatch.setattr(stages, "__all__", [*stages.__all__, "measure"])


def execute(target, run, name, inputs, **parameters):
    outputs = {output: Artifact(str(run / name / output)) for output in target.outputs}
    stages.execute(target, {**{k: Artifact(str(v)) for k, v in inputs.items()}, **outputs, **parameters})
    return run / name / target.outputs[0]


@pytest.fixture
def run(tmp_path):
    """A run: an image set of unknown origin, a sample of it, figures from the sample."""
    raw = tmp_path / "raw"
    with ImageSetWriter(raw, ("aircraft",)) as writer:
        for number in range(1, 9):
            box = np.array([[8, 8, 40, 24]], np.float32)
            record = ImageRecord(number, f"image_{number}.png", 64, 64, f"p{number // 4}", box, np.zeros(1, np.int64))
            writer.add(record, np.full((64, 64, 3), number, np.uint8))
    now = datetime.now(UTC)
    write_provenance(raw, name="raw", inputs={}, stage="photography", parameters={}, started=now, finished=now)
    return tmp_path / "run"


def sample(run, **parameters):
    return execute(
        stages.sample, run, "sample", {"dataset": run.parent / "raw"}, **{"fraction": 0.5, "seed": 3, **parameters}
    )


def again(run, folder, **options):
    scratch = run.parent / "scratch"
    digest = read_provenance(folder).digest
    return list(reproduce(Catalog.load(run.parent / "raw", run), digest, scratch, **options))


def test_a_stage_made_again_is_identical(run):
    folder = sample(run)
    (made,) = again(run, folder)
    assert made.verdict == "identical"
    assert made.before == made.after == read_provenance(folder).digest
    assert made.folder.is_dir()


def test_a_chain_ends_where_no_stage_of_ours_made_it(run):
    with pytest.raises(UserError, match="has no stage 'photography'"):
        again(run, sample(run), chain=True)


def test_a_chain_is_made_again_from_its_first_known_stage_and_feeds_itself(run):
    first = execute(stages.synthesize, run, "render", {}, look="synthetic", count=2, size=64, gsd=2.0, seed=1)
    second = execute(stages.sample, run, "sample", {"dataset": first}, fraction=0.5, seed=3)
    (first / "annotations.json").write_text("damaged")
    with pytest.raises(DataError, match="has changed; restore it, or make it again too with --chain"):
        again(run, second)
    made = again(run, second, chain=True)
    assert [(m.stage, m.verdict) for m in made] == [("synthesize", "identical"), ("sample", "identical")]


@pytest.mark.parametrize(("noise", "verdict"), [("none", "alike"), ("small", "alike"), ("large", "different")])
def test_figures_are_judged_and_times_are_not(run, noise, verdict):
    folder = execute(measure, run, "measure", {"dataset": run.parent / "raw"}, seed=3, noise=noise)
    figures, copy = again(run, folder)
    assert figures.verdict == verdict
    assert figures.files == ("figures.json",)
    assert "figures.json median_ms" in {figure.name for figure in figures.figures if figure.time}
    assert (copy.name, copy.verdict) == ("copy", "identical")  # the other output of the same execution


def test_a_training_starts_anew_and_writes_nothing_to_the_old_place(run):
    folder = execute(measure, run, "measure", {"dataset": run.parent / "raw"}, seed=3, state=str(run / "state"))
    again(run, folder)
    assert json.loads(next((run.parent / "scratch").rglob("figures.json")).read_text())["state"] == ""


def test_an_input_in_a_bucket_is_fetched_and_one_that_was_changed_there_is_refused(run, bucket_uri):
    folder, raw, store = sample(run), run.parent / "raw", open_store(f"{bucket_uri}/raw")
    for path in raw.iterdir():
        store.upload(path, path.name)
    digest = read_provenance(folder).digest
    (made,) = reproduce(Catalog.load(store, run), digest, run.parent / "scratch")
    assert made.verdict == "identical"
    store.write("annotations.json", b"{}")
    with pytest.raises(DataError, match=r"is not what it was: s3://.*/raw has changed"):
        list(reproduce(Catalog.load(store, run), digest, run.parent / "again"))


def test_an_input_that_is_gone_is_named(run):
    folder = sample(run)
    digest = read_provenance(folder).digest
    with pytest.raises(UserError, match=r"input dataset \([0-9a-f]{12}\) of subset is not at hand; say with --in"):
        list(reproduce(Catalog.load(run), digest, run.parent / "scratch"))


def damaged(folder, change):
    path = folder / "provenance.json"
    statement = json.loads(path.read_text())
    change(statement["predicate"]["buildDefinition"])
    path.write_text(json.dumps(statement))
    return folder


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d["externalParameters"].update(stage="os.system"), "has no stage 'os.system'"),
        (lambda d: d["externalParameters"].update(stage="execute"), "has no stage 'execute'"),
        (lambda d: d["externalParameters"].update(stage="publish"), "a publication is not made again"),
        (lambda d: d["externalParameters"]["parameters"].update(extra=1), "does not fit stage sample"),
        (lambda d: d["externalParameters"]["parameters"].pop("seed"), "missing a required"),
        (lambda d: d["externalParameters"]["parameters"].update(subset="/etc"), "a name is used twice"),
    ],
)
def test_provenance_that_fits_no_stage_runs_nothing(run, change, complaint):
    folder = sample(run)
    damaged(folder, change)
    with pytest.raises(UserError, match=complaint):
        again(run, folder)
    assert not (run.parent / "scratch").exists()


def test_a_digest_nobody_knows_is_refused(run):
    sample(run)
    with pytest.raises(UserError, match="nothing at hand tells how"):
        list(reproduce(Catalog.load(run), "0" * 64, run.parent / "scratch"))


def test_a_figure_is_within_a_share_of_the_larger():
    assert Figure("x", 100.0, 101.0, time=False).within(0.01)
    assert not Figure("x", 100.0, 101.1, time=False).within(0.01)
    assert Figure("x", 0.0, 0.0, time=False).within(0)


def test_a_stage_that_gathered_parts_gets_them_in_their_order_again(run):
    parts = []
    for first in range(12):
        options = {"look": "varied", "count": 1, "size": 128, "gsd": 1.0, "seed": 0, "first": first}
        parts.append(execute(stages.synthesize, run, f"part-{first}", {}, **options))
    whole = Artifact(str(run / "gather" / "dataset"))
    stages.execute(stages.gather, {"parts": [Artifact(str(part)) for part in parts], "dataset": whole})
    digest = read_provenance(run / "gather" / "dataset").digest
    (made,) = reproduce(Catalog.load(run), digest, run.parent / "scratch")
    assert made.verdict == "identical"
