import json
from pathlib import Path

import pytest
import torch

from aerodet import stages
from aerodet.detectnet.checkpoint import load_model, save_checkpoint
from aerodet.detectnet.model import Architecture, DetectNet, count_parameters
from aerodet.detectnet.shrink import product_count
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import DataError, SpecError
from aerodet.registry import open_registry
from aerodet.registry.sign import check_signature, make_key

SPEC = format_spec(
    build_spec(SpecOptions(classes=("aircraft",), image_width=64, image_height=64, layers=10, width=0.25))
)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    model = DetectNet(Architecture(layers=10, width=0.25))
    save_checkpoint(folder / "model.pt", model, spec=SPEC, classes=("aircraft",))
    (folder / "spec.txt").write_text(SPEC)
    return folder


CONTENTS = {
    "bundle": {
        "files.json": {"parameters": 12, "classes": ["aircraft"], "size": [64, 64], "quantized": True, "files": []},
        "model.int8.onnx": "graph",
        "model.sm89.engine": "engine",
    },
    "evaluation": {
        "evaluation.json": {
            "ap50": 91.5,
            "ap75": 60.0,
            "ap": 55.0,
            "tao_sample": 90.0,
            "tao_integrate": 89.0,
            "images": 4,
            "boxes": 9,
            "slices": {"small": {"ap50": None, "boxes": 0}},
            "per_class": {},
        },
        "detections.json": [],
    },
    "benchmark": {
        "benchmark.json": {"int8": {"median_ms": 0.8}, "ratio": 3.1, "batch": 1, "threads": 2, "cpu": "a <CPU>"}
    },
    "gate": {
        "gate.json": {
            "passed": True,
            "champion": 0,
            "rules": [{"name": "speed", "verdict": "passed", "sentence": "3.1 times as fast", "figures": {}}],
        }
    },
}


@stages.stage("made")
def make(*, made, name, changes):
    made.mkdir()
    for file, content in (CONTENTS[name] | changes).items():
        (made / file).write_text(content if isinstance(content, str) else json.dumps(content))
    return stages.Outcome({})


def made_artifact(artifact, name, **changes):
    """Return an artifact as a stage leaves it, with changed files."""
    place = artifact(name)
    stages.run(make, {"made": place, "name": name, "changes": changes})
    return place


@pytest.fixture
def inputs(artifact):
    """The inputs of a publication, as other stages leave them: an export, its evaluation and its benchmark."""
    return {name: made_artifact(artifact, name) for name in CONTENTS if name != "gate"}


def publish(inputs, artifact, tmp_path, **changed):
    version, metrics = artifact("version"), artifact("metrics")
    options = {"registry": str(tmp_path / "registry"), "name": "aircraft", "run_id": "run-1", **changed}
    stages.run(stages.publish, {**inputs, "version": version, "metrics": metrics, **options})
    return json.loads((Path(version.path) / "version.json").read_text()), metrics.metadata, version.metadata


def test_a_checkpoint_has_the_same_bytes_under_any_name(checkpoint, tmp_path):
    model, content = load_model(checkpoint)
    save_checkpoint(tmp_path / "other.pt", model, spec=content["spec"], classes=content["classes"])
    assert (tmp_path / "other.pt").read_bytes() == (checkpoint / "model.pt").read_bytes()


def test_a_single_picture_is_shown_beside_several_of_the_mix(image_set, tmp_path):
    spec = SPEC.replace("batch_size_per_gpu: 32", "batch_size_per_gpu: 8")
    outcome = stages.train(
        dataset=image_set(tmp_path / "real", 1),
        synthetic=image_set(tmp_path / "synthetic", 6, seed=1),
        model=tmp_path / "model",
        spec=spec,
        name="finetune",
        steps=2,
        seed=0,
        synthetic_share=0.25,
    )
    assert outcome.metrics["images"] == 8  # six times the one, and two of the mix
    assert outcome.metrics["epochs"] == 2  # of one step each


