from dataclasses import replace

import numpy as np
import pytest

from aerodet.data import ImageRecord
from aerodet.metrics import Detections
from aerodet.registry._slices import slices_of
from aerodet.registry.gate import Champion, Gate, Limits, Overlap, judge, overlap

LIMITS = Limits(slice_boxes=5, replicates=200)
BENCHMARK = {"ratio": 2.0, "int8": {"median_ms": 4.0}, "cpu": "x", "threads": 2, "batch": 4, "size": [64, 64]}
BENCHMARK["runtime"] = "onnxruntime 1"
CLEAN = {"findings": [], "severities": {"error": 0, "warning": 2, "note": 1}}
APART = Overlap([], [], 40, 100)
BOX = np.array([[8, 8, 24, 24]], np.float32)


def record(index, **attributes):
    return ImageRecord(index, f"{index}.png", 64, 64, f"place{index % 2}", BOX, np.zeros(1, np.int64), attributes)


RECORDS = [record(i, role=["military" if i % 4 == 0 else "civil"]) for i in range(40)]
TRUTH = [(r.boxes, r.labels) for r in RECORDS]


def finds(wanted):
    """Return detections that are right in the images for which ``wanted`` holds and silent in the others."""
    return [
        Detections(BOX, np.array([0.9]), np.zeros(1)) if wanted(i) else Detections.empty() for i in range(len(RECORDS))
    ]


EVERYTHING = finds(lambda i: True)


def gate(challenger=EVERYTHING, parent=EVERYTHING, **changed):
    arguments = {
        "champion": None,
        "benchmark": BENCHMARK,
        "audit": CLEAN,
        "shared": APART,
        "slices": slices_of(RECORDS, ["size", "place", "role"]),
        "limits": LIMITS,
        "seed": 0,
    }
    return judge(TRUTH, 1, challenger, parent, **(arguments | changed))


def rule(found: Gate, name):
    return next(rule for rule in found.rules if rule.name == name)


def verdicts(found):
    return {rule.name: rule.verdict for rule in found.rules}


def test_the_first_model_has_no_champion_to_beat_and_passes():
    found = gate()
    assert found.passed
    assert found.champion == 0
    assert verdicts(found) == {
        "accuracy": "passed",
        "quantisation": "passed",
        "champion": "skipped",
        "speed": "passed",
        "slices": "passed",
        "audit": "passed",
        "disjoint": "passed",
    }
    assert "no champion yet" in rule(found, "champion").sentence
    assert found.to_dict()["rules"][1]["figures"] == {
        "ap50": 100.0,
        "reference": 100.0,
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "allowed": 1.0,
    }


def test_a_model_that_finds_nothing_is_no_champion_although_there_is_none_to_beat():
    nothing = finds(lambda i: False)
    found = gate(nothing, nothing)
    assert not found.passed
    assert rule(found, "accuracy").sentence == "AP50 0.0 on 40 test images, at least 1 is wanted"
    assert rule(gate(limits=replace(LIMITS, least_ap50=100)), "accuracy").verdict == "passed"


def test_int8_may_lose_as_much_as_is_allowed_and_no_more():
    weaker = finds(lambda i: i != 3)  # finds 39 of 40: 98 of 101 recall points, 97.03
    found = rule(gate(weaker), "quantisation")
    assert found.verdict == "failed"
    assert found.figures["difference"] == pytest.approx(100 * 98 / 101 - 100, abs=1e-4)
    assert "INT8 reaches AP50 97.0, the float model it was made from 100.0: −3.0 points" in found.sentence
    assert rule(gate(weaker, limits=replace(LIMITS, int8_drop=3.0)), "quantisation").verdict == "passed"


def test_a_model_that_is_surely_worse_than_the_champion_fails():
    weaker = finds(lambda i: i % 3)
    found = gate(weaker, weaker, champion=Champion(4, EVERYTHING))
    compared = rule(found, "champion")
    assert not found.passed
    assert found.champion == 4
    assert compared.verdict == "failed"
    assert compared.figures["low"] < compared.figures["difference"] < compared.figures["high"] < 0
    assert "of the champion, version 4, on the same 40 images" in compared.sentence
    assert "95 % interval −" in compared.sentence


def test_a_loss_within_the_allowance_passes_if_the_draws_do_not_confirm_it():
    different = finds(lambda i: i != 5)
    champion = Champion(1, finds(lambda i: i != 7))
    found = rule(gate(different, different, champion=champion), "champion")
    assert found.verdict == "passed"
    assert found.figures["low"] < 0 < found.figures["high"]


def test_a_champion_that_cannot_be_tested_is_not_beaten():
    found = gate(champion=Champion(2, None, "it takes images of 512 px"))
    assert rule(found, "champion").verdict == "failed"
    assert "it takes images of 512 px" in rule(found, "champion").sentence
    assert rule(found, "slices").sentence.startswith("5 slices compared with the float model")


