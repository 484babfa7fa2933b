import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aerodet.files import folder_digest
from aerodet.lineage import (
    Catalog,
    CodeVersion,
    InputRef,
    Provenance,
    Record,
    as_dot,
    as_json,
    as_openlineage,
    as_sums,
    as_tree,
    printable,
    read_provenance,
    walk,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
EVIL = '</title><script>alert("x")</script>\x1b[31m\n"; evil [label="\u202e'


def graph_of(chain, stage="export/bundle", **directions):
    return walk(Catalog.load(chain), [read_provenance(chain / stage).digest], **directions)


def evil_graph():
    made = Provenance(EVIL, "a" * 64, EVIL, {}, {EVIL: InputRef("b" * 64, EVIL)}, CodeVersion(EVIL), NOW, NOW)
    return walk(Catalog([Record(made, f"s3://bucket/{EVIL}")]), ["a" * 64])


def test_the_tree_names_every_artifact_and_file_down_to_the_roots(chain):
    tree = as_tree(graph_of(chain, downstream=True))
    made_from, used_for = tree.split("\nused for\n")
    for folder in ("render/dataset", "train/model", "export/bundle"):
        provenance = read_provenance(chain / folder)
        assert provenance.digest in made_from
        for path, digest in provenance.files.items():
            assert f"{digest}  {path}" in made_from
    assert "└─ model: checkpoint, made by train real on 2026-05-01 12:01" in made_from
    assert "└─ as model: evaluation, made by evaluate" in used_for
    assert "spec.txt" not in as_tree(graph_of(chain), files=False)


def test_what_was_shown_above_is_only_named_and_what_is_missing_is_said(chain):
    shutil.rmtree(chain / "render")
    tree = as_tree(graph_of(chain, "evaluate/evaluation"))
    assert tree.count("no provenance at hand") == 2
    assert len(re.findall(r"no provenance at hand  [0-9a-f]{12} \(above\)", tree)) == 1
    assert f"(was {(chain / 'render' / 'dataset').as_uri()})" in tree


def test_names_from_elsewhere_cannot_move_the_cursor_or_turn_the_text():
    tree = as_tree(evil_graph())
    assert "\x1b" not in tree
    assert "\u202e" not in tree
    assert r"\x1b[31m\n" in tree
    assert printable("plain é ✓") == "plain é ✓"


def test_sha256sum_confirms_the_list(chain):
    sums = as_sums(graph_of(chain))
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict"], input=sums, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert len(checked.stdout.splitlines()) == 5
    (chain / "train" / "model" / "model.pt").write_text("tampered")
    checked = subprocess.run(["sha256sum", "--check"], input=sums, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert "model.pt: FAILED" in checked.stdout


def test_sha256sum_confirms_odd_names_too(tmp_path, artifact):
    artifact(tmp_path / "odd", {"a\\b\nc": "x", "plain": "y"})
    sums = as_sums(graph_of(tmp_path, "odd"))
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict"], input=sums, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_what_is_elsewhere_is_no_line_of_the_list():
    assert as_sums(evil_graph()).splitlines() == [
        f"# {'a' * 64} is not on this machine",
        f"# {'b' * 64} is not on this machine",
    ]


def test_the_documented_shell_command_gives_a_folders_digest(tmp_path, artifact):
    artifact(tmp_path / "x", {"b.txt": "2", "a.txt": "1", "a-b.txt": "3"})
    (tmp_path / "x" / "a").mkdir()
    (tmp_path / "x" / "a" / "z.txt").write_text("4")
    (tmp_path / "x" / "Ä.txt").write_text("5")
    (tmp_path / "x" / "provenance.json").unlink()
    page = (Path(__file__).parents[3] / "docs" / "lineage.md").read_text()
    (command,) = re.findall(r"^\$ (cd ARTIFACT && .*\\\n.*)$", page, re.MULTILINE)
    shown = subprocess.run(
        ["bash", "-c", command.replace("ARTIFACT", str(tmp_path / "x"))], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[0] == folder_digest(tmp_path / "x")


def test_json_tells_all_and_is_json(chain):
    shutil.rmtree(chain / "render")
    document = json.loads(as_json(graph_of(chain, downstream=True)))
    assert document["schema"] == "aerodet/lineage/1"
    by_name = {entry.get("name", "missing"): entry for entry in document["artifacts"]}
    assert set(by_name) == {"bundle", "model", "evaluation", "missing"}
    assert by_name["model"]["parameters"] == {"name": "real", "seed": 7}
    assert by_name["missing"]["recorded_uri"].endswith("render/dataset")
    known = {entry["digest"] for entry in document["artifacts"]}
    assert {edge["source"] for edge in document["edges"]} | {edge["made"] for edge in document["edges"]} <= known
    json.loads(as_json(evil_graph()))


def test_dot_is_one_statement_a_line_whatever_the_names_are(chain):
    dot = as_dot(graph_of(chain))
    assert dot.startswith("digraph lineage {")
    assert dot.count(" -> ") == 2
    statement = re.compile(r'  ("[0-9a-f]{64}"( -> "[0-9a-f]{64}")? \[label="([^"\\]|\\.)*"(, \w+=\w+)?\]|rankdir.*);')
    for line in as_dot(evil_graph()).splitlines()[1:-1]:
        assert statement.fullmatch(line), line


def test_openlineage_events_start_and_complete_each_execution_in_order(chain):
    events = [json.loads(line) for line in as_openlineage(graph_of(chain)).splitlines()]
    assert [(event["eventType"], event["job"]["name"]) for event in events] == [
        ("START", "synthesize"),
        ("START", "train"),
        ("COMPLETE", "synthesize"),
        ("START", "export"),
        ("COMPLETE", "train"),
        ("COMPLETE", "export"),
    ]
    complete = events[4]
    assert complete["run"]["runId"] == events[1]["run"]["runId"]
    assert complete["inputs"][0]["name"] == str(chain / "render" / "dataset")
    assert complete["outputs"][0]["namespace"] == "file"
    digest = read_provenance(chain / "train" / "model").digest
    assert complete["outputs"][0]["facets"]["version"]["datasetVersion"] == f"sha256:{digest}"
    assert complete["run"]["facets"]["aerodet_stage"]["parameters"] == {"name": "real", "seed": 7}


def test_openlineage_names_objects_by_bucket_and_key():
    start, complete = (json.loads(line) for line in as_openlineage(evil_graph()).splitlines())
    assert complete["outputs"][0]["namespace"] == "s3://bucket"
    assert complete["outputs"][0]["name"] == EVIL
    assert re.fullmatch(r"[0-9a-f-]{36}", start["run"]["runId"])


@pytest.mark.parametrize(
    "field", ["eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"]
)
def test_openlineage_events_have_every_field(chain, field):
    assert all(field in json.loads(line) for line in as_openlineage(graph_of(chain)).splitlines())
