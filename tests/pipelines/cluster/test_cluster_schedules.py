from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerodet.errors import MachineError, UserError
from aerodet.pipelines.cluster import (
    create_schedule,
    delete_schedule,
    get_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
    run_now,
    submit,
    zone_of,
)
from aerodet.pipelines.cluster._cron import six_fields, written

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "six"),
    [
        ("0 2 * * *", "0 0 2 * * *"),
        ("  30  4   * * mon-fri ", "0 30 4 * * mon-fri"),
        ("15 0 2 * * *", "15 0 2 * * *"),
        ("*/10 * * * *", "0 */10 * * * *"),
        ("0 0 * * 7", "0 0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 0 * * 5-6,0"),
        ("0 0 * * 1-7", "0 0 0 * * 0-6"),
        ("0 0 * * 3,7", "0 0 0 * * 3,0"),
        ("0 0 1 jul *", "0 0 0 1 jul *"),
        ("0 0 * * wed", "0 0 0 * * wed"),
        ("@daily", "0 0 0 * * *"),
        ("@weekly", "0 0 0 * * 0"),
    ],
)
def test_a_crontab_line_becomes_six_fields(given, six):
    assert six_fields(given) == six


@pytest.mark.parametrize(
    ("cron", "sentence"),
    [
        ("0 2 * *", "has 4 fields"),
        ("0 0 2 * * * 2026", "has 7 fields"),
        ("61 2 * * *", "is no cron expression: bad minute"),
        ("0 25 * * *", "bad hour"),
        ("0 22-2 * * *", "bad hour"),
        ("0 2 L * *", "uses L, W or #"),
        ("0 2 * * 1#2", "uses L, W or #"),
        ("0 2 15W * *", "uses L, W or #"),
        ("@every 5m", "is no schedule; use @yearly"),
        ("", "has 1 fields"),
    ],
)
def test_what_the_server_would_misread_is_refused(cron, sentence):
    with pytest.raises(UserError) as caught:
        six_fields(cron)
    assert sentence in str(caught.value)


@given(st.integers(0, 59), st.integers(0, 23))
def test_five_fields_come_back_as_they_were_written(minute, hour):
    assert written(six_fields(f"{minute} {hour} * * *")) == f"{minute} {hour} * * *"


@pytest.fixture
def flow(api, server, package):
    """A pipeline with one version."""
    submit(api, package, {}, pipeline="small", experiment="nightly", name="first")
    server.runs.clear()
    return next(iter(server.versions.values()))


def make(api, name="night", **options):
    options = {
        "experiment": "nightly",
        "pipeline": "small",
        "cron": "0 2 * * *",
        "parameters": {"text": "x"},
        **options,
    }
    return create_schedule(api, name, **options)


def test_a_schedule_follows_the_newest_version_and_makes_up_for_nothing(api, server, flow):
    schedule = make(api, root="s3://b/r", service_account="runner")
    (body,) = server.recurring.values()
    assert body.trigger.cron_schedule.cron == "0 0 2 * * *"
    assert body.pipeline_version_reference.pipeline_id == flow.pipeline_id
    assert body.pipeline_version_reference.pipeline_version_id is None
    assert (body.no_catchup, body.max_concurrency, body.status) == (True, "1", "ENABLED")
    assert body.runtime_config.parameters == {"text": "x"}
    assert (schedule.root, schedule.service_account) == ("s3://b/r", "runner")
    assert schedule == get_schedule(api, "night", experiment="nightly")


def test_the_next_five_times_are_known(api, flow):
    times = make(api).next_times(now=NOON)
    assert times == [datetime(2026, 11, day, 2, tzinfo=UTC) for day in (26, 27, 28, 29, 30)]
    vienna = make(api).next_times(ZoneInfo("Europe/Vienna"), now=NOON, count=1)
    assert vienna[0].astimezone(UTC) == datetime(2026, 11, 26, 1, tzinfo=UTC)


def test_an_interval_counts_from_its_start(api, server, flow):
    schedule = make(api, cron=None, interval=3600)
    assert schedule.when == "every 3600 s"
    times = schedule.next_times(now=NOON, count=2)
    assert (times[1] - times[0]).total_seconds() == 3600
    assert all((time - schedule.start).total_seconds() % 3600 == 0 for time in times)
    assert 0 < (times[0] - NOON).total_seconds() <= 3600


