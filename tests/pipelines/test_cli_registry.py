import json
import shutil
from datetime import UTC, datetime

import pytest

from aerodet.files import file_digest
from aerodet.lineage import write_provenance
from aerodet.pipelines import RunRecord
from aerodet.pipelines.record import StageRecord
from aerodet.registry import open_registry
from aerodet.registry.package import make_package

FIGURES = dict.fromkeys(("ap50", "ap75", "ap", "tao_sample", "tao_integrate"), 50.0)
BUNDLE = {"parameters": 12, "classes": ["aircraft"], "size": [64, 64], "quantized": True, "files": []}
CONTENTS = {
    "bundle": {"files.json": BUNDLE, "model.onnx": "graph", "model.sm89.engine": "engine"},
    "evaluation": {"evaluation.json": {**FIGURES, "images": 4, "boxes": 9, "slices": {}, "per_class": {}}},
    "benchmark": {
        "benchmark.json": {"int8": {"median_ms": 0.8}, "ratio": 3.1, "batch": 1, "threads": 2, "cpu": "a CPU"}
    },
}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("AERODET_SIGNING_KEY", "AERODET_VERIFY_KEY"):
        monkeypatch.delenv(name, raising=False)


def publish(folder, engine, key=None):
    """Publish a made-up run under ``folder``/runs; returns its folder."""
    run = folder / "runs" / engine
    record = RunRecord(engine, "aerodet", {"registry": str(folder / "runs" / "registry")})
    inputs = {}
    for name, files in CONTENTS.items():
        inputs[name] = run / "artifacts" / name / name
        inputs[name].mkdir(parents=True)
        for file, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (inputs[name] / file).write_text(f"{text} {engine}" if file.endswith(".engine") else text)
        now = datetime.now(UTC)
        above = {} if name == "bundle" else {"model": inputs["bundle"]}
        write_provenance(inputs[name], name=name, stage=name, inputs=above, parameters={}, started=now, finished=now)
    package = make_package(folder / f"package-{engine}", inputs, name="aircraft", run_id=engine, key=key)
    facts = {"digests": package.digests, "metrics": {"ap50": 50.0, "median_ms": 0.8}, "parameters": {}}
    version = open_registry(record.parameters["registry"]).publish("aircraft", package.files, **facts, run_id=engine)
    published = run / "artifacts" / "publish" / "version"
    published.mkdir(parents=True)
    (published / "version.json").write_text(
        json.dumps({"published": True, "name": version.name, "version": version.version})
    )
    record.write(run)
    return run


def test_versions_are_listed_promoted_rolled_back_and_archived(aerodet, tmp_path):
    assert aerodet("registry", "list") == (0, "nothing is published in runs/registry\n", "")
    for engine in ("one", "two"):
        publish(tmp_path, engine)
    status, output, _ = aerodet("registry", "list")
    assert status == 0
    assert [line.split()[:3] for line in output.splitlines()[1:]] == [
        ["aircraft", "1", "challenger"],
        ["aircraft", "2", "challenger"],
    ]
    assert aerodet("registry", "promote", "aircraft", "1")[1] == "version 1 of aircraft is the champion\n"
    assert aerodet("registry", "promote", "aircraft")[1] == "version 2 of aircraft is the champion\n"
    assert aerodet("registry", "rollback", "aircraft")[1] == "version 1 of aircraft is the champion again\n"
    listed = json.loads(aerodet("registry", "list", "aircraft", "--json")[1])
    assert [version["stage"] for version in listed] == ["champion", "archived"]
    status, _, shown = aerodet("registry", "rollback", "aircraft")
    assert (status, "no earlier champion" in shown) == (2, True)
    status, _, shown = aerodet("registry", "archive", "aircraft", "1")
    assert (status, "is the champion" in shown) == (2, True)
    facts = json.loads(aerodet("registry", "show", "aircraft", "champion")[1])
    assert (facts["version"], facts["tags"]["run_id"], facts["uri"]) == (1, "one", "models:/aircraft/1")
    assert aerodet("registry", "promote", "aircraft", "7")[0] == 2


def test_a_version_is_taken_away_and_verified(aerodet, tmp_path):
    assert aerodet("registry", "key", "signing.key")[0] == 0
    publish(tmp_path, "one", tmp_path / "signing.key")
    status, output, _ = aerodet("registry", "download", "aircraft", "taken", "--version", "1")
    assert (status, output.startswith("taken: version 1 of aircraft")) == (0, True)
    assert aerodet("registry", "download", "aircraft", "taken", "--version", "1")[0] == 2
    for target in ("taken", "aircraft/1", "aircraft@challenger", "models:/aircraft/1", "runs/one"):
        status, output, _ = aerodet("verify", target, "--key", "signing.pub")
        assert status == 0, output
        assert "nothing was changed" in output
        assert "signed by the owner of signing.pub" in output
    status, output, _ = aerodet("verify", "runs/one/artifacts/evaluation/evaluation")
    assert (status, "2 artifacts checked" in output) == (0, True)
    (tmp_path / "taken" / "model.onnx").write_text("another")
    status, output, _ = aerodet("verify", "taken", "--key", "signing.pub")
    assert status == 2
    assert "fault: model.onnx: it was changed" in output
    assert "fault: model.sig: the signature does not hold for signing.pub: model.onnx changed" in output