def test_prune_by_keep_writes_a_smaller_checkpoint(checkpoint, tmp_path):
    outcome = stages.prune(model=checkpoint, pruned=tmp_path / "pruned", keep=0.7)
    before = count_parameters(load_model(checkpoint)[0])["total"]
    smaller, content = load_model(tmp_path / "pruned")
    after = count_parameters(smaller)["total"]
    assert after <= 0.7 * before
    assert content["classes"] == ("aircraft",)
    assert (tmp_path / "pruned" / "spec.txt").read_text() == SPEC
    figures = json.loads((tmp_path / "pruned" / "pruning.json").read_text())
    assert (figures["params_before"], figures["params_total"]) == (before, after)
    assert figures["channels"] == dict(smaller.architecture.channels)
    assert outcome.metrics["kept"] == pytest.approx(after / before)
    assert outcome.metadata["pruned"]["params_total"] == after


def test_prune_by_parameters_comes_as_near_as_a_block_of_channels_allows(checkpoint, tmp_path):
    outcome = stages.prune(model=checkpoint, pruned=tmp_path / "pruned", params=100_000, granularity=16)
    after = count_parameters(load_model(tmp_path / "pruned")[0])["total"]
    assert 93_000 < after <= 100_000
    assert outcome.metrics == {"params_before": 312_597, "params_total": after, "kept": after / 312_597}


def test_prune_by_parameters_keeps_to_a_number_of_products(checkpoint, tmp_path):
    size = {"params": 100_000, "granularity": 16}
    stages.prune(model=checkpoint, pruned=tmp_path / "free", **size)
    limit = 0.9 * product_count(load_model(tmp_path / "free")[0].architecture)
    stages.prune(model=checkpoint, pruned=tmp_path / "limited", products=limit, **size)
    assert product_count(load_model(tmp_path / "limited")[0].architecture) <= limit


def test_a_threshold_of_nought_keeps_everything(checkpoint, tmp_path):
    outcome = stages.prune(model=checkpoint, pruned=tmp_path / "pruned", threshold=0.0)
    assert outcome.metrics["kept"] == 1.0


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"keep": 0.01}, SpecError, "no threshold leaves only 1% of the parameters"),
        ({"params": 1000}, SpecError, "pruning cannot leave 1,000 parameters: the least is"),
        ({"keep": 0.5, "normalizer": "L3"}, SpecError, "normalizer"),
        ({"threshold": -1.0}, SpecError, "must not be negative"),
        ({"keep": 0.5, "products": 1000.0}, SpecError, "give params too"),
        ({"params": 100_000, "products": -1.0}, SpecError, "cannot leave -1 products a pixel"),
    ],
)
def test_prune_refuses_options_out_of_range(checkpoint, tmp_path, options, error, sentence):
    with pytest.raises(error, match=sentence):
        stages.prune(model=checkpoint, pruned=tmp_path / "pruned", **options)
    assert not (tmp_path / "pruned").exists()


def test_prune_refuses_what_is_no_checkpoint(tmp_path):
    (tmp_path / "model.pt").write_text("nothing")
    with pytest.raises(DataError, match="not a readable checkpoint"):
        stages.prune(model=tmp_path, pruned=tmp_path / "pruned", keep=0.5)


def test_publish_makes_one_version_with_digests_and_metrics(inputs, artifact, tmp_path):
    facts, metrics, metadata = publish(inputs, artifact, tmp_path)
    (version,) = open_registry(tmp_path / "registry").versions("aircraft")
    assert facts == {
        "published": True,
        "name": "aircraft",
        "version": 1,
        "uri": version.uri,
        "digest": version.digest,
        "stage": "challenger",
        "remark": "it was not judged, so a person promotes it",
    }
    assert metrics == {"published": 1.0, "version": 1.0}
    assert metadata["uri"] == version.uri
    assert version.tags["run_id"] == "run-1"
    assert float(version.tags["metric.ap50"]) == 91.5
    assert float(version.tags["metric.throughput_ratio"]) == 3.1
    for name, made in inputs.items():
        assert f"sha256:{version.tags[f'digest.{name}']}" == made.metadata["digest"]
    assert (version.folder / "model.sm89.engine").read_text() == "engine"


