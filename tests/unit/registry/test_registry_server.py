"""The registry on a real MLflow server."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow.exceptions import MlflowException

from aerodet.errors import MachineError, RegistryError
from aerodet.registry import CHALLENGER, CHAMPION, open_registry

FACTS = {"digests": {"test": "d" * 64}, "metrics": {"ap50": 91.5}, "parameters": {"seed": 7}, "run_id": "run-1"}


@pytest.fixture
def registry(mlflow_server):
    return open_registry(mlflow_server)


def named(folder):
    return {path.name: path for path in folder.iterdir()}


def test_a_version_holds_its_files_and_facts(registry, outputs, tmp_path):
    made = registry.publish("whole", named(outputs), **FACTS)
    assert (made.version, made.uri, made.aliases, made.stage) == (1, "models:/whole/1", (CHALLENGER,), CHALLENGER)
    assert registry.read(made, "model.engine") == b"plan"
    assert made.metrics == {"ap50": 91.5}
    assert made.tags["param.seed"] == "7"
    assert registry.find_by_digest("d" * 64) == made
    folder = registry.download(made, tmp_path / "copy")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {p.name: p.read_bytes() for p in outputs.iterdir()}
    with pytest.raises(RegistryError, match="not on this machine"):
        _ = made.folder


def test_the_same_engines_and_graphs_are_one_version(registry, outputs):
    first = registry.publish("once", named(outputs), **FACTS)
    assert registry.publish("once", named(outputs), **FACTS | {"run_id": "run-2"}) == first
    (outputs / "model.engine").write_text("another plan")
    second = registry.publish("once", named(outputs), **FACTS)
    assert [v.version for v in registry.versions("once")] == [1, second.version]


def test_the_champion_moves_and_comes_back(registry, outputs):
    for plan in ("one", "two"):
        (outputs / "model.engine").write_text(plan)
        registry.publish("moving", named(outputs), **FACTS)
    assert registry.promote("moving", 1).stage == CHAMPION
    assert registry.promote("moving", 2).version == 2
    assert registry.rollback("moving").version == 1
    assert registry.get("moving", CHAMPION).version == 1


def test_publishers_at_once_make_one_version(mlflow_server, registry, outputs, publishers):
    made = publishers("together", mlflow_server, outputs, "at-once", 3)
    assert len({tuple(line) for line in made}) == 1
    (version,) = registry.versions("at-once")
    assert [version.version, version.location] == made[0]
    assert len(registry._client.search_model_versions("name = 'at-once'")) == 1


def test_an_alias_that_another_publisher_inserts_meanwhile_is_written_again(registry, outputs, monkeypatch):
    write, refusals = registry._client.set_registered_model_alias, []

    def collide(*arguments):
        """Answer the first call as MLflow does when another client's row was inserted after it had looked."""
        if not refusals:
            refusals.append(MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed"))
            raise refusals[0]
        write(*arguments)

    monkeypatch.setattr(registry._client, "set_registered_model_alias", collide)
    assert registry.publish("collided", named(outputs), **FACTS).aliases == (CHALLENGER,)
    assert refusals


def test_an_alias_that_another_publisher_moves_back_is_put_right(registry, outputs, monkeypatch):
    registry.publish("late", named(outputs), **FACTS)
    (outputs / "model.engine").write_text("another plan")
    write, late = registry._client.set_registered_model_alias, []

    def overtaken(name, alias, version):
        """Write as another publisher does that listed the versions before ours was there."""
        write(name, alias, version)
        if not late:
            late.append(version)
            write(name, alias, "1")

    monkeypatch.setattr(registry._client, "set_registered_model_alias", overtaken)
    assert registry.publish("late", named(outputs), **FACTS).aliases == (CHALLENGER,)
    assert late == ["2"]


def test_a_figure_that_is_none_is_left_out(registry, outputs):
    registry.publish("odd", named(outputs), **FACTS)
    registry._client.set_model_version_tag("odd", "1", "metric.note", "n/a")
    assert registry.get("odd").metrics == {"ap50": 91.5}


def test_another_refusal_of_an_alias_is_told(registry, outputs, monkeypatch):
    def refuse(*arguments):
        raise MlflowException("no permission")

    monkeypatch.setattr(registry._client, "set_registered_model_alias", refuse)
    with pytest.raises(RegistryError, match="no permission"):
        registry.publish("refused", named(outputs), **FACTS)


def test_a_killed_publisher_leaves_all_or_nothing(mlflow_server, registry, outputs, publishers):
    (outcomes,) = publishers("killed", mlflow_server, outputs, 9)
    assert len(outcomes) >= 3
    whole = sorted(path.name for path in outputs.iterdir())
    for outcome in outcomes:
        assert [found[1] for found in outcome["after"]] in ([], [whole]), outcome
        ((_, files, aliases),) = outcome["again"]
        assert (files, aliases) == (whole, [CHALLENGER])
        assert len(registry._client.search_model_versions(f"name = 'model-{outcome['step']}'")) == 1


def test_a_double_that_was_left_is_shown_to_nobody_and_removed(registry, outputs):
    first = registry.publish("double", named(outputs), **FACTS)
    run = registry._client.get_model_version("double", "1").run_id
    tags = {"digest": first.digest, "run_id": "killed"}
    registry._client.create_model_version("double", first.location, run, tags, await_creation_for=0)
    assert registry.versions("double") == [registry.get("double", 1)]
    assert registry.publish("double", named(outputs), **FACTS).version == 1
    assert len(registry._client.search_model_versions("name = 'double'")) == 1
    assert registry.get("double", 1).aliases == (CHALLENGER,)
    assert registry._client.get_run(run).info.lifecycle_stage == "active"


def test_a_changed_file_is_refused(registry, outputs):
    made = registry.publish("changed", named(outputs), **FACTS)
    registry._client.set_model_version_tag("changed", "1", "file.labels.txt", "0" * 64)
    with pytest.raises(RegistryError, match=r"labels\.txt of models:/changed/1 is not what was published"):
        registry.read(registry.get("changed", made.version), "labels.txt")


def test_an_answer_that_got_lost_after_the_work_was_done_makes_no_double(registry, outputs, monkeypatch):
    registry.publish("lost", named(outputs), **FACTS)
    (outputs / "model.engine").write_text("another plan")
    create = registry._client.create_model_version

    def twice(*arguments, **named):
        """Do what MLflow's client does when an answer does not come in time: ask again."""
        create(*arguments, **named)
        return create(*arguments, **named)

    monkeypatch.setattr(registry._client, "create_model_version", twice)
    made = registry.publish("lost", named(outputs), **FACTS)
    assert (made.version, made.aliases) == (2, (CHALLENGER,))
    assert len(registry._client.search_model_versions("name = 'lost'")) == 2
    assert registry.read(made, "model.engine") == b"another plan"


def test_a_server_that_answers_500_is_the_machines_fault(outputs, monkeypatch):
    class Failing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(500)

        do_POST = do_GET

        def log_message(self, *arguments):
            pass

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            with pytest.raises(MachineError, match="does not answer"):
                open_registry(f"http://127.0.0.1:{server.server_port}").publish("failing", named(outputs), **FACTS)
        finally:
            server.shutdown()


def test_a_server_that_hangs_is_the_machines_fault(outputs, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as listening:  # connections are taken by the system, and not answered
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(MachineError, match="does not answer"):
            open_registry(address).publish("hanging", named(outputs), **FACTS)


def test_a_server_that_is_not_there_is_the_machines_fault(outputs, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MachineError, match="does not answer"):
        open_registry("http://127.0.0.1:9").publish("nowhere", named(outputs), **FACTS)
