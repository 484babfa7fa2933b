"""The stages that gather a compression search and end it."""

import json
from pathlib import Path

import pytest

from aerodet import stages
from aerodet.data import ImageSet
from aerodet.errors import DataError
from aerodet.files import folder_digest
from aerodet.lineage import read_provenance

PROFILE = json.dumps({"name": "tiny", "seed": 3, "data": {"real": ""}, "compress": {"budget": 2.0}})


def evaluation(folder, ap50):
    figures = {"ap50": ap50, "ap75": ap50 - 20, "ap": None, "tao_sample": None, "tao_integrate": None}
    folder.mkdir()
    more = {"images": 9, "boxes": 9, "backend": "torch", "per_class": {}, "slices": {}}
    (folder / "evaluation.json").write_text(json.dumps(figures | more))
    return folder


@pytest.fixture
def noted(artifact, made_on, tmp_path):
    """Return a function that runs the stage for one point, and gives the candidates with it."""
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "files.json").write_text(json.dumps({"parameters": 1000}))
    (whole / "model.onnx").write_bytes(b"x" * 4000)
    reference = evaluation(tmp_path / "reference", 90.0)

    def note(name, ap50, parameters, speedup, before=None, float_ms=20.0, target="cpu", gpu=""):
        place = tmp_path / name
        place.mkdir()
        bundle = place / "bundle"
        bundle.mkdir()
        (bundle / "files.json").write_text(json.dumps({"parameters": parameters}))
        (bundle / "model.int8.cpu.onnx").write_bytes(b"c" * parameters)
        (bundle / "model.int8.onnx").write_bytes(b"g" * (parameters + 1))
        (place / "benchmark").mkdir()
        timings = {"float": {"median_ms": float_ms}, "int8": {"median_ms": 1.0}, "ratio": speedup, "runtime": "ort"}
        (place / "benchmark" / "benchmark.json").write_text(json.dumps(timings))
        inputs = {
            "bundle": bundle,
            "evaluation": evaluation(place / "int8", ap50),
            "evaluation_float": evaluation(place / "float", ap50 + 1),
            "evaluation_teacher": reference,
            "teacher_bundle": whole,
            "benchmark": place / "benchmark",
        }
        if gpu:
            made_on(inputs["evaluation_float"], gpu)
        given = {key: artifact(folder.relative_to(tmp_path).as_posix()) for key, folder in inputs.items()}
        for key, folder in inputs.items():
            given[key].path = str(folder)
        out, metrics = artifact(f"candidates-{name}"), artifact(f"metrics-{name}")
        options = {"name": name, "way": name.rpartition("-")[0], "wanted": 100, "budget": 2.0, "target": target}
        earlier = {"before": before} if before else {}
        stages.run(stages.candidate, {**given, **earlier, **options, "candidates": out, "metrics": metrics})
        out.digest = folder_digest(bundle)
        return out

    return note


@pytest.fixture
def compared(artifact, image_set, tmp_path):
    def compare(candidates):
        made = {name: artifact(name) for name in ("results", "report", "chosen", "metrics")}
        sets = {}
        for name, count in (("subset", 4), ("test", 6)):
            sets[name] = artifact(f"set-{name}")
            sets[name].path = str(image_set(tmp_path / f"set-{name}", count))
        stages.run(
            stages.compare,
            {"candidates": candidates, **sets, **made, "run_id": "first", "profile": PROFILE, "started": 0.0},
        )
        return made

    return compare


def content(artifact, name):
    return json.loads((Path(artifact.path) / name).read_text())


def test_points_gather_and_the_best_export_so_far_goes_along(noted):
    first = noted("l2-4", 89.0, 250, 3.0)
    second = noted("l2-10", 88.5, 100, 6.0, before=first)
    third = noted("narrow-10", 85.0, 100, 7.0, before=second)  # faster, and over the budget
    found = content(third, "candidates.json")
    assert [point["name"] for point in found["points"]] == ["l2-4", "l2-10", "narrow-10"]
    assert found["reference"] == {"parameters": 1000, "bytes": 4000, "ap50": 90.0, "ap75": 70.0, "median_ms": 20.0}
    assert found["points"][1]["digest"] == second.digest
    for candidates, parameters in ((first, 250), (second, 100), (third, 100)):
        assert content(candidates, "best/files.json") == {"parameters": parameters}
    made_from = read_provenance(Path(third.path)).inputs
    assert set(made_from) >= {"before", "bundle", "evaluation", "benchmark"}


