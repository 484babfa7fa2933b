"""The commands, against the server; what they do is tested beside the functions that they call."""

import json
import sys
from datetime import UTC, datetime

import pytest
import yaml

from aerodet.lineage import read_provenance, write_provenance
from aerodet.pipelines.check import check_package
from aerodet.pipelines.cli import main
from aerodet.pipelines.flows import FLOWS
from aerodet.storage import open_store


@pytest.fixture
def run(monkeypatch, capsys, server, tmp_path):
    """Return a function that runs a command and gives exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["aerodet", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        out, err = capsys.readouterr()
        return status, out, err

    return command


def test_a_dry_run_writes_a_sound_package_and_asks_no_server(run, server, tmp_path):
    status, out, _ = run("submit", "--profile", "cluster", "--dry-run", tmp_path / "p.yaml")
    assert (status, out) == (0, f"{tmp_path / 'p.yaml'}\n")
    assert check_package(tmp_path / "p.yaml") == []
    _spec, platform = yaml.load_all((tmp_path / "p.yaml").read_text(), Loader=yaml.CSafeLoader)
    assert "kubernetes" in platform["platforms"]
    assert server.requests == []


def test_submit_starts_watches_and_fetches(run, server, bucket_uri, tmp_path):
    def finished(run):
        run.state = "SUCCEEDED"
        store = open_store(bucket_uri)
        store.write(f"aerodet/{run.run_id}/report/x/results/results.json", b"{}")
        store.write(f"aerodet/{run.run_id}/report/x/report", b"<html>")

    server.on_get_run = finished
    status, out, err = run(
        "submit", "--profile", "minimal", "--registry", "/data/registry", "--state", f"{bucket_uri}/state",
        "--root", bucket_uri, "--name", "first", "--param", "seed=3", "--experiment", "nightly",
    )  # fmt: skip
    assert status == 0, err
    (made,) = server.runs.values()
    parameters = made.runtime_config.parameters
    assert parameters.pop("started") > 1.7e9
    assert parameters == {
        "run_id": "first",
        "registry": "/data/registry",
        "state": f"{bucket_uri}/state",
        "seed": 3,
    }
    assert out.splitlines()[0] == made.run_id
    assert (tmp_path / "runs" / "first" / "report.html").read_text() == "<html>"
    assert "uploaded" in err
    status, _, err = run("submit", "--profile", "minimal", "--registry", "/r", "--name", "second", "--no-wait")
    assert (status, "is there already" in err) == (0, True)


def test_another_flow_is_submitted_and_fetched_in_the_same_way(run, server, bucket_uri, tmp_path):
    def finished(run):
        run.state = "SUCCEEDED"
        store = open_store(bucket_uri)
        store.write(f"aerodet-sweep/{run.run_id}/sweep-report/x/results/results.json", b"{}")
        store.write(f"aerodet-sweep/{run.run_id}/sweep-report/x/report", b"<html>")

    server.on_get_run = finished
    few = ("--set", "sweep.fractions=[10]", "--set", "sweep.frames=[]")
    start = ("submit", "--flow", "sweep", "--profile", "minimal", *few)
    status, _, err = run(*start, "--root", bucket_uri, "--name", "first")
    assert status == 0, err
    (made,) = server.runs.values()
    assert made.runtime_config.parameters.keys() == {"started", "run_id"}
    assert (tmp_path / "runs" / "first" / "report.html").read_text() == "<html>"
    status, _, err = run(*start, "--registry", "/r")
    assert (status, err) == (2, "error: this flow publishes nothing; leave out --registry\n")
    status, _, err = run("submit", "--flow", "survey", "--profile", "minimal")
    assert (status, err) == (2, "error: there is no flow survey; there are " + ", ".join(FLOWS) + "\n")


@pytest.mark.parametrize("state", ["FAILED", "CANCELED", "SKIPPED"])
def test_a_run_that_does_not_succeed_is_an_error(run, server, state):
    server.on_get_run = lambda found: setattr(found, "state", state)
    status, out, err = run("submit", "--profile", "minimal", "--registry", "/r")
    assert status == 1
    assert f"run {out.strip()} ended {state}" in err


def test_a_run_that_goes_on_can_be_followed(run, server):
    run("submit", "--profile", "minimal", "--registry", "/r", "--no-wait")
    (made,) = server.runs
    server.on_get_run = lambda found: setattr(found, "state", "CANCELED")
    status, _, err = run("submit", "--follow", made)
    assert (status, f"run {made} ended CANCELED" in err) == (1, True)


def test_a_refused_submission_is_one_sentence_and_exit_2(run, server):
    server.token = "needed"
    status, out, err = run("submit", "--profile", "minimal", "--registry", "/r")
    assert (status, out) == (2, "")
    assert "does not take the credentials (401" in err
    assert err.count("\n") == 1


def test_a_submission_without_a_registry_is_refused_before_anything_is_asked(run, server):
    status, _, err = run("submit", "--profile", "minimal")
    assert (status, server.requests) == (2, [])
    assert "--registry ADDRESS" in err


def test_a_schedule_from_beginning_to_end(run, server):
    options = ["--profile", "minimal", "--registry", "/r"]
    status, out, err = run("schedule", "create", "night", "--cron", "0 2 * * *", *options, "--timezone", "Europe/Rome")
    assert status == 0, err
    assert "when       0 2 * * * (Europe/Rome)" in out
    assert "the newest at each start" in out
    assert out.split("next ")[1].count(" 02:00") == 5
    assert "missed runs are left out" in out
    run("schedule", "create", "night", "--cron", "0 3 * * *", *options, "--pin")
    (recurring,) = server.recurring.values()
    assert recurring.trigger.cron_schedule.cron == "0 0 3 * * *"
    assert recurring.pipeline_version_reference.pipeline_version_id
    assert run("schedule", "pause", "night")[:2] == (0, "night is paused\n")
    assert "paused" in run("schedule", "list")[1]
    (listed,) = json.loads(run("schedule", "list", "--json")[1])
    assert (listed["name"], listed["enabled"], listed["next"]) == ("night", False, [])
    assert run("schedule", "resume", "night")[0] == 0
    assert "0 3 * * *" in run("schedule", "show", "night")[1]
    shown = json.loads(run("schedule", "show", "night", "--timezone", "Asia/Tokyo", "--json")[1])
    assert shown["cron"] == "0 0 3 * * *"
    assert len(shown["next"]) == 5
    assert all(time.endswith("T18:00:00+00:00") for time in shown["next"])
    assert run("schedule", "run-now", "night")[1].strip() in server.runs
    assert run("schedule", "delete", "night")[:2] == (0, "night is deleted\n")
    assert "there are no schedules" in run("schedule", "list")[1]
    assert json.loads(run("schedule", "list", "--json")[1]) == []
    status, _, err = run("schedule", "show", "night")
    assert (status, "there is no schedule night" in err) == (2, True)


def test_the_way_to_the_server_may_stand_behind_the_command(run, server, monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    options = ["--profile", "minimal", "--registry", "/r", "--cron", "@daily"]
    status, _, err = run("schedule", "create", "night", *options, "--host", server.url, "--experiment=nightly")
    assert status == 0, err
    for words in (["list", "--experiment", "nightly", f"--host={server.url}"], ["--host", server.url, "list"]):
        status, out, _ = run("schedule", *words)
        assert (status, "night" in out) == (0, "--experiment" in words)
    status, _, err = run("schedule", "list", "--host")
    assert (status, "requires an argument" in err) == (2, True)


def test_trigger_starts_once_and_says_why(run, server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "coco.json").write_text("{}")
    command = ["trigger", "--data", "data", "--notes", "notes", "--profile", "minimal", "--registry", "/r"]
    status, out, _ = run(*command)
    assert (status, out.startswith("started (run-")) == (0, True)
    assert run(*command)[1].startswith("busy: run aerodet-minimal-data-")
    next(iter(server.runs.values())).state = "SUCCEEDED"
    decision = json.loads(run(*command, "--json")[1])
    assert decision["action"] == "unchanged"
    assert len(server.runs) == 1


def test_doctor_prints_a_line_a_check_and_fails_when_something_is_wrong(run, server):
    status, out, _ = run("doctor", "--profile", "minimal")
    assert status == 1
    lines = out.splitlines()
    assert lines[0].startswith("✓ pipeline API     Kubeflow Pipelines 2.17")
    assert any(line.startswith("✗ Kubernetes API") for line in lines)


def test_lineage_of_a_run_is_read_where_its_pods_left_the_artifacts(run, server, bucket_uri, tmp_path):
    submitted = ("--profile", "minimal", "--registry", "/r", "--root", bucket_uri, "--no-wait", "--name", "kept")
    status, out, err = run("submit", *submitted)
    assert status == 0, err
    run_id = out.strip()
    status, _, err = run("lineage", run_id, "--kfp", server.url)
    assert (status, f"run {run_id} has left no artifact in {bucket_uri}/aerodet/{run_id}" in err) == (2, True)

    now, store = datetime(2026, 5, 1, tzinfo=UTC), open_store(bucket_uri)
    folders = {name: tmp_path / name for name in ("dataset", "model")}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "content").write_text(name)
        inputs = {"dataset": folders["dataset"]} if name == "model" else {}
        facts = {"stage": f"make-{name}", "parameters": {}, "started": now, "finished": now}
        write_provenance(folder, name=name, inputs=inputs, **facts)
        for path in folder.iterdir():
            store.upload(path, f"aerodet/{run_id}/make-{name}/7/{name}/{path.name}")
    status, out, err = run("lineage", run_id, "--kfp", server.url, "--format", "json")
    assert status == 0, err
    found = {read_provenance(folder).digest for folder in folders.values()}
    assert all(digest in out for digest in found)
    assert json.loads(out)
    status, out, _ = run("lineage", run_id, "--kfp", server.url)
    assert "make-model" in out
    assert f"{bucket_uri}/aerodet/{run_id}/make-dataset/7/dataset" in out
