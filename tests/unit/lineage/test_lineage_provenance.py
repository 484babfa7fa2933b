import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

import aerodet
from aerodet.errors import DataError, UserError
from aerodet.files import file_digest, folder_digest
from aerodet.lineage import (
    BUILD_TYPE,
    CodeVersion,
    InputRef,
    code_version,
    hardware,
    libraries,
    read_provenance,
    upstream,
    verify,
    write_provenance,
)
from aerodet.lineage import environment as environment_module
from aerodet.lineage import provenance as provenance_module

START = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def make(folder: Path, content: str, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_text(content)
    settings = {
        "name": folder.name,
        "inputs": {},
        "stage": "train",
        "parameters": {"seed": 7, "epochs": 3},
        "started": START,
        "finished": START + timedelta(seconds=90),
    }
    return write_provenance(folder, **(settings | changes))


def test_the_file_is_an_in_toto_statement_with_a_slsa_predicate(tmp_path):
    source = tmp_path / "spec.txt"
    source.write_text("abc")
    image = "registry.example/aerodet@sha256:" + "a" * 64
    made = make(tmp_path / "model", "weights", inputs={"spec": source}, image=image, annotations={"kind": "checkpoint"})
    statement = json.loads((tmp_path / "model" / "provenance.json").read_text())

    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [
        {
            "name": "model",
            "digest": {"sha256": folder_digest(tmp_path / "model")},
            "annotations": {"kind": "checkpoint"},
        },
        {"name": "model/model.bin", "digest": {"sha256": file_digest(tmp_path / "model" / "model.bin")}},
    ]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["buildType"] == BUILD_TYPE
    assert definition["externalParameters"] == {"stage": "train", "parameters": {"seed": 7, "epochs": 3}}
    by_name = {d["name"]: d for d in definition["resolvedDependencies"]}
    assert by_name["spec"]["digest"]["sha256"].startswith("ba7816bf")  # SHA-256 of "abc"
    assert by_name["spec"]["uri"] == source.as_uri()
    assert by_name["image"] == {
        "name": "image",
        "uri": image,
        "digest": {"sha256": "a" * 64},
        "annotations": {"role": "image"},
    }
    details = statement["predicate"]["runDetails"]
    assert details["builder"]["version"]["aerodet"] == aerodet.__version__
    assert details["builder"]["version"]["numpy"] == np.__version__
    assert details["metadata"] == {
        "invocationId": made.invocation,
        "startedOn": "2026-05-01T12:00:00.250Z",
        "finishedOn": "2026-05-01T12:01:30.250Z",
    }


def test_reading_gives_back_what_was_written(tmp_path):
    east = timezone(timedelta(hours=5))
    made = make(
        tmp_path / "model",
        "weights",
        inputs={"data": InputRef("b" * 64, "s3://bucket/data")},
        parameters={"seed": np.int64(5), "where": Path("some/place"), "sizes": (1, 2), "ratio": 0.5, "note": None},
        started=START.astimezone(east),
        annotations={"kind": "checkpoint", "metrics": {"loss": 0.5}},
    )
    assert read_provenance(tmp_path / "model") == made
    assert made.parameters == {"seed": 5, "where": "some/place", "sizes": [1, 2], "ratio": 0.5, "note": None}
    assert made.seed == 5
    assert made.seconds == 90
    assert made.started == START
    assert made.hardware["cores"] >= 1


def test_an_input_folder_lends_the_digest_of_its_own_provenance(tmp_path):
    data = make(tmp_path / "data", "pictures")
    model = make(tmp_path / "model", "weights", inputs={"data": tmp_path / "data"})
    assert model.inputs["data"].digest == data.digest
    (tmp_path / "data" / "provenance.json").write_text("{}")  # no longer valid: computed instead, to the same value
    assert make(tmp_path / "model2", "w", inputs={"data": tmp_path / "data"}).inputs["data"].digest == data.digest


def test_writing_provenance_does_not_change_the_digest(tmp_path):
    first = make(tmp_path / "model", "weights")
    assert make(tmp_path / "model", "weights").digest == first.digest == folder_digest(tmp_path / "model")


def test_verify_accepts_the_untouched_and_names_the_changed(tmp_path):
    made = make(tmp_path / "model", "weights")
    assert verify(tmp_path / "model") == made
    (tmp_path / "model" / "model.bin").write_text("other")
    with pytest.raises(DataError, match=r"has changed since it was made \(model.bin\)"):
        verify(tmp_path / "model")
    (tmp_path / "model" / "model.bin").write_text("weights")
    (tmp_path / "model" / "added.txt").write_text("")
    with pytest.raises(DataError, match=r"\(added.txt\)"):
        verify(tmp_path / "model")


def test_a_folder_of_very_many_files_goes_by_its_own_digest_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance_module, "LISTED", 1)
    assert list(make(tmp_path / "one", "weights").files) == ["model.bin"]
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "second.bin").write_text("more")
    assert make(tmp_path / "two", "weights").files == {}
    assert verify(tmp_path / "two").digest == folder_digest(tmp_path / "two")


@pytest.mark.parametrize("name", ["api_key", "hub_token", "PASSWORD", "clientSecret"])
def test_parameters_that_look_like_secrets_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="looks like a secret"):
        make(tmp_path / "model", "weights", parameters={"nested": [{name: "hunter2"}]})
    assert not (tmp_path / "model" / "provenance.json").exists()


