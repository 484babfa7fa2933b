import json

import pytest

from aerodet.errors import DataError
from aerodet.report import Benchmark, DatasetSummary, Evaluation, Finding, Measurement, SizeSlice, results_json

ARMS = {"real": Measurement(94.2), "synthetic": Measurement(71.6), "finetune": Measurement(91.80004321)}
STEPS = {
    "pruned": Measurement(68.9, 3_372_973),
    "retrained": Measurement(92.0, 3_372_973),
    "qat": Measurement(91.9, 3_372_973),
    "int8": Measurement(91.55, 3_372_973, 3_461_112, 10.9),
    "float32": Measurement(91.8, 11_197_893, 44_812_003, 31.4),
}


def test_results_have_the_published_form():
    assert results_json(arms=ARMS, **STEPS, wall_seconds=431.04) == {
        "arms": {"real": {"ap50": 94.2}, "synthetic": {"ap50": 71.6}, "finetune": {"ap50": 91.8}},
        "pruned": {"ap50": 68.9, "params_total": 3_372_973},
        "retrained": {"ap50": 92.0, "params_total": 3_372_973},
        "qat": {"ap50": 91.9, "params_total": 3_372_973},
        "int8": {"ap50": 91.55, "file_bytes": 3_461_112, "median_ms": 10.9},
        "float": {"params_total": 11_197_893, "file_bytes": 44_812_003, "median_ms": 31.4},
        "wall_seconds": 431.0,
    }


def test_a_missing_figure_or_arm_is_named():
    with pytest.raises(ValueError, match="file_bytes, median_ms"):
        results_json(arms=ARMS, **(STEPS | {"int8": Measurement(91.5)}), wall_seconds=1)
    with pytest.raises(ValueError, match="got real"):
        results_json(arms={"real": Measurement(1.0)}, **STEPS, wall_seconds=1)


EVALUATION = {
    "ap50": 91.0,
    "ap75": 80.0,
    "ap": -1,
    "tao_sample": None,
    "tao_integrate": 90.0,
    "per_class": {"aircraft": {"ap50": 91.0}},
    "slices": {"small": {"ap50": None, "boxes": 0}, "medium": {"ap50": 92.0, "boxes": 12}},
    "images": 4,
    "boxes": 12,
    "backend": "torch",
    "params_total": 5,
    "params_trainable": 4,
    "curve": {"recall": [0, 1], "precision": [1, 0.5]},
}


def test_an_evaluation_is_read_from_its_folder(tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps(EVALUATION))
    found = Evaluation.read(tmp_path)
    assert (found.ap50, found.ap, found.tao_sample) == (91.0, None, None)
    assert found.slices == {"small": SizeSlice(None, 0), "medium": SizeSlice(92.0, 12)}
    assert (found.recall, found.precision) == ((0, 1), (1, 0.5))


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", json.dumps(EVALUATION | {"slices": 3})])
def test_a_broken_evaluation_is_named(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(DataError, match="is not an evaluation"):
        Evaluation.read(tmp_path)


def test_a_missing_evaluation_is_named(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Evaluation.read(tmp_path)


def test_a_benchmark_is_read_from_its_dictionary():
    timing = {"median_ms": 2, "p10": 1, "p90": 3, "images_per_s": 500, "runs": 100}
    found = Benchmark.from_dict({"float": timing, "int8": timing, "ratio": 1, "threads": 2, "batch": 1, "cpu": "x"})
    assert found.int8.median_ms == 2.0
    assert found.ratio == 1.0


def test_findings_of_one_kind_are_put_together():
    def finding(kind, sentence, where="train", severity="warning"):
        return {"set": where, "severity": severity, "kind": kind, "sentence": sentence, "image": ""}

    figures = {"images": 3, "boxes": 7, "groups": {"a": 2, "b": 1}}
    audit = {
        "sets": {"train": figures, "test": figures},
        "findings": [finding("tiny-box", "a"), finding("leak", "b", severity="error"), finding("tiny-box", "c")],
    }
    train, test = DatasetSummary.from_audit(audit, {"test": "f" * 64})
    assert (train.images, train.boxes, train.groups, train.digest) == (3, 7, 2, "")
    assert train.findings == (Finding("warning", "a", 2), Finding("error", "b", 1))
    assert (test.findings, test.digest) == ((), "f" * 64)
