"""The web page shows the runs and schedules of a pipeline server beside those in folders."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from aerodet.lineage import write_provenance
from aerodet.pipelines.cluster import create_schedule, pause_schedule, submit
from aerodet.pipelines.ui._app import make_app
from aerodet.pipelines.ui._cluster import Cluster
from aerodet.pipelines.ui._library import Library
from aerodet.pipelines.ui._registry import Registries

START = datetime(2026, 11, 1, tzinfo=UTC)


def ask(app, path):
    """Return status and JSON of an answer, without a server between."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": f"/api/{path}", "query_string": b"", "headers": headers}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "artifacts").mkdir()
    return tmp_path / "artifacts"


@pytest.fixture
def app(api, place, tmp_path):
    return make_app(Library([str(place)]), Registries([]), tmp_path, cluster=Cluster(api, "nightly"))


def detail(api, name, state, minute, **more):
    begin = START + timedelta(minutes=minute)
    ends = {} if state == "RUNNING" else {"end_time": begin + timedelta(seconds=30)}
    return api.models.V2beta1PipelineTaskDetail(
        display_name=name, state=state, create_time=begin, start_time=begin, **ends, **more
    )


def start(api, server, package, *details, state="RUNNING"):
    run = submit(api, package, {"text": "x"}, pipeline="small", experiment="nightly", name="monday")
    stored = server.runs[run.run_id]
    stored.state, stored.created_at = state, START
    stored.run_details = api.models.V2beta1RunDetails(task_details=list(details))
    return run.run_id


def test_a_run_on_the_server_has_its_states_times_and_graph(api, server, package, app):
    run_id = start(api, server, package, detail(api, "step", "SUCCEEDED", 1), detail(api, "step-2", "RUNNING", 2))
    _, (row,) = ask(app, "runs")
    assert (row["id"], row["name"], row["state"], row["done"], row["stages"]) == (run_id, "monday", "RUNNING", 1, 2)
    _, found = ask(app, f"runs/{run_id}")
    assert [(s["name"], s["state"]) for s in found["stages"]] == [("first", "SUCCEEDED"), ("second-step", "RUNNING")]
    assert found["stages"][0]["seconds"] == 30
    assert found["stages"][0]["began"] == (START + timedelta(minutes=1)).isoformat()
    assert found["parameters"] == {"text": "x"}
    assert found["logs"] is False


def test_what_a_run_made_is_found_by_its_provenance_under_the_runs_id(api, server, package, app, place):
    run_id = start(api, server, package, detail(api, "first", "SUCCEEDED", 1), state="SUCCEEDED")
    folder = place / "small" / run_id / "step" / "12" / "bundle"
    folder.mkdir(parents=True)
    (folder / "model.engine").write_text("plan")
    facts = {"stage": "export", "parameters": {}, "started": START, "finished": START}
    made = write_provenance(folder, name="bundle", inputs={}, annotations={"kind": "engine"}, **facts)
    _, found = ask(app, f"runs/{run_id}")
    assert found["main"] == made.digest
    assert found["stages"][0]["outputs"] == [{"name": "bundle", "digest": made.digest, "kind": "engine"}]
    assert found["stages"][1] == {"name": "second-step", "state": "PENDING", "outputs": []}


def test_a_stage_that_failed_and_a_run_that_was_ended_say_so(api, server, package, app):
    error = api.models.GoogleRpcStatus(message="no\nGPU")
    run_id = start(api, server, package, detail(api, "first", "FAILED", 1, error=error), state="CANCELED")
    _, found = ask(app, f"runs/{run_id}")
    assert found["state"] == "STOPPED"
    assert found["stages"][0]["error"] == "no GPU"


def test_an_experiment_that_is_not_there_has_no_runs_and_is_not_made(app, server):
    assert ask(app, "runs") == (200, [])
    assert server.experiments == {}


def test_schedules_are_listed_with_their_next_times(api, server, package, app):
    submit(api, package, {"text": "x"}, pipeline="small", experiment="nightly")
    create_schedule(api, "early", experiment="nightly", pipeline="small", cron="0 2 * * *", parameters={"text": "y"})
    create_schedule(api, "often", experiment="nightly", pipeline="small", interval=3600, parameters={"text": "y"})
    pause_schedule(api, "often", experiment="nightly")
    _, (early, often) = ask(app, "schedules")
    assert (early["name"], early["when"], early["enabled"]) == ("early", "0 2 * * *", True)
    assert len(early["next"]) == 3
    assert all(datetime.fromisoformat(moment).hour == 2 for moment in early["next"])
    assert (often["when"], often["enabled"], often["next"]) == ("every 3600 s", False, [])
    assert ask(app, "overview")[1]["schedules"] is True


def test_without_a_server_there_is_no_page_of_schedules(place, tmp_path):
    app = make_app(Library([str(place)]), Registries([]), tmp_path)
    assert ask(app, "overview")[1]["schedules"] is False


def test_a_server_that_fails_is_a_sentence(api, server, app):
    server.fail("/experiments", 503, times=50)
    status, answer = ask(app, "runs")
    assert status == 503
    assert answer["error"]