def test_missing_inputs_and_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        make(tmp_path / "model", "weights", inputs={"data": tmp_path / "nowhere"})
    with pytest.raises(UserError, match="not a folder"):
        write_provenance(
            tmp_path / "gone", name="x", inputs={}, stage="s", parameters={}, started=START, finished=START
        )


def test_times_need_a_zone_and_parameters_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="time zone"):
        make(tmp_path / "model", "weights", started=datetime(2026, 5, 1))  # noqa: DTZ001
    with pytest.raises(TypeError, match="object"):
        make(tmp_path / "model", "weights", parameters={"odd": object()})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("not json", "Expecting value"),
        ("[]", "not an aerodet provenance statement"),
        ('{"_type": "https://in-toto.io/Statement/v0.1"}', "expected 'https://in-toto.io/Statement/v1'"),
        ('{"_type": "https://in-toto.io/Statement/v1"}', "'predicateType' is missing"),
        ('{"_type": NaN}', "NaN is not JSON"),
        ('{"_type": 1e999}', "1e999 is not JSON"),
        ('{"_type": "\\ud800"}', "surrogates not allowed"),
        ("[" * 200_000, "nested too deeply"),
        ("1" * 5_000, "4300 digits"),
    ],
)
def test_a_broken_statement_is_named(tmp_path, text, complaint):
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(DataError, match=complaint):
        read_provenance(tmp_path)


@pytest.mark.parametrize(
    "name", ["model/../../etc/passwd", "/etc/passwd", "model//x", "elsewhere/x", "model/", "model"]
)
def test_a_file_that_leaves_its_artifact_is_refused(tmp_path, name):
    make(tmp_path / "model", "weights")
    path = tmp_path / "model" / "provenance.json"
    statement = json.loads(path.read_text())
    statement["subject"][1]["name"] = name
    path.write_text(json.dumps(statement))
    with pytest.raises(DataError, match="is not a file of 'model'"):
        read_provenance(tmp_path / "model")


def test_an_endless_statement_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "provenance.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole of a tebibyte
    with pytest.raises(DataError, match="has more than 16 MiB"):
        read_provenance(tmp_path)


def test_a_folder_in_place_of_a_statement_is_none(tmp_path):
    (tmp_path / "provenance.json").mkdir()
    with pytest.raises(DataError, match=r"has no provenance\.json"):
        read_provenance(tmp_path)


def test_a_folder_without_provenance_is_named(tmp_path):
    with pytest.raises(DataError, match=r"has no provenance\.json"):
        read_provenance(tmp_path)


def test_a_digest_that_is_none_is_refused(tmp_path):
    make(tmp_path / "model", "weights")
    path = tmp_path / "model" / "provenance.json"
    path.write_text(path.read_text().replace(folder_digest(tmp_path / "model"), "123"))
    with pytest.raises(DataError, match="not a SHA-256"):
        read_provenance(tmp_path / "model")


def test_upstream_walks_by_digest_wherever_the_folders_went(tmp_path):
    make(tmp_path / "run" / "data", "pictures", inputs={"raw": InputRef("c" * 64, "https://example.org/raw.zip")})
    make(tmp_path / "run" / "model", "weights", inputs={"data": tmp_path / "run" / "data"})
    engine = make(
        tmp_path / "run" / "engine",
        "plan",
        inputs={"model": tmp_path / "run" / "model", "calibration": tmp_path / "run" / "data"},
    )
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "moved" / "other").mkdir()
    (tmp_path / "moved" / "other" / "provenance.json").write_text("{}")

    ancestors = upstream(tmp_path / "moved" / "engine", [tmp_path / "moved"])
    assert [(a.used_as, a.depth) for a in ancestors] == [("calibration", 1), ("model", 1), ("raw", 2)]
    assert ancestors[1].provenance is not None
    assert ancestors[1].provenance.name == "model"
    assert ancestors[2].provenance is None
    assert ancestors[2].reference.uri == "https://example.org/raw.zip"
    assert engine.digest not in {a.reference.digest for a in ancestors}


def test_the_commit_an_image_was_built_from_wins(monkeypatch):
    monkeypatch.setenv("AERODET_COMMIT", "f" * 40)
    code_version.cache_clear()
    try:
        assert code_version() == CodeVersion(aerodet.__version__, "f" * 40)
        assert code_version().label == f"{aerodet.__version__} (fffffff)"
    finally:
        code_version.cache_clear()


def test_a_checkout_gives_its_commit_and_whether_it_was_modified(tmp_path, monkeypatch):
    package = tmp_path / "src" / "aerodet"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")

    def git(*arguments):
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout

    monkeypatch.delenv("AERODET_COMMIT", raising=False)
    monkeypatch.setattr(environment_module.aerodet, "__file__", str(package / "__init__.py"))
    read = code_version.__wrapped__
    assert read() == CodeVersion(aerodet.__version__)  # no repository
    git("init")
    assert read() == CodeVersion(aerodet.__version__)  # no commit yet
    git("add", ".")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD").strip()
    assert read() == CodeVersion(aerodet.__version__, head, dirty=False)
    (package / "new.py").write_text("")
    assert read() == CodeVersion(aerodet.__version__, head, dirty=True)
    assert read().label.endswith(f"({head[:7]}, modified)")


def test_describing_the_machine_does_not_import_torch():
    code = "import sys, aerodet.lineage as a; a.hardware(); a.libraries(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    assert hardware()["cpu"]
    assert "torch" in libraries()
