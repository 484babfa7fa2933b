"""A changed byte anywhere in a version or upstream of it is found and named."""

import json
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aerodet.errors import DataError, MachineError, RegistryError, UserError
from aerodet.files import file_digest
from aerodet.lineage import write_provenance
from aerodet.registry import open_registry
from aerodet.registry.package import make_package
from aerodet.registry.sign import check_signature, make_key, sign
from aerodet.registry.verify import verify_artifacts, verify_package, verify_version

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
EVALUATION = {
    **dict.fromkeys(("ap50", "ap75", "ap", "tao_sample", "tao_integrate"), 50.0),
    "images": 4,
    "boxes": 9,
    "slices": {},
    "per_class": {"aircraft": {"ap50": 50.0}},
}
BENCHMARK = {"int8": {"median_ms": 0.8}, "ratio": 3.1, "batch": 1, "threads": 2, "cpu": "a CPU"}
CHAIN = {  # artifact: its stage, its files, its inputs
    "images": ("synthesize", {"annotations.json": "{}", "images-00000-of-00001.tar": "pixels"}, {}),
    "test": ("synthesize", {"annotations.json": "{ }"}, {}),
    "model": ("train", {"model.pt": "weights", "spec.txt": "spec"}, {"dataset": "images"}),
    "bundle": (
        "export",
        {
            "files.json": {"parameters": 12, "classes": ["aircraft"], "size": [64, 64], "quantized": True, "files": []},
            "model.int8.onnx": "graph",
            "model.sm89.engine": "engine",
            "triton/config.pbtxt": "platform",
        },
        {"model": "model"},
    ),
    "evaluation": ("evaluate", {"evaluation.json": EVALUATION}, {"model": "bundle", "dataset": "test"}),
    "benchmark": ("benchmark", {"benchmark.json": BENCHMARK}, {"int8_bundle": "bundle"}),
}
UPSTREAM = [(artifact, file) for artifact, (_, files, _) in CHAIN.items() for file in (*files, "provenance.json")]


def make_run(folder):
    for minute, (name, (stage, files, inputs)) in enumerate(CHAIN.items()):
        for file, content in files.items():
            place = folder / "artifacts" / stage / name / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content if isinstance(content, str) else json.dumps(content))
        write_provenance(
            folder / "artifacts" / stage / name,
            name=name,
            stage=stage,
            inputs={label: place_of(folder, other) for label, other in inputs.items()},
            parameters={"seed": 7},
            started=START + timedelta(minutes=minute),
            finished=START + timedelta(minutes=minute + 1),
        )
    return folder


def place_of(folder, artifact):
    return folder / "artifacts" / CHAIN[artifact][0] / artifact


