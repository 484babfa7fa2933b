"""A small sweep as a user starts it, and what a user gets wrong."""

import json
from pathlib import Path

import pytest

from aerodet.files import folder_digest
from aerodet.lineage import read_provenance, upstream
from aerodet.pipelines import RunRecord


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fractions", "0,200"], "sweep.fractions.1: should be less than or equal to 100, not 200"),
        (["--fractions", "5,10,5"], "`fractions` has 5 twice; give each once"),
        (["--fractions", ""], "--fractions '' is no list of numbers; write it as 0,1,10,100"),
        (["--fractions", "1;2"], "--fractions '1;2' is no list of numbers"),
        (["--fractions", "nan"], "sweep.fractions.0: "),
        (["--fractions", "0", "--frames", "0"], "there is no real image in the sweep; give one, such as 10"),
        (["--frames", "1,1"], "`frames` has 1 twice"),
        (["--frames", "0.5"], "sweep.frames.0: should be a valid integer"),
        (["--real", "nowhere"], "is not a folder; give a folder with images and a COCO file"),
        (["--real", "."], "holds no COCO file"),
        (["--set", "backend=tao"], "which run on a cluster only"),
        (["runs/first"], "'runs/first' goes with --resume only"),
        (["--resume", "--fractions", "1"], "a resumed sweep keeps its settings; leave out --fractions"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_a_sweep_that_cannot_be_run_is_one_sentence_and_leaves_nothing(aerodet, tmp_path, arguments, sentence):
    profile = [] if "--resume" in arguments else ["--profile", "minimal"]
    status, output, shown = aerodet("sweep", *profile, *arguments)
    assert (status, output) == (2, "")
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert sentence in shown
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_ends_with_a_curve_and_goes_on_where_it_was(aerodet, tmp_path):
    few = ["--set", "real.steps=2", "--set", "synthetic.steps=2", "--set", "finetune.steps=2"]
    status, output, _ = aerodet("sweep", "--profile", "minimal", "--fractions", "0,50,100", "--name", "first", *few)
    assert status == 0
    folder = tmp_path / "runs" / "first"
    found = json.loads((folder / "results.json").read_text())
    points = {point["name"]: point for point in found["sweep"]["points"]}
    assert list(points) == ["0 %", "1 frame", "50 %", "100 %"]
    assert [p["real"]["images"] for p in points.values()] == [0, 1, 12, 24]
    assert [p["of_real"] for p in points.values()] == [0, 0.0417, 0.5, 1]
    assert [p["of_mix"] for p in points.values()] == [0, 0.04, 0.3333, 0.5]
    assert [p["scratch"] is None for p in points.values()] == [True, False, False, False]
    assert all(0 <= p["pretrained"]["ap50"] <= 100 for p in points.values())
    assert set(found["arms"]) == {"real", "synthetic", "finetune"}  # data.fraction of the profile is a half
    assert found["arms"]["finetune"]["ap50"] == points["50 %"]["pretrained"]["ap50"]
    assert found["gap"]["saturation"] > 0
    assert "AP50, % over the 24 real images" in output
    assert " 1 frame " in output

    record = RunRecord.read(folder)
    paths = {stage.name: stage.outputs for stage in record.stages}
    for name, output in (("train-real-50", "model"), ("point-50", "curve"), ("gap", "gap")):
        made = Path(paths[name][output])
        assert read_provenance(made).digest == folder_digest(made)
    stages = {a.provenance.stage for a in upstream(Path(paths["report"]["results"]), [folder])}
    assert stages == {"synthesize", "sample", "train", "evaluate", "curve", "gap"}

    status, output, _ = aerodet("runs")
    assert status == 0
    row = output.splitlines()[1].split()
    assert (row[1], row[4:6]) == ("sweep", ["succeeded", str(len(record.stages))])
    status, _, shown = aerodet("sweep", "--resume", folder)
    assert status == 0
    assert all(stage.kept for stage in RunRecord.read(folder).stages)
    assert "report: kept" in shown
    status, _, shown = aerodet("compress", "--resume", folder)
    assert (status, shown) == (2, f"error: {folder} is no search; `aerodet run --resume {folder}` goes on with it\n")
    assert aerodet("report", "first")[1].strip() == "runs/first/report.html"
