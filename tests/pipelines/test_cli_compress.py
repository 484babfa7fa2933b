"""``aerodet compress`` as a user calls it: what it refuses, what it prints, and one whole search."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from aerodet.detectnet.checkpoint import save_checkpoint
from aerodet.detectnet.model import Architecture, DetectNet
from aerodet.detectnet.quantize import prepare_qat
from aerodet.lineage import upstream
from aerodet.pipelines import RunRecord
from aerodet.pipelines._specs import arm_spec
from aerodet.pipelines.cli.compress import _checkpoint
from aerodet.pipelines.cli.runs import results_tables
from aerodet.pipelines.profiles import load_profile
from aerodet.pipelines.record import StageRecord

POINT = {"parameters": 444_000, "bytes": 460_000, "ap50": 91.04, "ap75": 62.0, "median_ms": 1.25, "speedup": 16.0}
RESULTS = {
    "flow": "compress",
    "budget": 2.0,
    "teacher": {"parameters": 11_197_893, "bytes": 44_800_000, "ap50": 92.0, "ap75": 70.0, "median_ms": 20.0},
    "points": [
        {"name": "l2-25", **POINT, "within_budget": True},
        {"name": "narrow-25", **POINT, "ap50": 89.0, "within_budget": False},
    ],
    "chosen": {"name": "l2-25"},
    "sentence": "Pruning against training narrow networks from scratch.",
}


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint as a training of profile minimal leaves it, of random weights."""

    def write(name="teacher", *, quantised=False, settings=()):
        profile = load_profile("minimal", list(settings))
        spec = arm_spec(profile, profile.finetune, load_graph=False, qat=quantised)
        torch.manual_seed(0)
        model = DetectNet(Architecture(layers=10, width=0.25, num_classes=len(profile.classes)))
        if quantised:
            prepare_qat(model)
        folder = tmp_path / name
        folder.mkdir()
        save_checkpoint(folder / "model.pt", model, spec=spec, classes=tuple(profile.classes))
        (folder / "spec.txt").write_text(spec)
        return folder

    return write


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "sm_75"], "compress.target: should be 'cpu', 'sm_80' or 'sm_90', not 'sm_75'"),
        (["--sizes", "4,many"], "compress.sizes.1: should be a valid number"),
        (["--sizes", "400"], "which is 16 channels in every layer"),
        (["--sizes", "0.5,2"], "0.5 and 2 are the same size"),
        (["--budget-ap", "-1"], "compress.budget: should be greater than or equal to 0"),
        (["--importance", "l1"], "compress.importances.0: should be 'l2', 'bn' or 'taylor'"),
        (["--model", "nowhere"], "nowhere is not a folder; give one with model.pt and spec.txt"),
        (["--profile", "tao"], "submit it there or train here with --set backend=torch"),
        (["--real", "nowhere"], "--real"),
        (["runs/first"], "'runs/first' goes with --resume only; name a new search with --name"),
        (["--resume", "--sizes", "4"], "a resumed search keeps its settings; leave out --sizes, or start a new one"),
        (["--resume"], "there is no run in runs yet"),
    ],
)
def test_the_callers_mistakes_are_one_sentence_and_leave_nothing(aerodet, tmp_path, arguments, sentence):
    profile = () if {"--profile", "--resume"} & {*arguments} else ("--profile", "minimal")
    status, output, shown = aerodet("compress", *profile, *arguments)
    assert (status, output) == (2, "")
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert sentence in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"quantised": True}, "is quantised already; compress the float checkpoint that it was made from"),
        ({"settings": ["size=256"]}, "takes 256×256 px, but profile minimal has 128; give --set size=256"),
        ({"settings": ["classes=[plane]"]}, "detects plane, but the profile's classes are aircraft"),
    ],
    ids=["quantised", "size", "classes"],
)
def test_a_checkpoint_that_the_profile_cannot_retrain_is_refused(aerodet, checkpoint, tmp_path, options, sentence):
    status, _, shown = aerodet("compress", "--profile", "minimal", "--model", checkpoint(**options))
    assert status == 2
    assert sentence in shown
    assert not (tmp_path / "runs").exists()


def test_what_is_no_checkpoint_is_refused(aerodet, tmp_path):
    (tmp_path / "other").mkdir()
    status, _, shown = aerodet("compress", "--profile", "minimal", "--model", "other")
    assert (status, shown.count("\n")) == (2, 1)
    assert "there is no checkpoint" in shown


def test_the_points_are_one_table():
    (table,) = results_tables(RESULTS)
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows == [
        ("unpruned, float", "11,197,893", "44,800,000", "92.0", "70.0", "20.00", "1.0", ""),
        ("l2-25", "444,000", "460,000", "91.0", "62.0", "1.25", "16.0", "chosen"),
        ("narrow-25", "444,000", "460,000", "89.0", "62.0", "1.25", "16.0", "over budget"),
    ]
    assert table.title == RESULTS["sentence"]
    (table,) = results_tables({**RESULTS, "chosen": None})
    assert str(table.title).startswith("No network keeps AP50 within 2 points of the ")


def test_a_run_without_a_fine_tuned_model_is_named(aerodet, tmp_path):
    RunRecord("early", "aerodet", {}).write(tmp_path)
    status, _, shown = aerodet("compress", "--model", tmp_path)
    assert (status, "has no fine-tuned model yet; finish the run" in " ".join(shown.split())) == (2, True)


@pytest.mark.slow
@pytest.mark.timeout(900)  # 25 stages, each a process that imports torch: a minute on idle cores
def test_a_search_from_a_checkpoint_of_ones_own(aerodet, checkpoint, tmp_path):
    run = tmp_path / "runs" / "earlier"
    teacher = run / "artifacts" / "train-finetune" / "model"
    shutil.copytree(checkpoint(), teacher)
    trained = StageRecord("train-finetune", "SUCCEEDED", outputs={"model": str(teacher)})
    RunRecord("earlier", "aerodet", {}, stages=[trained]).write(run)
    latest = tmp_path / "runs" / "latest"
    latest.symlink_to("earlier")  # and soon to the search
    choices = ("--model", latest, "--sizes", "3", "--importance", "l2", "--budget-ap", "1", "--name", "first")
    status, output, shown = aerodet("compress", "--profile", "minimal", *choices)
    assert status == 0, shown
    run = tmp_path / "runs" / "first"
    assert "l2-3" in output
    assert "narrow-3" in output
    found = json.loads((run / "results.json").read_text())
    assert found["teacher"]["parameters"] == 312_597
    assert [point["name"] for point in found["points"]] == ["l2-3", "narrow-3"]
    assert 0.94 < found["points"][0]["parameters"] / (312_597 / 3) <= 1
    assert (run / "report.html").read_text().startswith("<!doctype html>")
    record = RunRecord.read(run)
    chosen = Path(record.stage("report").outputs["chosen"])
    assert [path.name for path in chosen.iterdir() if path.name != "provenance.json"] == ["chosen.json"]
    assert found["chosen"] is None
    assert "The network that was compressed finds nothing: train it longer." in " ".join(output.split())
    stages = {ancestor.provenance.stage for ancestor in upstream(chosen, [run]) if ancestor.provenance}
    assert {"candidate", "export", "train", "prune", "synthesize", "benchmark"} <= stages
    assert _checkpoint(latest) == teacher.resolve()  # of the search now
    status, _, shown = aerodet("compress", "--resume", "first")
    assert status == 0
    stages = RunRecord.read(run).stages
    assert all(stage.kept for stage in stages if stage.name != "import-teacher")
