"""``aerodet lineage``, ``diff`` and ``reproduce`` as a user types them."""

import json
import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from aerodet.lineage import read_provenance, write_provenance
from aerodet.pipelines.record import RunRecord
from aerodet.storage import open_store


def make_run(folder, images="images"):
    now = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    made = {"started": now, "finished": now}
    for name, content, stage, inputs, kind in (
        ("dataset", images, "synthesize", (), "coco"),
        ("model", f"weights from {images}", "train", ("dataset",), "checkpoint"),
        ("bundle", f"plan from {images}", "export", ("model",), "engine"),
        ("report", f"report on {images}", "report", ("bundle",), "results"),
    ):
        place = folder / "artifacts" / stage / name
        place.mkdir(parents=True)
        (place / ("model.engine" if kind == "engine" else "content.txt")).write_text(content)
        found = {i: next(folder.glob(f"artifacts/*/{i}")) for i in inputs}
        write_provenance(place, name=name, inputs=found, stage=stage, parameters={}, annotations={"kind": kind}, **made)
    RunRecord(folder.name, "aerodet", {}, state="SUCCEEDED").write(folder)
    return folder


@pytest.fixture
def runs(tmp_path):
    make_run(tmp_path / "runs" / "one")
    make_run(tmp_path / "runs" / "two", "other images")
    (tmp_path / "runs" / "latest").symlink_to("two")
    return tmp_path / "runs"


def digest(run, name):
    return read_provenance(next(run.glob(f"artifacts/*/{name}"))).digest


@pytest.mark.parametrize("target", ["one", "runs/one", "ENGINE", "COPY", "DIGEST", "runs/one/artifacts/export/bundle"])
def test_lineage_starts_from_a_run_a_file_a_folder_or_a_digest(aerodet, runs, tmp_path, target):
    engine = runs / "one" / "artifacts" / "export" / "bundle" / "model.engine"
    shutil.copy(engine, tmp_path / "copy.plan")
    names = {"ENGINE": engine, "COPY": tmp_path / "copy.plan", "DIGEST": digest(runs / "one", "bundle")[:9]}
    status, output, _ = aerodet("lineage", names.get(target, target))
    assert status == 0
    for name in ("dataset", "model", "bundle"):
        assert digest(runs / "one", name) in output
    assert digest(runs / "two", "dataset") not in output


def test_a_run_behind_a_link_is_found(aerodet, runs):
    status, output, _ = aerodet("lineage", "runs/latest", "--no-files")
    assert status == 0
    assert output.startswith("results, made by report")
    assert digest(runs / "two", "dataset") in output


def test_one_direction_can_be_had(aerodet, runs):
    _, up, _ = aerodet("lineage", "runs/one/artifacts/train/model", "--upstream")
    _, down, _ = aerodet("lineage", "runs/one/artifacts/train/model", "--downstream")
    assert digest(runs / "one", "dataset") in up
    assert digest(runs / "one", "bundle") not in up
    assert digest(runs / "one", "dataset") not in down
    assert digest(runs / "one", "bundle") in down
    status, _, error = aerodet("lineage", "one", "--upstream", "--downstream")
    assert status == 2
    assert "take one" in error


def test_the_list_is_what_sha256sum_reads(aerodet, runs, tmp_path):
    _, sums, _ = aerodet("lineage", "one", "--format", "sums")
    done = subprocess.run(
        ["sha256sum", "-c", "--strict"], input=sums, cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize("form", ["json", "dot", "openlineage"])
def test_programs_get_their_formats_and_nothing_else_on_stdout(aerodet, runs, form):
    (runs / "one" / "artifacts" / "odd").mkdir()
    (runs / "one" / "artifacts" / "odd" / "provenance.json").write_text("{")
    status, output, error = aerodet("lineage", "one", "--format", form)
    assert status == 0
    assert error.startswith("left out: ")
    lines = output.splitlines() if form == "openlineage" else [output]
    if form == "dot":
        assert output.startswith("digraph")
    else:
        assert all(json.loads(line) for line in lines)


def test_a_bucket_is_searched_for_a_file_that_was_copied_to_a_device(aerodet, runs, tmp_path, bucket_uri):
    store = open_store(bucket_uri)
    for path in (runs / "one").rglob("*"):
        if path.is_file():
            store.upload(path, f"ml/one/{path.relative_to(runs / 'one').as_posix()}")
    (tmp_path / "device").mkdir()
    shutil.copy(next(runs.glob("one/artifacts/*/bundle/model.engine")), tmp_path / "device" / "engine.plan")
    dataset = digest(runs / "one", "dataset")
    shutil.rmtree(runs)
    status, output, _ = aerodet("lineage", "device/engine.plan", "--in", bucket_uri)
    assert status == 0
    assert f"{dataset}  {bucket_uri}/ml/one/artifacts/synthesize/dataset" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lineage", "nothing"), "is no digest either"),
        (("lineage", "0123456789"), "say with --in where to look"),
        (("lineage", "one", "--in", "nowhere"), "nowhere is not a folder"),
        (("lineage", "one", "--in", "gs://bucket/x"), "is not an address of files"),
        (("diff", "one", "nothing"), "is no digest either"),
        (("reproduce", "0123456789"), "say with --in where to look"),
        (("reproduce", "one", "--keep", "runs"), "runs exists already"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(aerodet, runs, arguments, said):
    status, _, error = aerodet(*arguments)
    assert status == 2
    assert said in error
    assert "Traceback" not in error


def test_without_runs_the_place_has_to_be_said(aerodet):
    status, _, error = aerodet("lineage", "0123456789")
    assert status == 2
    assert "say with --in" in error


def test_diff_of_runs_holds_their_engines_against_each_other(aerodet, runs):
    status, output, _ = aerodet("diff", "one", "runs/latest")
    assert status == 0
    assert f"A  {digest(runs / 'one', 'bundle')}" in output
    assert f"B  {digest(runs / 'two', 'bundle')}" in output
    assert "model/dataset" in output
    assert digest(runs / "one", "dataset")[:12] in output
    status, output, _ = aerodet("diff", "one", "two", "--json", "--exit-code")
    assert status == 1
    assert json.loads(output)["schema"] == "aerodet/diff/1"
    status, output, _ = aerodet("diff", "one", "one", "--exit-code")
    assert status == 0
    assert "the same content" in output


def test_reproduce_says_what_it_cannot_run(aerodet, runs):
    status, _, error = aerodet("reproduce", "one")
    assert status == 2
    assert "does not fit stage export of this version" in error