def test_no_export_goes_along_while_no_point_keeps_the_budget(noted, tmp_path):
    first = noted("l2-10", 80.0, 100, 6.0)
    assert not (tmp_path / "artifacts" / "candidates-l2-10" / "best").exists()
    second = noted("l2-4", 89.0, 250, 3.0, before=first)
    assert content(second, "best/files.json") == {"parameters": 250}


def test_an_export_of_another_point_does_not_go_along(noted, capsys):
    first = noted("l2-4", 89.0, 250, 3.0)
    (Path(first.path) / "best" / "files.json").write_text("{}")
    with pytest.raises(SystemExit) as ended:
        noted("l2-10", 80.0, 100, 6.0, before=first)
    assert ended.value.code == 2
    assert "is not the export of point l2-4; start the search anew" in capsys.readouterr().err


def test_the_file_that_counts_is_the_targets(noted):
    assert content(noted("l2-4", 89.0, 250, 3.0), "candidates.json")["points"][0]["bytes"] == 250
    assert content(noted("l2-5", 89.0, 250, 3.0, target="sm_80"), "candidates.json")["points"][0]["bytes"] == 251


def test_the_comparison_puts_the_chosen_export_aside_and_says_what_pruning_was_worth(noted, compared):
    points = noted("l2-10", 88.5, 100, 4.0, float_ms=30.0)
    points = noted("narrow-10", 88.0, 110, 5.0, before=points, float_ms=20.0, gpu="NVIDIA H100")
    points = noted("taylor-10", 70.0, 90, 8.0, before=points, float_ms=26.0)
    made = compared(points)
    found = content(made["results"], "results.json")
    assert found["chosen"]["name"] == "narrow-10"
    assert found["verdicts"] == [{"wanted": 100, "pruned": "l2-10", "narrow": "narrow-10", "outcome": "level"}]
    assert "level at about 100 parameters" in found["sentence"]
    assert [point["within_budget"] for point in found["points"]] == [True, True, False]
    # Latencies are put on the median of the reference's three timings.
    assert found["teacher"]["median_ms"] == 26.0
    assert [point["median_ms"] for point in found["points"]] == [6.5, 5.2, 3.25]
    assert content(made["chosen"], "files.json") == {"parameters": 110}
    assert content(made["chosen"], "chosen.json")["chosen"]["name"] == "narrow-10"
    assert made["chosen"].metadata["point"] == "narrow-10"
    assert made["metrics"].metadata["chosen_ap50"] == 88.0
    page = Path(made["report"].path).read_text()
    assert "110 parameters, 9.1 times fewer" in page
    assert "NVIDIA H100, " in page


def test_a_comparison_without_a_point_within_the_budget_succeeds_and_chooses_nothing(noted, compared, tmp_path):
    made = compared(noted("l2-10", 70.0, 100, 4.0))
    assert content(made["results"], "results.json")["chosen"] is None
    assert content(made["chosen"], "chosen.json")["chosen"] is None
    assert content(made["chosen"], "chosen.json")["least_ap50"] == 88.0
    names = {path.name for path in (tmp_path / "artifacts" / "chosen").iterdir()}
    assert names == {"chosen.json", "provenance.json"}


def test_what_are_no_candidates_is_refused(image_set, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "candidates.json").write_text(json.dumps({"points": [{"name": "l2-4"}], "references": [1.0]}))
    images = image_set(tmp_path / "images")
    assert len(ImageSet(images)) == 8
    places = {name: tmp_path / name for name in ("results", "report", "chosen")}
    with pytest.raises(DataError, match="holds no candidates of a compression search"):
        stages.compare(
            candidates=folder, subset=images, test=images, **places, run_id="x", profile=PROFILE, started=0.0
        )
    assert not any(place.exists() for place in places.values())
