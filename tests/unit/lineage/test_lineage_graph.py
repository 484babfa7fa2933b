import json
import os
import shutil
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from aerodet.errors import UserError
from aerodet.files import file_digest
from aerodet.lineage import (
    Catalog,
    CodeVersion,
    InputRef,
    Provenance,
    Record,
    as_tree,
    main_artifact,
    read_provenance,
    resolve,
    sinks,
    walk,
)


def digest(folder):
    return read_provenance(folder).digest


def names(graph):
    return {node.records[0].provenance.name if node.records else node.digest[:6] for node in graph.nodes.values()}


def test_the_walk_up_reaches_the_roots_and_the_walk_down_the_uses(chain):
    catalog, model = Catalog.load(chain), digest(chain / "train" / "model")
    assert names(walk(catalog, [model])) == {"model", "dataset"}
    assert names(walk(catalog, [model], upstream=False, downstream=True)) == {"model", "bundle", "evaluation"}
    both = walk(catalog, [model], downstream=True)
    assert names(both) == {"model", "dataset", "bundle", "evaluation"}
    assert {node.records[0].provenance.name: node.distance for node in both.nodes.values()} == {
        "model": 0,
        "dataset": -1,
        "bundle": 1,
        "evaluation": 2,
    }
    assert [edge.name for edge in both.inputs(model)] == ["dataset"]
    assert [edge.name for edge in both.uses(model)] == ["model"]
    assert both.circular == []


def test_what_is_missing_is_a_node_that_says_so(chain):
    dataset = digest(chain / "render" / "dataset")
    shutil.rmtree(chain / "render")
    graph = walk(Catalog.load(chain), [digest(chain / "export" / "bundle")])
    (missing,) = graph.missing
    assert missing.digest == dataset
    assert missing.reference.uri.endswith("render/dataset")
    assert missing.record is None
    assert missing.distance == -2


def test_copies_and_renamed_folders_are_one_artifact(chain, tmp_path):
    shutil.copytree(chain / "train" / "model", tmp_path / "kept" / "my favourite")
    chain.rename(tmp_path / "renamed")
    catalog = Catalog.load(tmp_path)
    graph = walk(catalog, [digest(tmp_path / "renamed" / "export" / "bundle")])
    assert graph.missing == []
    model = graph.nodes[digest(tmp_path / "kept" / "my favourite")]
    assert sorted(record.folder.name for record in model.records) == ["model", "my favourite"]


def test_places_that_overlap_give_each_copy_once(chain):
    catalog = Catalog.load(chain, chain / "train", chain)
    assert len(catalog) == 4
    assert all(len(copies) == 1 for copies in catalog.artifacts.values())


def test_circles_in_bad_data_end_and_are_named(tmp_path, artifact):
    first, second = "a" * 64, "b" * 64
    for name, own, other in (("one", first, second), ("two", second, first)):
        artifact(tmp_path / name, name, inputs={"x": InputRef(other)})
        statement = json.loads((tmp_path / name / "provenance.json").read_text())
        statement["subject"][0]["digest"]["sha256"] = own
        (tmp_path / name / "provenance.json").write_text(json.dumps(statement))
    artifact(tmp_path / "below", "below", inputs={"x": InputRef(first)})
    artifact(tmp_path / "aside", "aside", inputs={"x": tmp_path / "below", "y": InputRef("c" * 64)})
    graph = walk(Catalog.load(tmp_path), [digest(tmp_path / "aside")], downstream=True)
    assert graph.circular == [first, second]
    assert len(graph.nodes) == 5
    assert sinks([r for d in (first, second) for r in Catalog.load(tmp_path).records(d)])


def test_an_artifact_made_from_itself_is_circular(tmp_path, artifact):
    artifact(tmp_path / "one", inputs={"x": InputRef("d" * 64)})
    path = tmp_path / "one" / "provenance.json"
    path.write_text(path.read_text().replace(digest(tmp_path / "one"), "d" * 64))
    assert walk(Catalog.load(tmp_path), ["d" * 64]).circular == ["d" * 64]


