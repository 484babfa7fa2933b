import cv2
import numpy as np
import pytest

from aerodet.errors import UserError
from aerodet.files import folder_digest
from aerodet.pipelines.cluster import data_mark, submit, trained_on, trigger
from aerodet.storage import open_store


def picture(path, seed=0, light=100):
    pixels = np.random.default_rng(seed).normal(light, 20, (32, 32, 3)).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


@pytest.fixture
def data(tmp_path):
    """A folder of images and their COCO file."""
    folder = tmp_path / "data"
    for number in range(12):
        picture(folder / "images" / f"{number}.png", number)
    (folder / "coco.json").write_text("{}")
    return folder


@pytest.fixture
def go(api, package, data, tmp_path):
    """Return a function that looks at the data."""

    def look(**options):
        store = options.pop("data", None) or open_store(data)
        usual = {"pipeline": "small", "experiment": "nightly", "notes": open_store(tmp_path / "notes")}
        return trigger(api, lambda: package, {"text": "x"}, data=store, **usual | options)

    return look


def end(server, state="SUCCEEDED"):
    for run in server.runs.values():
        run.state = state


def test_new_data_starts_one_run_and_the_same_data_none(go, server, data):
    first = go()
    assert first.action == "started"
    (run,) = server.runs.values()
    assert (run.run_id, run.display_name) == (first.run.run_id, f"data-{first.digest[:12]}")
    assert trained_on(run) == first.digest == folder_digest(data)
    assert run.runtime_config.parameters == {"text": "x"}
    assert go().action == "busy"
    end(server)
    again = go()
    assert (again.action, again.run) == ("unchanged", None)
    assert f"run data-{first.digest[:12]} (succeeded) was started for this data" in again.reason
    assert len(server.runs) == 1


def test_files_written_again_with_the_same_bytes_are_no_change(go, server, data):
    go()
    end(server)
    content = (data / "coco.json").read_bytes()
    (data / "coco.json").unlink()
    (data / "coco.json").write_bytes(content)
    assert go().action == "unchanged"


@pytest.mark.parametrize("change", ["new", "changed", "gone"])
def test_a_real_change_starts_a_run(go, server, data, change):
    first = go()
    end(server)
    if change == "new":
        (data / "extra.json").write_text("{}")
    elif change == "changed":
        (data / "coco.json").write_text("[]")
    else:
        (data / "images" / "0.png").unlink()
    second = go()
    assert second.action == "started"
    assert second.digest != first.digest
    assert (second.added, second.changed, second.removed) == (change == "new", change == "changed", change == "gone")
    assert len(server.runs) == 2


def test_the_second_look_reads_only_what_is_new(go, server, data, monkeypatch):
    store, read = open_store(data), []

    class Counted:
        def __getattr__(self, name):
            return getattr(store, name)

        def read(self, key, limit=None):
            read.append(key)
            return store.read(key, limit)

    go(data=Counted())
    end(server)
    read.clear()
    go(data=Counted())
    assert read == []
    (data / "extra.json").write_text("{}")
    go(data=Counted(), dry_run=True)
    assert read == ["extra.json"]


def test_a_failed_run_is_not_started_again_unless_asked(go, server):
    go()
    end(server, "FAILED")
    assert "(failed) was started for this data" in go().reason
    again = go(retry_failed=True)
    assert again.action == "started"
    assert again.run.name.endswith("-2")
    assert len(server.runs) == 2


@pytest.mark.parametrize("kind", [500, "drop"])
def test_no_fault_starts_a_second_run_and_none_is_forgotten(go, server, kind):
    server.fail(r"^POST /apis/v2beta1/runs$", kind, 2, done=True)
    decision = go()
    assert [run.run_id for run in server.runs.values()] == [decision.run.run_id]


def test_a_dry_run_decides_and_starts_nothing(go, server):
    assert go(dry_run=True).action == "started"
    assert server.runs == {}
    assert go().action == "started"


class Champions:
    """A registry with one model version, made by a run."""

    def __init__(self, run_id):
        from types import SimpleNamespace

        self.version = SimpleNamespace(tags={"run_id": run_id})

    def get(self, name, version=None):
        return self.version

    def versions(self, name):
        return [self.version]


def test_data_that_the_champion_was_trained_on_needs_no_run(go, api, server, package, data):
    made = submit(
        api, package, {}, pipeline="small", experiment="other", name="made", description=data_mark(folder_digest(data))
    )
    end(server)
    assert go(registry=Champions(made.run_id)).reason == (
        "the champion of aircraft-detector was trained on this data, by run made"
    )
    (data / "coco.json").write_text("[]")
    assert go(registry=Champions(made.run_id)).action == "started"


def test_a_champion_whose_run_is_gone_is_no_reason_against_a_run(go):
    assert go(registry=Champions("deleted")).action == "started"


def test_new_images_that_look_different_are_told(go, server, data):
    go()
    end(server)
    for number in range(12):
        picture(data / "night" / f"{number}.png", 100 + number, light=30)
    decision = go()
    assert decision.action == "started"
    assert "brightness" in decision.drift.drifted
    assert "12 new images differ from the 12 that were trained on in brightness (1.00)" in decision.reason


def test_a_trigger_on_drift_waits_for_images_that_look_different(go, server, data):
    go()
    end(server)
    for number in range(12):
        picture(data / "more" / f"{number}.png", 200 + number)
    alike = go(start_on="drift")
    assert alike.action == "alike"
    assert len(server.runs) == 1
    for number in range(30):
        picture(data / "night" / f"{number}.png", 300 + number, light=30)
    assert go(start_on="drift").action == "started"


def test_nothing_to_train_on_is_the_callers_mistake(go, tmp_path):
    with pytest.raises(UserError, match="there is nothing in"):
        go(data=open_store(tmp_path / "empty"))


def test_data_and_notes_may_be_in_a_bucket(go, server, bucket_uri):
    data, notes = open_store(f"{bucket_uri}/data"), open_store(f"{bucket_uri}/notes")
    data.write("coco.json", b"{}")
    assert go(data=data, notes=notes).action == "started"
    end(server)
    assert go(data=data, notes=notes).action == "unchanged"


def test_notes_of_something_else_are_not_overwritten(go, tmp_path):
    open_store(tmp_path / "notes").write("notes.json", b"{}")
    with pytest.raises(UserError, match="is not a trigger's"):
        go()


def test_the_decision_is_json(go):
    import json

    assert json.loads(json.dumps(go().to_dict()))["action"] == "started"
