import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aerodet.errors import MachineError, RegistryError
from aerodet.registry import CHALLENGER, open_registry
from aerodet.registry import _bundle as bundle_module


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An empty registry; a copy of it costs less than MLflow's migrations."""
    folder = tmp_path_factory.mktemp("registry")
    assert open_registry(folder)._client  # connecting makes the tables
    return folder


@pytest.fixture
def registry(template, tmp_path):
    shutil.copytree(template, tmp_path / "registry")
    return open_registry(tmp_path / "registry")


@pytest.fixture
def files(tmp_path):
    outputs = tmp_path / "named"
    (outputs / "evaluation").mkdir(parents=True)
    (outputs / "model.engine").write_bytes(b"plan")
    (outputs / "model.onnx").write_bytes(b"graph")
    (outputs / "labels.txt").write_text("aircraft\n")
    (outputs / "evaluation" / "evaluation.json").write_text("{}")
    return {
        "model.engine": outputs / "model.engine",
        "model.onnx": outputs / "model.onnx",
        "labels.txt": outputs / "labels.txt",
        "evaluation": outputs / "evaluation",
    }


FACTS = {
    "digests": {"test-set": "d" * 64},
    "metrics": {"int8.ap50": 91.55, "int8.median_ms": 3},
    "parameters": {"seed": 7, "profile": "quickstart", "train": {"epochs": 40, "rates": [0.1, 0.2], "resume": None}},
    "run_id": "run-1",
}


def publish(registry, files, name="aircraft"):
    return registry.publish(name, files, **FACTS)


def stored_files(registry_folder):
    return sorted(
        p.relative_to(registry_folder).as_posix() for p in (registry_folder / "models").rglob("*") if p.is_file()
    )


def test_a_version_holds_files_digests_metrics_and_parameters(registry, files):
    version = publish(registry, files)
    assert (version.name, version.version, version.uri) == ("aircraft", 1, "models:/aircraft/1")
    assert version.aliases == (CHALLENGER,)
    assert (version.folder / "model.engine").read_bytes() == b"plan"
    assert (version.folder / "evaluation" / "evaluation.json").read_text() == "{}"
    assert version.tags["metric.int8.ap50"] == "91.55"
    assert version.tags["metric.int8.median_ms"] == "3.0"
    assert version.tags["param.train.epochs"] == "40"
    assert version.tags["param.train.rates"] == "[0.1, 0.2]"
    assert version.tags["param.profile"] == "quickstart"
    assert "param.train.resume" not in version.tags
    assert version.tags["digest.test-set"] == "d" * 64
    assert version.tags["run_id"] == "run-1"
    assert len(version.tags["file.evaluation/evaluation.json"]) == 64
    assert registry.versions("aircraft") == [version] == [registry.get("aircraft")]


def test_the_same_engines_and_graphs_are_one_version(registry, files):
    first = publish(registry, files)
    files["labels.txt"].write_text("aeroplane\n")
    assert publish(registry, files) == first
    files["model.engine"].write_bytes(b"another plan")
    second = publish(registry, files)
    assert second.version == 2
    assert registry.get("aircraft", CHALLENGER) == second
    assert registry.get("aircraft", 1).aliases == ()


def test_versions_are_found_by_any_digest_in_them(registry, files):
    first = publish(registry, files)
    for digest in (first.digest, first.tags["file.model.engine"]):
        assert registry.find_by_digest(digest) == first
    files["model.engine"].write_bytes(b"another plan")
    second = publish(registry, files)
    assert registry.find_by_digest("d" * 64) == second  # both come from that test set
    assert registry.find_by_digest("e" * 64) is None


def test_unknown_models_and_versions_are_named(registry, files):
    assert registry.versions("nothing") == []
    assert registry.versions("it's odd") == []
    with pytest.raises(RegistryError, match="no model named 'nothing'"):
        registry.get("nothing")
    publish(registry, files)
    with pytest.raises(RegistryError, match="has no version 'champion'; it has 1"):
        registry.get("aircraft", "champion")


@pytest.mark.parametrize(
    ("missing", "complaint"), [("model.engine", "no TensorRT engine"), ("model.onnx", "no ONNX graph")]
)
def test_a_run_without_an_engine_or_graph_publishes_nothing(registry, files, tmp_path, missing, complaint):
    source = files.pop(missing)
    with pytest.raises(RegistryError, match=complaint):
        publish(registry, files)
    source.write_bytes(b"")  # an empty file is not one either
    with pytest.raises(RegistryError, match=complaint):
        publish(registry, {**files, missing: source})
    assert registry.versions("aircraft") == []
    assert stored_files(tmp_path / "registry") == []


