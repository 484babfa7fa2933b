"""Submitting against a server that fails in every way."""

import itertools
import time

import pytest
import yaml
from fake_kfp import FakeKfp

from aerodet.errors import MachineError, UserError
from aerodet.pipelines.cluster import fetch, submit, version_name, wait
from aerodet.pipelines.cluster._calls import Caller
from aerodet.storage import open_store

CREATE = r"^POST /apis/v2beta1/runs$"


def go(api, package, **options):
    options = {"pipeline": "small", "experiment": "nightly", "name": "one", **options}
    return submit(api, package, {"text": "hello", "numbers": [1, 2.5], "nested": {"a": True}}, **options)


def test_a_submission_makes_experiment_pipeline_version_and_run(api, server, package):
    submission = go(api, package, root="s3://bucket/root", service_account="runner", description="by hand")
    (experiment,), (pipeline,), (version,), (run,) = (
        list(objects.values()) for objects in (server.experiments, server.pipelines, server.versions, server.runs)
    )
    assert (experiment.display_name, pipeline.name) == ("nightly", "small")
    assert version.name == submission.version == version_name(package)
    assert submission.uploaded
    assert submission.run_id == run.run_id
    assert (run.display_name, run.description, run.service_account) == ("one", "by hand", "runner")
    assert run.experiment_id == experiment.experiment_id
    assert run.runtime_config.parameters == {"text": "hello", "numbers": [1, 2.5], "nested": {"a": True}}
    assert run.runtime_config.pipeline_root == "s3://bucket/root"
    reference = run.pipeline_version_reference
    assert (reference.pipeline_id, reference.pipeline_version_id) == (
        pipeline.pipeline_id,
        version.pipeline_version_id,
    )
    assert version.pipeline_spec["platform_spec"] == {"platforms": {"kubernetes": {}}}


def test_an_unchanged_pipeline_makes_no_new_version_and_a_changed_one_does(api, server, package, tmp_path):
    first, second = go(api, package), go(api, package, name="two")
    assert second.version == first.version
    assert not second.uploaded
    changed = tmp_path / "changed.yaml"
    changed.write_text(package.read_text().replace("word", "another"))
    assert go(api, changed, name="three").uploaded
    assert (len(server.pipelines), len(server.versions), len(server.runs)) == (1, 2, 3)


def test_runs_without_a_name_have_names_of_their_own(api, server, package):
    names = {go(api, package, name=None).name for _ in range(2)}
    assert len(names) == len(server.runs) == 2
    assert all(name.startswith("small-20") for name in names)


def test_a_run_of_the_same_name_is_the_same_run(api, server, package):
    assert go(api, package).run_id == go(api, package).run_id
    assert len(server.runs) == 1


def test_everything_is_found_past_the_first_page(api, server, package):
    runs = {go(api, package, name=f"run-{number}").run_id for number in range(8)}
    (experiment,) = server.experiments
    assert {run.run_id for run in api.runs(experiment)} == runs
    assert len(runs) == 8


def test_in_multi_user_mode_the_namespace_goes_along(server, package):
    from aerodet.pipelines.cluster import Access, connect

    server.multi_user = True
    api = connect(Access(host=server.url, namespace="ada"))
    go(api, package)
    (experiment,) = server.experiments.values()
    assert experiment.namespace == "ada"


UNCERTAIN = [
    {"kind": 500},
    {"kind": 500, "done": True},
    {"kind": 502, "done": True},
    {"kind": 504, "done": True},
    {"kind": "drop"},
    {"kind": "drop", "done": True},
    {"kind": "slow"},
    {"kind": 429},
    {"kind": 503, "headers": {"Retry-After": "7"}},
]


@pytest.mark.parametrize("fault", UNCERTAIN, ids=lambda f: "-".join(str(v) for v in f.values()))
@pytest.mark.parametrize("times", [1, 3])
def test_no_fault_creates_a_second_run(api, server, package, impatient, fault, times):
    if fault["kind"] == "slow":
        impatient()
    options = {key: value for key, value in fault.items() if key != "kind"}
    server.fail(CREATE, fault["kind"], times, **options)
    submission = go(api, package)
    assert [run.run_id for run in server.runs.values()] == [submission.run_id]


@pytest.mark.parametrize("fault", [{"kind": 500, "done": True}, {"kind": "drop", "done": True}, {"kind": "slow"}])
@pytest.mark.parametrize(
    "match",
    [
        r"^POST /apis/v2beta1/experiments$",
        r"^POST /apis/v2beta1/pipelines$",
        r"^POST /apis/v2beta1/pipelines/upload_version$",
        r"^GET /apis/v2beta1/experiments$",
        r"^GET /apis/v2beta1/pipelines/names/small$",
        r"^GET /apis/v2beta1/pipelines/[^/]+/versions$",
        r"^GET /apis/v2beta1/runs$",
    ],
)
def test_no_fault_on_the_way_makes_anything_twice(api, server, package, impatient, fault, match):
    if fault["kind"] == "slow":
        impatient()
    options = {key: value for key, value in fault.items() if key != "kind"}
    server.fail(match, fault["kind"], **options)
    go(api, package)
    assert (len(server.experiments), len(server.pipelines), len(server.versions), len(server.runs)) == (1, 1, 1, 1)