def test_pinned_and_paused_as_asked(api, server, flow):
    schedule = make(api, version_id=flow.pipeline_version_id, paused=True, catch_up=True, max_concurrency=3)
    assert (schedule.version_id, schedule.enabled) == (flow.pipeline_version_id, False)
    assert (schedule.catch_up, schedule.max_concurrency) == (True, 3)


def test_a_schedule_of_the_same_name_is_replaced_and_there_is_no_moment_with_two(api, server, flow):
    make(api)
    (old,) = server.recurring
    enabled = []
    original = server.answer

    def answer(*request):
        result = original(*request)
        enabled.append(sum(run.status == "ENABLED" for run in server.recurring.values()))
        return result

    server.answer = answer
    make(api, cron="0 3 * * *")
    (new,) = server.recurring
    assert new != old
    assert server.recurring[new].trigger.cron_schedule.cron == "0 0 3 * * *"
    assert max(enabled) == 1


@pytest.mark.parametrize("match", [r":enable$", r":disable$"])
@pytest.mark.parametrize("kind", [403, 500])
def test_a_replacement_that_fails_leaves_the_old_one_as_it_was(api, server, flow, match, kind):
    make(api)
    (old,) = server.recurring
    server.fail(match, kind, 1 if kind == 403 else 5)
    with pytest.raises((UserError, MachineError)):
        make(api, cron="0 3 * * *")
    assert {key: run.status for key, run in server.recurring.items()} == {old: "ENABLED"}


@pytest.mark.parametrize("fault", [{"kind": 500, "done": True}, {"kind": "drop", "done": True}, {"kind": "drop"}])
@pytest.mark.parametrize(
    "match", [r"^POST /apis/v2beta1/recurringruns$", r":enable$", r":disable$", r"^DELETE ", r"^GET .*recurringruns"]
)
def test_no_fault_leaves_two_schedules_or_none(api, server, flow, match, fault):
    make(api)
    options = {key: value for key, value in fault.items() if key != "kind"}
    server.fail(match, fault["kind"], **options)
    make(api, cron="0 3 * * *")
    (run,) = server.recurring.values()
    assert (run.status, run.trigger.cron_schedule.cron) == ("ENABLED", "0 0 3 * * *")


def test_pause_resume_and_delete(api, server, flow):
    make(api)
    pause_schedule(api, "night", experiment="nightly")
    assert not get_schedule(api, "night", experiment="nightly").enabled
    resume_schedule(api, "night", experiment="nightly")
    assert get_schedule(api, "night", experiment="nightly").enabled
    delete_schedule(api, "night", experiment="nightly")
    assert server.recurring == {}
    with pytest.raises(UserError, match="there is no schedule night in experiment nightly"):
        get_schedule(api, "night", experiment="nightly")


def test_schedules_are_listed_by_name_over_all_pages(api, flow):
    for number in (3, 1, 4, 2, 0):
        make(api, f"s{number}")
    assert [schedule.name for schedule in list_schedules(api, "nightly")] == ["s0", "s1", "s2", "s3", "s4"]
    assert len(list_schedules(api)) == 5
    assert list_schedules(api, "no such experiment") == []


def test_run_now_takes_the_newest_version_unless_pinned(api, server, flow, package, tmp_path):
    make(api)
    make(api, "pinned", version_id=flow.pipeline_version_id)
    changed = tmp_path / "changed.yaml"
    changed.write_text(package.read_text().replace("word", "another"))
    newest, _ = api.version(api.pipeline("small"), changed)
    for name, version in (("night", newest), ("pinned", flow)):
        run = server.runs[run_now(api, name, experiment="nightly").run_id]
        assert run.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
        assert run.runtime_config.parameters == {"text": "x"}
        assert run.display_name.startswith(f"{name}-now-")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"interval": 3600}, "either a cron expression or an interval"),
        ({"cron": None}, "either a cron expression or an interval"),
        ({"cron": None, "interval": 5}, "at least 60 seconds, not 5"),
        ({"max_concurrency": 11}, "1 to 10 runs"),
        ({"pipeline": "missing"}, "there is no pipeline missing; `aerodet submit` makes it"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_and_nothing_is_made(api, server, flow, options, sentence):
    with pytest.raises(UserError, match=sentence):
        make(api, **options)
    assert server.recurring == {}


def test_there_is_no_such_time_zone():
    with pytest.raises(UserError, match="there is no time zone 'Mars/Olympus'"):
        zone_of("Mars/Olympus")
