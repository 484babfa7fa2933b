import errno
import json
import os
from pathlib import Path

import pytest

from aerodet import lineage, stages
from aerodet.errors import DataError, MachineError, TrainingError
from aerodet.files import file_digest, folder_digest
from aerodet.lineage import read_provenance, verify
from aerodet.stages import Outcome, stage


@stage("copy")
def duplicate(*, source: Path, copy: Path, text: str, other: Path | None = None) -> Outcome:
    copy.mkdir()
    (copy / "text.txt").write_text(text + (source / "text.txt").read_text())
    return Outcome(
        {"copy": {"kind": "text", "schema": "text/1", "other": str(other)}}, {"letters": len(text), "lines": 1.5}
    )


@stage("page")
def write_page(*, page: Path) -> Outcome:
    page.write_text("<html></html>")
    return Outcome({"page": {"kind": "report"}})


@pytest.fixture(autouse=True)
def events(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("AERODET_EVENTS", str(path))
    monkeypatch.delenv("AERODET_IMAGE", raising=False)
    return path


@pytest.fixture
def arguments(artifact):
    """The arguments of stage ``duplicate``, as a component's locals() has them."""
    source = artifact("source")
    Path(source.path).mkdir(parents=True)
    (Path(source.path) / "text.txt").write_text("old")
    return {
        "source": source,
        "copy": artifact("copy"),
        "metrics": artifact("metrics"),
        "text": "new ",
        "other": None,
        "stages": stages,
    }


def leftovers(arguments):
    return [path.name for path in Path(arguments["copy"].path).parent.iterdir() if path.name != "source"]


def failing(error):
    """Return a stage that writes half of its output and fails."""

    def half(*, copy: Path, **_: object) -> Outcome:
        copy.mkdir()
        (copy / "half.txt").write_text("half")
        raise error

    return stage("copy")(half)


def test_outputs_appear_with_digest_and_facts(arguments):
    stages.run(duplicate, arguments)
    copy = arguments["copy"]
    assert (Path(copy.path) / "text.txt").read_text() == "new old"
    assert copy.metadata == {
        "kind": "text",
        "schema": "text/1",
        "other": "None",
        "digest": f"sha256:{folder_digest(Path(copy.path))}",
    }
    assert sorted(leftovers(arguments)) == ["copy", "metrics"]


def test_provenance_tells_of_inputs_parameters_and_stage(arguments, monkeypatch):
    monkeypatch.setenv(stages.IMAGE_VARIABLE, "aerodet:1.0")
    stages.run(duplicate, arguments)
    provenance = verify(Path(arguments["copy"].path))
    assert (provenance.name, provenance.stage, provenance.image) == ("copy", "duplicate", "aerodet:1.0")
    assert provenance.parameters == {"text": "new "}  # neither the imported module nor what was not given
    assert set(provenance.inputs) == {"source"}
    assert provenance.inputs["source"].digest == folder_digest(Path(arguments["source"].path))
    assert provenance.finished >= provenance.started


def test_an_inputs_own_digest_links_the_artifacts(arguments, artifact):
    stages.run(duplicate, arguments)
    again = artifact("again")
    stages.run(duplicate, {"source": arguments["copy"], "copy": again, "text": "newer "})
    link = read_provenance(Path(again.path)).inputs["source"]
    assert f"sha256:{link.digest}" == arguments["copy"].metadata["digest"]
    assert link.uri == arguments["copy"].uri
    ancestors = lineage.upstream(Path(again.path), [Path(again.path).parent])
    assert [(a.used_as, a.depth) for a in ancestors] == [("source", 1), ("source", 2)]


def test_an_optional_input_that_is_given_is_an_input(arguments):
    stages.run(duplicate, arguments | {"other": arguments["source"]})
    assert set(read_provenance(Path(arguments["copy"].path)).inputs) == {"other", "source"}
    assert arguments["copy"].metadata["other"] == arguments["source"].path


def test_metrics_have_a_file_and_numbers(arguments):
    stages.run(duplicate, arguments)
    metrics = arguments["metrics"]
    assert metrics.metadata == {"letters": 4.0, "lines": 1.5}
    assert all(type(value) is float for value in metrics.metadata.values())
    assert json.loads(Path(metrics.path).read_text()) == {"letters": 4, "lines": 1.5}


def test_metrics_may_be_left_out(arguments):
    stages.run(duplicate, {name: value for name, value in arguments.items() if name != "metrics"})
    assert leftovers(arguments) == ["copy"]


def test_a_file_gets_its_own_digest(artifact):
    page = artifact("page.html")
    stages.run(write_page, {"page": page})
    assert page.metadata["digest"] == f"sha256:{file_digest(Path(page.path))}"


def test_an_older_output_is_replaced_as_a_whole(arguments):
    older = Path(arguments["copy"].path)
    older.mkdir()
    (older / "older.txt").touch()
    stages.run(duplicate, arguments)
    assert sorted(path.name for path in older.iterdir()) == ["provenance.json", "text.txt"]


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (DataError("there are no images"), 2, "there are no images"),
        (MachineError("the disk is full"), 3, "the disk is full"),
        (TrainingError("the loss is not finite"), 1, "the loss is not finite"),
        (MemoryError(), 3, "there is not enough memory; lower the batch size or the image size"),
    ],
)
def test_a_failure_is_a_sentence_a_status_and_an_event(arguments, events, capsys, error, status, sentence):
    with pytest.raises(SystemExit) as caught:
        stages.run(failing(error), arguments)
    assert caught.value.code == status
    assert capsys.readouterr().err == f"error: {sentence}\n"
    event = json.loads(events.read_text())
    assert (event["event"], event["message"], event["exit"]) == ("failed", sentence, status)
    assert leftovers(arguments) == []
    assert arguments["copy"].metadata == {}


def test_a_full_disk_names_the_place(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        stages.run(failing(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))), arguments)
    assert caught.value.code == 3
    assert f"the disk that holds {arguments['copy'].path} is full" in capsys.readouterr().err
    assert leftovers(arguments) == []


def test_a_failure_that_cannot_be_recorded_still_has_its_status(arguments, monkeypatch, capsys):
    monkeypatch.setenv("AERODET_EVENTS", str(Path(arguments["copy"].path) / "nowhere" / "events.jsonl"))
    with pytest.raises(SystemExit) as caught:
        stages.run(failing(DataError("there are no images")), arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: there are no images\nerror: the failure could not be recorded\n"


def test_a_defect_keeps_its_traceback_and_leaves_nothing(arguments):
    with pytest.raises(ZeroDivisionError):
        stages.run(failing(ZeroDivisionError()), arguments)
    assert leftovers(arguments) == []


def test_a_parameter_that_looks_like_a_secret_is_refused(arguments, capsys):
    @stage("copy")
    def upload(*, copy: Path, api_token: str, **_: object) -> Outcome:
        copy.mkdir()
        return Outcome({})

    with pytest.raises(SystemExit) as caught:
        stages.run(upload, arguments | {"api_token": "x"})
    assert caught.value.code == 2
    assert "'api_token' looks like a secret" in capsys.readouterr().err
    assert leftovers(arguments) == []


def test_a_stage_is_also_a_plain_function(arguments, tmp_path):
    outcome = duplicate(source=Path(arguments["source"].path), copy=tmp_path / "copy", text="")
    assert outcome.metrics["letters"] == 0
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["text.txt"]
    assert duplicate.name == "duplicate"


def test_every_stage_is_found_by_name():
    names = {name for name in stages.__all__ if isinstance(getattr(stages, name), stages.Stage)}
    assert len(names) == 12
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stages.nothing