def test_a_server_that_did_it_late_is_left_with_one_run_going(api, server, package, impatient):
    impatient()
    server.fail(CREATE, "slow", late=0.9)  # done after the client has looked and asked again
    api.caller = Caller(api.caller.server, "", pause=lambda _seconds: None)

    original = server.answer

    def answer(method, path, query, body, content_type):
        if method == "GET" and path.endswith("/runs") and server.count(CREATE) == 2:
            end = time.monotonic() + 5
            while len(server.runs) < 2 and time.monotonic() < end:
                time.sleep(0.02)
        return original(method, path, query, body, content_type)

    server.answer = answer
    submission = go(api, package)
    states = {run.run_id: run.state for run in server.runs.values()}
    assert len(states) == 2
    assert {key for key, state in states.items() if state != "CANCELED"} == {submission.run_id}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (400, r"refuses to create run one \(400: fault 400\)"),
        (401, r"does not take the credentials \(401: fault 401\); give a valid token"),
        (403, r"does not allow to create run one \(403: fault 403\); ask for the role"),
        (404, r"cannot create run one: there is none \(404: fault 404\)"),
        (409, r"cannot create run one: there is one already \(409: fault 409\)"),
    ],
)
def test_a_refusal_is_one_sentence_and_is_not_tried_again(api, server, package, pauses, status, sentence):
    server.fail(CREATE, status, 9)
    with pytest.raises(UserError, match=sentence) as caught:
        go(api, package)
    assert "\n" not in str(caught.value)
    assert server.count(CREATE) == 1
    assert pauses == []


@pytest.mark.parametrize("kind", [429, 500, "drop"])
def test_retries_are_bounded_and_further_apart_each_time(api, server, package, pauses, kind):
    server.fail(CREATE, kind, 99)
    with pytest.raises(MachineError, match=r"the pipeline API at http://127.*(failed to create run one|not answer)"):
        go(api, package)
    assert server.count(CREATE) == 5
    assert len(pauses) == (4 if kind == 429 else 5)  # after the last one it is looked once more whether it is there
    assert server.runs == {}
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses))
    assert sum(pauses) < 45


def test_a_run_that_the_last_attempt_made_is_not_lost(api, server, package):
    server.fail(CREATE, 500, 4)
    server.fail(CREATE, "drop", done=True)
    submission = go(api, package)
    assert list(server.runs) == [submission.run_id]


def test_the_server_says_how_long_to_wait(api, server, package, pauses):
    server.fail(CREATE, 429, headers={"Retry-After": "7"})
    go(api, package)
    assert pauses == [7.0]


def test_a_server_that_is_not_there_is_the_machines_fault(package):
    from aerodet.pipelines.cluster import Access, connect

    api = connect(Access(host="http://127.0.0.1:9"))
    api.caller = Caller(api.caller.server, "", pause=lambda _seconds: None)
    with pytest.raises(MachineError, match=r"the pipeline API at http://127.0.0.1:9 does not answer"):
        go(api, package)


def test_one_who_was_faster_makes_no_conflict(api, server, package):
    server.fail(r"^POST /apis/v2beta1/experiments$", 409, done=True)
    server.fail(r"^POST /apis/v2beta1/pipelines$", 409, done=True)
    server.fail(r"upload_version$", 409, done=True)
    go(api, package)
    assert (len(server.experiments), len(server.pipelines), len(server.versions), len(server.runs)) == (1, 1, 1, 1)


def detail(api, name, state, seconds=3, **more):
    from datetime import UTC, datetime, timedelta

    start = datetime(2026, 11, 1, tzinfo=UTC)
    return api.models.V2beta1PipelineTaskDetail(
        display_name=name,
        state=state,
        create_time=start,
        start_time=start,
        end_time=start + timedelta(seconds=seconds),
        **more,
    )


class Shown:
    """A display that notes what it was told."""

    def __init__(self):
        self.lines = []

    def open(self, title, stages):
        self.lines.append(f"open {title} {stages}")

    def started(self, stage):
        self.lines.append(f"started {stage}")

    def progress(self, stage, event):
        raise AssertionError("a cluster tells no steps")

    def finished(self, stage):
        self.lines.append(f"{stage.state.lower()} {stage.name} {stage.seconds:g}")

    def close(self):
        self.lines.append("close")


def played(server: FakeKfp, api, *looks):
    """Let each look at the run show the next of several states: (state of the run, states of stages)."""
    states = iter(looks)

    def look(run):
        state, stages = next(states)
        run.state = state
        run.run_details = api.models.V2beta1RunDetails(task_details=[detail(api, *stage) for stage in stages])

    server.on_get_run = look