def change(path):
    """Change one byte in the middle of a file, for JSON a letter or digit, so that it stays JSON."""
    content = bytearray(path.read_bytes())
    start = content.find(b'"seed": 7') + 8 if path.name == "provenance.json" else len(content) // 2
    content[start] ^= 1
    path.write_bytes(bytes(content))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A run and the registry that it published to, signed."""
    folder = tmp_path_factory.mktemp("verify")
    run = make_run(folder / "run")
    key, _ = make_key(folder / "signing.key")
    inputs = {name: place_of(run, name) for name in ("bundle", "evaluation", "benchmark")}
    package = make_package(folder / "package", inputs, name="aircraft", run_id="run-1", key=key)
    facts = {"digests": package.digests, "metrics": {"ap50": 50.0}, "parameters": {}, "run_id": "run-1"}
    open_registry(folder / "registry").publish("aircraft", package.files, **facts)
    return folder


@pytest.fixture
def place(template, tmp_path):
    shutil.copytree(template, tmp_path / "all")
    return tmp_path / "all"


def check(place, **options):
    registry = open_registry(place / "registry")
    arguments = {"roots": [place / "run"], "key": place / "signing.pub", **options}
    return verify_version(registry, registry.get("aircraft", 1), **arguments)


@pytest.fixture
def no_original(monkeypatch):
    """Let the places that provenance recorded be empty: the run was copied, and only the copy is at hand."""
    monkeypatch.setattr("aerodet.registry.verify._path", lambda uri: "/nowhere")


def test_what_nobody_touched_is_intact(place, no_original):
    result = check(place)
    assert result.findings == []
    assert (result.artifacts, result.signed_by) == (6, "signing.pub")
    assert result.files == len(open_registry(place / "registry").get("aircraft").files) > 14
    assert verify_artifacts(path.parent for path in (place / "run").rglob("provenance.json")).findings == []


@pytest.mark.parametrize(("artifact", "file"), UPSTREAM, ids=[f"{a}-{f}" for a, f in UPSTREAM])
def test_a_changed_byte_upstream_is_found_and_named(tmp_path, template, artifact, file):
    """Where provenance says that the artifact was made, and in a copy of it too."""
    original = shutil.copytree(template, tmp_path / "original")
    folder = place_of(template / "run", artifact)
    target = folder / file
    kept = target.read_bytes()
    try:
        change(target)
        faults = check(template).faults
        assert [fault.what for fault in faults] == [str(folder)]
        assert ("provenance.json was changed" if file == "provenance.json" else artifact) in faults[0].sentence
    finally:
        target.write_bytes(kept)
    assert check(original).findings == []


def test_a_changed_byte_in_a_copy_is_found(place, no_original):
    target = place_of(place / "run", "model") / "model.pt"
    change(target)
    (fault,) = check(place).faults
    assert fault.what == str(target.parent)
    assert "model of stage train was changed since it was made" in fault.sentence
    (fault,) = verify_artifacts(path.parent for path in (place / "run").rglob("provenance.json")).faults
    assert fault.what == str(target.parent)


def test_every_changed_file_of_a_version_is_found_and_named(place):
    folder = open_registry(place / "registry").get("aircraft").folder
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        kept = file.read_bytes()
        change(file)
        names = {fault.what for fault in check(place, key=None).faults}
        assert file.relative_to(folder).as_posix() in names
        file.write_bytes(kept)
    (folder / "labels.txt").write_text("added")
    assert {fault.what for fault in check(place).faults} == {"labels.txt", "model.sig"}
    (folder / "labels.txt").unlink()
    (folder / "files.json").unlink()
    assert {fault.what for fault in check(place).faults} == {"files.json", "model.sig"}


def test_a_registry_whose_digests_were_changed_too_does_not_pass_the_signature(place):
    registry = open_registry(place / "registry")
    version = registry.get("aircraft", 1)
    change(version.folder / "evaluation.json")
    registry._client.set_model_version_tag(
        "aircraft", "1", "file.evaluation.json", file_digest(version.folder / "evaluation.json")
    )
    (fault,) = check(place).faults
    assert fault.what == "model.sig"
    assert "evaluation.json changed" in fault.sentence


def test_engines_other_than_those_of_the_digest_are_found(place):
    registry = open_registry(place / "registry")
    registry._client.set_model_version_tag("aircraft", "1", "digest", "0" * 64)
    assert [fault.sentence for fault in check(place).faults] == [
        "its engines and graphs are not those that its digest names"
    ]


def test_the_folder_of_a_version_speaks_for_itself(place, tmp_path, no_original):
    registry = open_registry(place / "registry")
    copy = registry.download(registry.get("aircraft"), tmp_path / "copy")
    assert verify_package(copy, roots=[place / "run"], key=place / "signing.pub").findings == []
    (note,) = verify_package(copy, roots=[place / "run"]).findings
    assert note.sentence == "it is signed, but no key was given to check that with"
    (copy / "model.sig").unlink()
    (note,) = verify_package(copy, roots=[place / "run"]).findings
    assert "there is no signature" in note.sentence
    (fault,) = verify_package(copy, key=place / "signing.pub").faults
    assert "there is no signature, model.sig" in fault.sentence
    change(copy / "model.int8.onnx")
    assert [fault.what for fault in verify_package(copy).faults] == ["model.int8.onnx"]
    (copy / "sbom.cdx.json").write_text('{"components": [{"type": "file"}]}')
    with pytest.raises(DataError, match="is not a bill of materials"):
        verify_package(copy)
    with pytest.raises(DataError, match="is not the folder of a version"):
        verify_package(tmp_path)


def test_artifacts_that_are_gone_are_said_and_are_no_fault(place, no_original):
    shutil.rmtree(place_of(place / "run", "images"))
    result = check(place)
    assert result.faults == []
    assert [note.sentence for note in result.findings] == [
        "1 artifacts were not found and not checked: images of synthesize"
    ]
    left = verify_artifacts(path.parent for path in (place / "run").rglob("provenance.json"))
    assert [f.severity for f in left.findings] == ["note"]


def test_links_and_names_that_lead_out_of_a_version_are_faults(place, tmp_path):
    registry = open_registry(place / "registry")
    folder = registry.get("aircraft").folder
    outside = tmp_path / "outside"
    outside.write_bytes((folder / "files.json").read_bytes())
    (folder / "files.json").unlink()
    (folder / "files.json").symlink_to(outside)
    assert "files.json" in {f.what for f in check(place, key=None).faults}
    version = registry.get("aircraft")
    hostile = replace(version, tags={**version.tags, "file.../../outside": "0" * 64})
    sentences = {f.what: f.sentence for f in verify_version(registry, hostile).faults}
    assert "leads out of the folder" in sentences["../../outside"]
    with pytest.raises(RegistryError, match="would lie outside the folder"):
        registry.download(hostile, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_what_lies_in_place_of_statements_is_named_and_not_read_without_end(place, tmp_path):
    folder = open_registry(place / "registry").get("aircraft").folder
    (folder / "provenance" / "endless.json").symlink_to("/dev/zero")
    (folder / "provenance" / "deep.json").write_text("[" * 200_000)
    (folder / "elsewhere").symlink_to(tmp_path)
    (place / "run" / "odd" / "provenance.json").mkdir(parents=True)
    (place / "run" / "gone").mkdir()
    (place / "run" / "gone" / "provenance.json").symlink_to("/dev/zero")
    faults = check(place, key=None).faults
    assert {f.what for f in faults} == {"provenance/endless.json", "provenance/deep.json", "elsewhere"}
    assert any("nested too deeply" in f.sentence for f in faults)


def test_an_address_that_is_none_does_no_harm(place):
    folder = open_registry(place / "registry").get("aircraft").folder
    (path,) = (folder / "provenance").glob("train-*.json")
    statement = json.loads(path.read_text())
    for dependency in statement["predicate"]["buildDefinition"]["resolvedDependencies"]:
        dependency["uri"] = "http://[/" if dependency["annotations"]["role"] == "input" else dependency["uri"]
    path.write_text(json.dumps(statement))
    assert f"provenance/{path.name}" in {f.what for f in check(place, key=None).faults}


def test_a_hostile_name_in_provenance_stays_in_the_folder(tmp_path):
    run = make_run(tmp_path / "run")
    path = place_of(run, "model") / "provenance.json"
    statement = json.loads(path.read_text())
    own = statement["subject"][0]["name"]
    for subject in statement["subject"]:  # the artifact, and its files
        subject["name"] = "../../../<b>model" + subject["name"].removeprefix(own)
    path.write_text(json.dumps(statement))
    inputs = {name: place_of(run, name) for name in ("bundle", "evaluation", "benchmark")}
    make_package(tmp_path / "package", inputs, name="aircraft", run_id="<script>alert(1)</script>")
    names = [p.name for p in (tmp_path / "package" / "provenance").iterdir()]
    assert any(name.startswith("train-.._.._.._") for name in names)
    page = (tmp_path / "package" / "card.html").read_text()
    assert "<script" not in page
    assert "<b>model" not in page
    assert "<script" not in (tmp_path / "package" / "card.md").read_text()


def test_keys_are_made_once_and_private(tmp_path):
    key, public = make_key(tmp_path / "signing.key")
    assert key.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UserError, match="a key is never replaced"):
        make_key(tmp_path / "signing.key")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "file").write_text("x")
    with pytest.raises(UserError, match="no elliptic-curve private key"):
        sign(tmp_path / "model", public)
    sign(tmp_path / "model", key)
    check_signature(tmp_path / "model", public)
    with pytest.raises(UserError, match="no elliptic-curve public key"):
        check_signature(tmp_path / "model", key)
    _, other = make_key(tmp_path / "other.key")
    with pytest.raises(UserError, match=r"the signature does not hold for other\.pub"):
        check_signature(tmp_path / "model", other)


def test_a_missing_library_is_the_machines_fault(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(MachineError, match=r"pip install 'aerodet\[signing\]'"):
        make_key(tmp_path / "signing.key")


def test_the_bill_and_the_cards_are_the_same_every_time(tmp_path):
    run = make_run(tmp_path / "run")
    inputs = {name: place_of(run, name) for name in ("bundle", "evaluation", "benchmark")}
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        make_package(folder, inputs, name="aircraft", run_id="run-1")
    for name in ("card.html", "card.md", "sbom.cdx.json"):
        assert Path(folders[0] / name).read_bytes() == Path(folders[1] / name).read_bytes()
    bill = json.loads((folders[0] / "sbom.cdx.json").read_text())
    files = {part["name"] for part in bill["components"] if part["type"] == "file"}
    assert {"triton/config.pbtxt", "model.sm89.engine", "card.html"} <= files
    refs = {part["bom-ref"] for part in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert all(set(entry.get("dependsOn", [])) | {entry["ref"]} <= refs for entry in bill["dependencies"])