def test_a_version_has_card_bill_and_the_provenance_of_what_it_came_from(inputs, artifact, tmp_path):
    publish(inputs, artifact, tmp_path)
    (version,) = open_registry(tmp_path / "registry").versions("aircraft")
    assert {"card.html", "card.md", "sbom.cdx.json", "detections.json", "evaluation.json"} <= set(version.files)
    assert "model.sig" not in version.files
    page = (version.folder / "card.html").read_text()
    assert "a &lt;CPU&gt;" in page
    assert "<script" not in page
    assert "a &lt;CPU&gt;" in (version.folder / "card.md").read_text()
    bill = json.loads((version.folder / "sbom.cdx.json").read_text())
    assert bill["specVersion"] == "1.6"
    assert {"numpy", "torch", "model.int8.onnx", "evaluation"} <= {part["name"] for part in bill["components"]}
    statements = sorted(p.name.rsplit("-", 1)[0] for p in (version.folder / "provenance").iterdir())
    assert statements == ["make-made"] * 3


def test_a_version_that_passed_the_gate_is_champion_and_one_that_did_not_is_challenger(inputs, artifact, tmp_path):
    facts, _, metadata = publish(inputs | {"gate": made_artifact(artifact, "gate")}, artifact, tmp_path)
    assert (facts["stage"], metadata["stage"]) == ("champion", "champion")
    (Path(inputs["bundle"].path) / "model.sm89.engine").write_text("a worse engine")
    verdict = CONTENTS["gate"]["gate.json"] | {"passed": False, "champion": 1}
    verdict["rules"] = [{"name": "slices", "verdict": "failed", "sentence": "worse", "figures": {}}]
    failed = made_artifact(artifact, "gate", **{"gate.json": verdict})
    facts = publish(inputs | {"gate": failed}, artifact, tmp_path)[0]
    assert (facts["version"], facts["stage"]) == (2, "challenger")
    assert facts["remark"] == "the gate did not let it pass: slices"
    assert open_registry(tmp_path / "registry").get("aircraft", "champion").version == 1


def test_a_version_is_not_promoted_over_a_champion_it_was_not_compared_with(inputs, artifact, tmp_path):
    judged = inputs | {"gate": made_artifact(artifact, "gate")}
    publish(judged, artifact, tmp_path)
    (Path(inputs["bundle"].path) / "model.sm89.engine").write_text("another engine, judged at the same time")
    facts = publish(judged, artifact, tmp_path)[0]
    assert facts["stage"] == "challenger"
    assert "judged against no champion, but the champion is 1 by now" in facts["remark"]


def test_a_version_taken_out_of_use_is_not_brought_back_by_a_run(inputs, artifact, tmp_path):
    publish(inputs, artifact, tmp_path)
    open_registry(tmp_path / "registry").archive("aircraft", 1)
    facts = publish(inputs | {"gate": made_artifact(artifact, "gate")}, artifact, tmp_path)[0]
    assert facts["stage"] == "archived"
    assert "a person brings it back" in facts["remark"]


def test_a_key_in_the_environment_signs(inputs, artifact, tmp_path, monkeypatch):
    key, public = make_key(tmp_path / "signing.key")
    monkeypatch.setenv("AERODET_SIGNING_KEY", str(key))
    publish(inputs, artifact, tmp_path)
    (version,) = open_registry(tmp_path / "registry").versions("aircraft")
    check_signature(version.folder, public)


def test_publishing_again_is_the_same_version(inputs, artifact, tmp_path):
    first = publish(inputs, artifact, tmp_path)[0]
    assert publish(inputs, artifact, tmp_path, run_id="run-2")[0] == first
    assert len(open_registry(tmp_path / "registry").versions("aircraft")) == 1


def test_an_export_without_an_engine_publishes_nothing(inputs, artifact, tmp_path):
    (Path(inputs["bundle"].path) / "model.sm89.engine").unlink()
    facts, metrics, _ = publish(inputs, artifact, tmp_path)
    assert facts["published"] is False
    assert "no engine: install aerodet[tensorrt-rtx]" in facts["reason"]
    assert metrics == {"published": 0.0}
    assert not (tmp_path / "registry").exists()


def test_a_name_that_the_registry_refuses_is_the_callers_mistake(inputs, artifact, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        publish(inputs, artifact, tmp_path, name="air craft")
    assert caught.value.code == 2
    assert "'air craft' is not a model name" in capsys.readouterr().err
    assert not Path(artifact("version").path).exists()