@pytest.mark.parametrize("content", ["{X", "[]", "null", '{"published": true}', "\x00"])
def test_what_a_publication_left_may_be_broken_and_is_named(aerodet, tmp_path, content):
    run = publish(tmp_path, "one")
    (run / "artifacts" / "publish" / "version" / "version.json").write_text(content)
    status, output, errors = aerodet("verify", run)
    assert status == 2
    assert "version.json: tells of no version" in output
    assert "Traceback" not in errors


@pytest.mark.parametrize("target", ["runs/one", "aircraft/1", "runs/one/artifacts/evaluation/evaluation"])
def test_a_changed_artifact_of_the_run_is_named(aerodet, tmp_path, target):
    run = publish(tmp_path, "one")
    (run / "artifacts" / "bundle" / "bundle" / "files.json").write_text("{ }")
    status, output, _ = aerodet("verify", target, "--json")
    found = json.loads(output)
    assert (status, found["intact"]) == (2, False)
    (what,) = {finding["what"] for finding in found["findings"] if finding["severity"] == "fault"}
    assert what == str(run / "artifacts" / "bundle" / "bundle")


def report(run):
    """Add what the stage report leaves in a run; returns its folder."""
    made = run / "artifacts" / "report"
    (made / "results").mkdir(parents=True)
    for place in (made / "results" / "results.json", made / "report", run / "results.json", run / "report.html"):
        place.write_text("as it was made")
    now = datetime.now(UTC)
    facts = {"name": "results", "stage": "report", "inputs": {}, "parameters": {}}
    digests = {
        "results": write_provenance(made / "results", **facts, started=now, finished=now).digest,
        "report": file_digest(made / "report"),
    }
    noted = {name: {"artifacts": [{"metadata": {"digest": f"sha256:{digest}"}}]} for name, digest in digests.items()}
    (made / "executor_output.json").write_text(json.dumps({"artifacts": noted}))
    record = RunRecord.read(run)
    outputs = {name: str(made / name) for name in digests}
    record.stages.append(StageRecord("report", "SUCCEEDED", outputs=outputs))
    record.write(run)
    return made


@pytest.mark.parametrize("run_id", ["one", "report", "results", "artifacts"])
@pytest.mark.parametrize("name", ["report.html", "results.json", "artifacts/report/report"])
def test_a_changed_report_of_a_run_is_named(aerodet, tmp_path, run_id, name):
    run = publish(tmp_path, run_id)
    report(run)
    status, output, _ = aerodet("verify", run)
    assert (status, "note" in output) == (0, "note: " + str(run) in output)
    moved = run.rename(tmp_path / "elsewhere")
    (moved / name).write_text("better")
    status, output, _ = aerodet("verify", moved, "--registry", tmp_path / "runs" / "registry")
    assert status == 2
    assert f"fault: {moved / name}: it was changed since the run made it" in output
    assert "1 fault" in output


def test_a_report_whose_original_is_gone_is_checked_by_what_was_noted(aerodet, tmp_path):
    run = publish(tmp_path, "one")
    made = report(run)
    shutil.rmtree(made / "results")
    (made / "report").unlink()
    status, output, _ = aerodet("verify", run)
    assert (status, f"note: {made / 'report'}: it is not there any more" in output) == (0, True)
    (run / "results.json").write_text("better")
    assert f"fault: {run / 'results.json'}: it was changed" in aerodet("verify", run)[1]


def test_a_report_of_which_nothing_tells_what_it_was_is_noted(aerodet, tmp_path, monkeypatch):
    run = publish(tmp_path, "one")
    made = report(run)
    (made / "executor_output.json").unlink()
    (run / "report.html").unlink()
    status, output, _ = aerodet("verify", run)
    assert status == 0
    assert f"note: {run / 'results.json'}: nothing tells what it was" in output
    assert f"note: {run / 'report.html'}: it is not there any more" in output
    record = RunRecord.read(run)
    record.stage("report").outputs.clear()
    record.write(run)
    monkeypatch.chdir(run)
    assert f"note: {run / 'results.json'}: nothing tells what it was" in aerodet("verify", run)[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["aircraft/1"], "no model named 'aircraft'"),
        (["no such thing"], "is no folder and no version"),
        (["."], "is neither a run nor an artifact"),
        ([".", "--key", "nothing.pub"], "nothing.pub is no file"),
    ],
)
def test_what_cannot_be_verified_is_one_sentence(aerodet, arguments, sentence):
    status, output, shown = aerodet("verify", *arguments)
    assert (status, output) == (2, "")
    assert sentence in " ".join(shown.split())