def test_a_very_deep_lineage_is_walked(tmp_path):
    now = datetime.now(UTC)

    def at(number):
        return f"{number:064x}"

    records = [
        Record(
            Provenance(str(n), at(n), "train", {}, {"init": InputRef(at(n + 1))}, CodeVersion("1"), now, now), f"/{n}"
        )
        for n in range(1, 5_000)
    ]
    graph = walk(Catalog(records), [at(1)])
    assert len(graph.nodes) == 5_000
    assert graph.circular == []
    assert as_tree(graph).count("init: ") == 4_999


def test_links_pipes_and_hidden_folders_are_not_entered(chain, tmp_path, artifact):
    outside = tmp_path / "outside"
    artifact(outside, "secret")
    (chain / "linked").symlink_to(outside)
    (chain / "loop").symlink_to(chain)
    (chain / "evil").mkdir()
    (chain / "evil" / "provenance.json").symlink_to(outside / "provenance.json")
    (chain / "pipe").mkdir()
    os.mkfifo(chain / "pipe" / "provenance.json")
    shutil.copytree(outside, chain / ".cache" / "x")
    catalog = Catalog.load(chain)
    assert len(catalog) == 4
    assert [problem.reason.removeprefix(str(chain)) for problem in catalog.problems] == [
        "/evil/provenance.json is a link, and links are not followed",
        "/pipe/provenance.json is not a file",
    ]


def test_what_cannot_be_read_is_named_and_the_rest_is_found(chain):
    (chain / "broken").mkdir()
    (chain / "broken" / "provenance.json").write_text("{}")
    catalog = Catalog.load(chain)
    assert len(catalog) == 4
    (problem,) = catalog.problems
    assert problem.where == str(chain / "broken" / "provenance.json")
    assert "is missing" in problem.reason


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        Catalog.load(tmp_path / "nowhere")


class Bucket:
    """A bucket in memory; the tests with a real server are elsewhere."""

    uri = "s3://bucket/runs"

    def __init__(self, objects):
        self.objects = objects

    def keys(self, prefix=""):
        return (SimpleNamespace(key=key, size=len(value)) for key, value in self.objects.items())

    def read(self, key, limit=None):
        return self.objects[key][:limit]


def test_a_bucket_is_read_like_a_folder_and_odd_keys_are_refused(chain, monkeypatch):
    objects = {p.relative_to(chain).as_posix(): p.read_bytes() for p in chain.rglob("*") if p.is_file()}
    objects["../out/provenance.json"] = objects["a//provenance.json"] = objects["train/model/provenance.json"]
    objects["big/provenance.json"] = b" " * (16 << 20) + b" "
    catalog = Catalog.load(Bucket(objects))
    graph = walk(catalog, [digest(chain / "export" / "bundle")])
    assert names(graph) == {"bundle", "model", "dataset"}
    assert graph.nodes[digest(chain / "train" / "model")].record.uri == "s3://bucket/runs/train/model"
    assert graph.nodes[digest(chain / "train" / "model")].record.folder is None
    assert sorted(problem.where for problem in catalog.problems) == [
        "s3://bucket/runs/../out/provenance.json",
        "s3://bucket/runs/a//provenance.json",
        "s3://bucket/runs/big/provenance.json",
    ]


def test_an_object_that_is_gone_since_the_listing_is_named(chain):
    class Forgetful(Bucket):
        def read(self, key, limit=None):
            if key.startswith("train"):
                raise UserError(f"{key} does not exist")
            return super().read(key, limit)

    objects = {p.relative_to(chain).as_posix(): p.read_bytes() for p in chain.rglob("*") if p.is_file()}
    catalog = Catalog.load(Forgetful(objects))
    assert len(catalog) == 3
    assert [problem.reason for problem in catalog.problems] == ["train/model/provenance.json does not exist"]