@pytest.mark.parametrize(
    ("ratio", "champion_ms", "same_machine", "verdict"),
    [
        (2.0, None, True, "passed"),
        (1.0, None, True, "failed"),
        (0.9, 5.0, True, "passed"),
        (0.9, 3.0, True, "failed"),
        (0.9, 5.0, False, "failed"),
    ],
)
def test_faster_than_the_float_model_or_than_the_champion_on_the_same_machine(
    ratio, champion_ms, same_machine, verdict
):
    timed = None if champion_ms is None else {**BENCHMARK, "int8": {"median_ms": champion_ms}}
    if timed and not same_machine:
        timed["cpu"] = "another"
    champion = None if champion_ms is None else Champion(1, EVERYTHING, benchmark=timed)
    found = rule(gate(champion=champion, benchmark={**BENCHMARK, "ratio": ratio}), "speed")
    assert found.verdict == verdict
    assert ("champion_ms" in found.figures) == (champion_ms is not None and same_machine)


def test_a_slice_that_got_worse_is_named_although_the_whole_is_as_good():
    challenger = finds(lambda i: i % 4 != 0)  # no military aircraft
    champion = finds(lambda i: i % 4 != 1)  # as many others missed
    found = rule(gate(challenger, challenger, champion=Champion(1, champion)), "slices")
    assert found.verdict == "failed"
    assert "role military (10 boxes): −100.0 points" in found.sentence
    by_name = {part["slice"]: part for part in found.figures["slices"]}
    assert by_name["role military"]["verdict"] == "failed"
    assert by_name["role civil"]["verdict"] == "passed"
    assert by_name["size small"]["boxes"] == 40


def test_of_many_slices_none_fails_by_chance():
    """Two models that miss as much, each elsewhere: at 95 % some of 80 places look surely worse."""
    random = np.random.default_rng(5)
    records = [replace(record(i), group=f"place{i % 80}") for i in range(800)]
    truth = [(r.boxes, r.labels) for r in records]
    models = []
    for _ in range(2):
        hit = random.random(800) < 0.8
        models.append([Detections(BOX, np.array([0.9]), np.zeros(1)) if h else Detections.empty() for h in hit])
    arguments = {"benchmark": BENCHMARK, "audit": CLEAN, "shared": APART, "limits": LIMITS, "seed": 0}
    slices = slices_of(records, ["place"])
    found = rule(
        judge(truth, 1, models[0], models[1], champion=Champion(1, models[1]), slices=slices, **arguments), "slices"
    )
    parts = found.figures["slices"]
    assert any(part["high"] < 0 and part["difference"] < -LIMITS.slice_drop for part in parts)
    assert all(part["high"] < part["at_most"] for part in parts if part["low"] < part["high"])
    assert found.verdict == "passed"


def test_slices_with_few_boxes_say_nothing():
    found = rule(gate(limits=replace(LIMITS, slice_boxes=21)), "slices")
    assert [part["slice"] for part in found.figures["slices"]] == ["size small", "role civil"]
    assert found.figures["left_out"] == 3
    assert rule(gate(limits=replace(LIMITS, slice_boxes=99)), "slices").verdict == "skipped"


def test_an_error_in_the_data_fails():
    finding = {"severity": "error", "sentence": "group x is in test (3 images) and in real (4)"}
    found = rule(gate(audit={"findings": [finding], "severities": {"error": 1, "warning": 0, "note": 0}}), "audit")
    assert found.verdict == "failed"
    assert finding["sentence"] in found.sentence


class Pictures:
    """Images whose bytes are their names."""

    classes = ("aircraft",)

    def __init__(self, *records):
        self.records = records

    def encoded(self, index):
        return self.records[index].file_name.encode()


def test_images_and_places_in_test_and_training_are_found():
    test = Pictures(record(0), record(1))
    twin = replace(record(5), file_name="1.png")
    apart = overlap(test, {"real": Pictures(replace(record(2), group="elsewhere"))})
    assert (apart.images, apart.groups) == ([], [])
    shared = overlap(test, {"real": Pictures(replace(record(7), group="elsewhere"), twin), "synthetic": Pictures()})
    assert shared == Overlap([("1.png", "1.png in real")], [("place1", "real")], 2, 2)
    found = rule(gate(shared=shared), "disjoint")
    assert found.verdict == "failed"
    assert "share 1 images (1.png is 1.png in real) and 1 places (place1 with real)" in found.sentence


def test_slices_are_cut_by_size_place_and_attribute():
    mixed = [record(0, role=["a"], look="sensor"), record(1, role=["b", "c"], look="sensor"), record(2)]
    found = {part.name: part for part in slices_of(mixed, ["size", "place", "role", "look", "nothing", "size"])}
    assert list(found) == ["size small", "place place0", "place place1", "role a", "look sensor"]
    assert list(found["place place0"].images) == [0, 2]
    assert found["look sensor"].count == 2
    assert [chosen.tolist() for chosen in found["role a"].boxes] == [[True], [False], [False]]


def test_the_verdict_is_the_same_every_time():
    weaker = finds(lambda i: i % 3)
    assert gate(weaker).to_dict() == gate(weaker).to_dict()