@pytest.mark.parametrize("name", ["", "/abs", "../up", "a/../../b"])
def test_odd_names_inside_a_version_are_refused(registry, files, name):
    with pytest.raises(RegistryError, match="cannot name a file"):
        publish(registry, {**files, name: files["labels.txt"]})


def test_odd_model_names_and_missing_files_are_refused(registry, files):
    with pytest.raises(RegistryError, match="not a model name"):
        publish(registry, files, name="a/b")
    files["labels.txt"].unlink()
    with pytest.raises(RegistryError, match="does not exist"):
        publish(registry, files)


@pytest.mark.parametrize("step", ["create_registered_model", "create_model_version", "set_registered_model_alias"])
def test_a_failure_while_registering_leaves_nothing(registry, files, tmp_path, monkeypatch, step):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(registry._client, step, fail)
        with pytest.raises(KeyboardInterrupt):
            publish(registry, files)
    assert stored_files(tmp_path / "registry") == []
    assert registry.versions("aircraft") == []
    assert publish(registry, files).aliases == (CHALLENGER,)


def test_a_full_disk_while_copying_leaves_nothing(registry, files, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module.shutil, "copyfile", full)
    with pytest.raises(MachineError, match="is full"):
        publish(registry, files)
    assert stored_files(tmp_path / "registry") == []
    assert registry.versions("aircraft") == []


def test_a_file_that_changes_while_it_is_copied_is_not_published(registry, files, monkeypatch):
    monkeypatch.setattr(bundle_module.shutil, "copyfile", lambda source, target: Path(target).write_bytes(b"torn"))
    with pytest.raises(RegistryError, match="changed while it was being published"):
        publish(registry, files)


def test_a_registry_may_be_moved_and_opened_by_address(registry, files, tmp_path):
    made = publish(registry, files)
    (tmp_path / "registry").rename(tmp_path / "elsewhere")
    found = open_registry(f"sqlite:///{tmp_path}/elsewhere/registry.db").get("aircraft", CHALLENGER)
    assert found.digest == made.digest
    assert (found.folder / "model.onnx").read_bytes() == b"graph"


@pytest.mark.parametrize(
    "uri", ["ftp://example.org/registry", "sqlite:///", "postgres:///registry", "kubeflow+https://"]
)
def test_other_addresses_are_refused(uri):
    with pytest.raises(RegistryError, match="not a registry address"):
        open_registry(uri)


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path):
    (tmp_path / "registry.db").write_text("hello, this is text")
    with pytest.raises(RegistryError, match="no SQLite file"):
        open_registry(tmp_path)


def test_publishers_at_once_make_one_version(registry, tmp_path, outputs, publishers):
    made = publishers("together", tmp_path / "registry", outputs, "aircraft", 3)
    assert len({tuple(line) for line in made}) == 1
    assert [v.version for v in registry.versions("aircraft")] == [1]


def test_a_killed_publisher_leaves_all_or_nothing(registry, tmp_path, outputs, publishers):
    (outcomes,) = publishers("killed", tmp_path / "registry", outputs, 5)
    assert len(outcomes) >= 4
    whole = sorted(path.name for path in outputs.iterdir())
    for outcome in outcomes:
        assert [found[1] for found in outcome["after"]] in ([], [whole]), outcome
        assert outcome["again"] == [[1, whole, [CHALLENGER]]]
    assert [path.name for path in (tmp_path / "registry" / "models").rglob("*.partial")] == []


def test_looking_writes_nothing(tmp_path):
    registry = open_registry(tmp_path / "registry")
    assert registry.models() == registry.versions("aircraft") == []
    assert registry.find_by_digest("d" * 64) is None
    assert not (tmp_path / "registry").exists()


def test_publishing_is_quiet_and_writes_nowhere_else(tmp_path, outputs):
    """In a process of its own: MLflow sets up logging, telemetry and folders when it is imported."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    place = {name: outputs / name for name in ("model.engine", "model.onnx")}
    code = (
        "from pathlib import PosixPath; from aerodet.registry import open_registry;"
        f"open_registry({str(tmp_path / 'registry')!r}).publish('a', {place!r}, **{FACTS!r})"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "XDG", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path / "work",
        env=environment | {"HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout + done.stderr == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "outputs", "registry", "work"]
    assert [p for folder in ("home", "work") for p in (tmp_path / folder).iterdir()] == []
    assert sorted(p.name for p in (tmp_path / "registry").iterdir()) == ["models", "registry.db", "registry.lock"]


def test_mlflow_is_not_imported_before_a_registry_is_opened():
    code = "import sys; import aerodet.registry; assert 'mlflow' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
