import shutil

import pytest

from aerodet.lineage import Catalog, CodeVersion, compare, read_provenance
from aerodet.lineage import provenance as provenance_module


@pytest.fixture(autouse=True)
def clean_code(monkeypatch):
    monkeypatch.setattr(provenance_module, "code_version", lambda: CodeVersion("1.0", "c" * 40))


SPEC = "random_seed: 1\ntraining_config {\n  rate: 0.1\n  epochs: 3\n}\n"


def make(run, artifact, *, images="images", spec=SPEC, engine="plan", score=90.0, **code):
    artifact(run / "data", images, stage="synthesize", parameters={"count": 3}, annotations={"kind": "coco"})
    artifact(
        run / "model",
        f"weights {images} {spec}",
        inputs={"dataset": run / "data"},
        parameters={"spec": spec, "state": f"/somewhere/{run.name}"},
        minutes=1,
    )
    artifact(
        run / "engine",
        engine + images + spec,
        inputs={"model": run / "model"},
        stage="export",
        minutes=2,
        annotations={"kind": "engine", "metrics": {"bytes": 100}},
    )
    artifact(
        run / "evaluation",
        f"{score} {images}",
        inputs={"model": run / "engine"},
        stage="evaluate",
        parameters={"graph": "model.onnx"},
        annotations={"kind": "evaluation", "metrics": {"ap50": score}},
        minutes=3,
    )
    return run


def differ(tmp_path):
    left, right = (read_provenance(tmp_path / name / "engine").digest for name in ("a", "b"))
    return compare(Catalog.load(tmp_path), left, right)


def told(difference):
    return [(change.kind, change.name, change.left, change.right, change.steps) for change in difference.changes]


def test_the_same_content_does_not_differ(tmp_path, artifact):
    make(tmp_path / "a", artifact)
    make(tmp_path / "b", artifact)
    difference = differ(tmp_path)
    assert difference.identical
    assert difference.changes == ()
    assert difference.to_dict()["identical"] is True


def test_a_changed_line_of_the_spec_is_the_line_and_where_it_is(tmp_path, artifact):
    make(tmp_path / "a", artifact)
    make(tmp_path / "b", artifact, spec=SPEC.replace("0.1", "0.2"), score=91.5)
    difference = differ(tmp_path)
    assert told(difference) == [("parameter", "spec", "rate: 0.1", "rate: 0.2", ("model",))]
    assert difference.alike == 1  # the data
    assert [(m.name, m.left, m.right) for m in difference.metrics] == [
        ("evaluate model.onnx: ap50", "90", "91.5"),
        ("export: bytes", "100", "100"),
    ]


def test_other_data_are_found_at_the_root(tmp_path, artifact):
    make(tmp_path / "a", artifact)
    make(tmp_path / "b", artifact, images="other images")
    (change,) = differ(tmp_path).changes
    assert (change.kind, change.name, change.steps) == ("data", "dataset", ("model/dataset",))


def test_one_content_that_came_out_otherwise_is_told_where(tmp_path, artifact):
    make(tmp_path / "a", artifact)
    make(tmp_path / "b", artifact, engine="another plan")
    (change,) = differ(tmp_path).changes
    assert (change.kind, change.steps) == ("made here", (".",))


def test_other_code_and_libraries_are_one_line_for_many_steps(tmp_path, artifact, monkeypatch):
    make(tmp_path / "a", artifact)
    monkeypatch.setattr(provenance_module, "code_version", lambda: CodeVersion("1.1", "d" * 40))
    monkeypatch.setattr(provenance_module, "libraries", lambda: {"torch": "9"})
    make(tmp_path / "b", artifact, images="other")
    changes = differ(tmp_path).changes
    (code,) = (change for change in changes if change.kind == "code")
    assert (code.left, code.right) == ("1.0 (ccccccc)", "1.1 (ddddddd)")
    assert code.steps == (".", "model", "model/dataset")
    assert {"torch", "python"} <= {change.name for change in changes if change.kind == "library"}


def test_modified_code_is_never_taken_for_the_same(tmp_path, artifact, monkeypatch):
    monkeypatch.setattr(provenance_module, "code_version", lambda: CodeVersion("1.0", "c" * 40, dirty=True))
    make(tmp_path / "a", artifact)
    make(tmp_path / "b", artifact, engine="another plan")
    (change,) = differ(tmp_path).changes
    assert change.kind == "code"
    assert change.left == change.right == "1.0 (ccccccc, modified), unknown changes"


def test_an_input_without_provenance_is_data(tmp_path, artifact):
    make(tmp_path / "a", artifact)
    make(tmp_path / "b", artifact, images="other")
    shutil.rmtree(tmp_path / "b" / "data")
    (change,) = differ(tmp_path).changes
    assert (change.kind, change.name) == ("data", "dataset")


def test_an_input_that_only_one_has_is_told(tmp_path, artifact):
    make(tmp_path / "a", artifact)
    run = tmp_path / "b"
    artifact(run / "model", "w", parameters={"spec": SPEC})
    artifact(run / "engine", "plan", stage="export", inputs={"model": run / "model"}, annotations={"kind": "engine"})
    (change,) = differ(tmp_path).changes
    assert (change.kind, change.steps, change.right) == ("data", ("model/dataset",), "–")


def test_things_of_different_stages_are_not_held_together(tmp_path, artifact):
    run = make(tmp_path / "a", artifact)
    digests = [read_provenance(run / name).digest for name in ("engine", "model")]
    assert told(compare(Catalog.load(run), *digests)) == [("stage", "stage", "export", "train", (".",))]