def test_a_target_may_be_a_folder_a_file_its_copy_or_the_beginning_of_a_digest(chain, tmp_path):
    catalog, bundle = Catalog.load(chain), digest(chain / "export" / "bundle")
    engine = chain / "export" / "bundle" / "model.engine"
    shutil.copy(engine, tmp_path / "on-the-device.plan")
    assert resolve(str(chain / "export" / "bundle"), catalog).digests == (bundle,)
    for target in (str(engine), str(tmp_path / "on-the-device.plan"), file_digest(engine)[:12]):
        found = resolve(target, catalog)
        assert (found.digests, found.file) == ((bundle,), file_digest(engine))
    for target in (bundle, bundle[:8], f"sha256:{bundle.upper()}"):
        assert resolve(target, catalog).digests == (bundle,)
    assert resolve(str(chain), catalog).digests == (digest(chain / "evaluate" / "evaluation"),)


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("no-such-run", "is no digest either"),
        ("abc", "too short for a digest"),
        ("0" * 64, "no artifact at hand has a digest"),
    ],
)
def test_a_target_that_cannot_be_found_is_told_apart(chain, target, complaint):
    with pytest.raises(UserError, match=complaint):
        resolve(target, Catalog.load(chain))


def test_a_digest_that_several_have_is_refused(chain):
    catalog = Catalog.load(chain)
    catalog.artifacts |= {digit * 64: [] for digit in "ab"}
    catalog.artifacts |= {"a" * 63 + "b": []}
    with pytest.raises(UserError, match=r"2 digests begin with aaaaaa: aaaaaaaaaaaa, aaaaaaaaaaaa; give more digits"):
        resolve("aaaaaa", catalog)


def test_a_file_that_was_changed_is_not_taken_for_what_it_was(chain, tmp_path):
    engine = chain / "export" / "bundle" / "model.engine"
    engine.write_text("tampered")
    with pytest.raises(UserError, match="is not the file that its provenance tells of"):
        resolve(str(engine), Catalog.load(chain))
    (tmp_path / "stranger.engine").write_text("from elsewhere")
    with pytest.raises(UserError, match="no artifact at hand holds"):
        resolve(str(tmp_path / "stranger.engine"), Catalog.load(chain))


def test_a_raw_file_that_was_an_input_leads_to_its_uses(tmp_path, artifact):
    (tmp_path / "raw.zip").write_text("raw")
    artifact(tmp_path / "run" / "data", inputs={"archive": tmp_path / "raw.zip"})
    catalog = Catalog.load(tmp_path / "run")
    target = resolve(str(tmp_path / "raw.zip"), catalog)
    assert names(walk(catalog, target.digests, downstream=True)) == {"data", target.digests[0][:6]}


def test_a_statement_of_an_older_version_lists_no_files_and_is_still_found(chain):
    path = chain / "export" / "bundle" / "provenance.json"
    statement = json.loads(path.read_text())
    statement["subject"] = [{"name": "bundle", "digest": statement["subject"][0]["digest"]}]
    path.write_text(json.dumps(statement))
    catalog = Catalog.load(chain)
    found = resolve(str(chain / "export" / "bundle" / "model.engine"), catalog)
    assert found.digests == (digest(chain / "export" / "bundle"),)
    assert catalog.records(found.digests[0])[0].kind == "bundle"


def test_an_empty_folder_is_no_target(tmp_path, chain):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no artifact under"):
        resolve(str(tmp_path / "empty"), Catalog.load(chain))


def test_a_run_is_about_its_engine(chain):
    catalog = Catalog.load(chain)
    records = [record for copies in catalog.artifacts.values() for record in copies]
    assert main_artifact(records).kind == "engine"


def test_ten_thousand_artifacts_load_fast(tmp_path, artifact):
    artifact(tmp_path / "seed" / "model", inputs={f"input{i}": InputRef(f"{i:064x}") for i in range(3)})
    text = (tmp_path / "seed" / "model" / "provenance.json").read_text()
    own = digest(tmp_path / "seed" / "model")
    for number in range(10_000):
        folder = tmp_path / "many" / f"run-{number // 25}" / f"stage-{number % 25}"
        folder.mkdir(parents=True)
        (folder / "provenance.json").write_text(
            text.replace(own, f"{number + 1:064x}").replace(f"{0:064x}", f"{number:064x}")
        )
    began = time.perf_counter()
    catalog = Catalog.load(tmp_path / "many")
    graph = walk(catalog, [f"{10_000:064x}"])
    seconds = time.perf_counter() - began
    assert len(catalog) == 10_000
    assert len(graph.nodes) > 9_999
    assert seconds < 10, f"{seconds:.1f} s; 1 s on a quiet core"