def test_stages_are_shown_as_they_begin_and_end(api, server, package, pauses):
    run = go(api, package)
    played(
        server,
        api,
        ("PENDING", []),
        ("RUNNING", [("root", "RUNNING"), ("root-driver", "SUCCEEDED"), ("step", "RUNNING")]),
        ("RUNNING", [("step", "SUCCEEDED"), ("step-driver", "SUCCEEDED"), ("step-2", "PENDING")]),
        ("RUNNING", [("step", "SUCCEEDED"), ("step-2", "RUNNING"), ("executor", "RUNNING")]),
        ("SUCCEEDED", [("step", "SUCCEEDED"), ("step-2", "SUCCEEDED", 7)]),
    )
    shown = Shown()
    outcome = wait(api, run.run_id, display=shown, every=3)
    assert outcome.state == "SUCCEEDED"
    assert shown.lines == [
        "open run one 2",
        "started first",
        "succeeded first 3",
        "started second-step",
        "succeeded second-step 7",
        "close",
    ]
    assert pauses == [3] * 4


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"])
def test_waiting_ends_on_every_final_state(api, server, package, state):
    run = go(api, package)
    played(server, api, ("RUNNING", []), ("CANCELING", []), ("PAUSED", []), (state, []))
    assert wait(api, run.run_id, display=Shown()).state == state


def test_a_failed_run_names_its_failed_stages_and_the_servers_reason(api, server, package):
    run = go(api, package)
    server.runs[run.run_id].error = api.models.GoogleRpcStatus(code=13, message="pod was\nevicted")
    played(server, api, ("FAILED", [("step", "SUCCEEDED"), ("step-2", "FAILED", 1)]))
    outcome = wait(api, run.run_id, display=Shown())
    assert (outcome.failed, outcome.reason) == (("second-step",), "pod was evicted")


def test_waiting_outlives_faults_and_stops_in_time(api, server, package, impatient):
    run = go(api, package)
    server.runs[run.run_id].state = "RUNNING"
    impatient()
    for kind in (500, 503, "drop", "slow"):
        server.fail(rf"^GET /apis/v2beta1/runs/{run.run_id}$", kind)
    clock = iter(range(0, 1000, 10))
    shown = Shown()
    with pytest.raises(MachineError, match=r"is running after 50 s and goes on; `aerodet submit --follow run-\d+`"):
        wait(api, run.run_id, timeout=50, display=shown, clock=lambda: next(clock))
    assert shown.lines[-1] == "close"


def test_results_are_fetched_from_the_object_store(api, package, bucket_uri, tmp_path):
    run = go(api, package, root=bucket_uri).run_id
    store = open_store(bucket_uri)
    store.write(f"small/{run}/report/salt/results/results.json", b'{"ap50": 1}')
    store.write(f"small/{run}/report/salt/report", b"<html>")
    store.write("small/run-of-another/report/salt/report", b"<other>")
    store.write(f"small/{run}/report/salt/metrics", b"")
    store.write(f"small/{run}/evaluate/report", b"<no>")
    paths = fetch(api, run, tmp_path / "out")
    assert [path.name for path in paths] == ["report.html", "results.json"]
    assert (tmp_path / "out" / "report.html").read_text() == "<html>"
    assert (tmp_path / "out" / "results.json").read_text() == '{"ap50": 1}'


def test_of_a_retried_report_the_newest_is_fetched(api, package, tmp_path):
    run = go(api, package, root=str(tmp_path / "root")).run_id
    store = open_store(tmp_path / "root")
    store.write(f"small/{run}/report/b/report", b"old")
    time.sleep(0.02)
    store.write(f"small/{run}/report/a/report", b"new")
    (path,) = fetch(api, run, tmp_path / "out")
    assert path.read_text() == "new"


def test_without_the_object_store_results_come_from_the_api(api, server, package, bucket_uri, tmp_path):
    run = go(api, package, root="s3://no-such-bucket/root").run_id
    played(server, api, ("SUCCEEDED", []))
    server.on_get_run = lambda found: setattr(
        found,
        "run_details",
        api.models.V2beta1RunDetails(task_details=[detail(api, "report", "SUCCEEDED", pod_name="pod-7")]),
    )
    server.artifacts[run, "pod-7", "results"] = b"{}"
    server.artifacts[run, "pod-7", "report"] = b"<html>"
    assert len(fetch(api, run, tmp_path)) == 2
    assert (tmp_path / "report.html").read_text() == "<html>"


def test_a_run_without_results_is_said(api, package, tmp_path):
    run = go(api, package, root=str(tmp_path / "root")).run_id
    with pytest.raises(UserError, match="has left no results in"):
        fetch(api, run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_store_that_refuses_is_said_where_the_api_has_nothing_either(api, package, bucket_uri, tmp_path):
    run = go(api, package, root="s3://no-such-bucket/root").run_id
    with pytest.raises(UserError, match="there is no bucket no-such-bucket"):
        fetch(api, run, tmp_path / "out")


def test_the_package_goes_up_as_it_is(api, server, package):
    go(api, package)
    (version,) = server.versions.values()
    assert version.pipeline_spec["pipeline_spec"] == next(iter(yaml.safe_load_all(package.read_text())))
