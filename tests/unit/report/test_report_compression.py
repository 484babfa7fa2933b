from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aerodet.report.compression import Point, Reference, Search, choose, front
from aerodet.report.compression_page import Page, _marks, headline, render_compression
from aerodet.report.data import RunInfo

REFERENCE = Reference(parameters=1_000_000, bytes=4_000_000, ap50=90.0, ap75=70.0, median_ms=20.0)


def point(name, ap50, parameters=100_000, speedup=5.0, **options):
    """A point whose way and size are in its name, as ``l2-10``."""
    way, _, factor = name.rpartition("-")
    figures = {
        "wanted": round(1_000_000 / float(factor)),
        "bytes": parameters,
        "ap75": ap50 - 20,
        "float_ap50": ap50 + 0.5,
        "float_ap75": ap50 - 19,
        "median_ms": 20.0 / speedup,
        "runtime": "onnxruntime 1.27",
        "digest": "ab" * 32,
        **options,
    }
    return Point(name=name, way=way, parameters=parameters, ap50=ap50, speedup=speedup, **figures)


def search(*points, budget=2.0):
    return Search(REFERENCE, points, budget, "cpu")


def names(points):
    return [p.name for p in points]


def test_the_front_leaves_out_what_another_point_is_nowhere_worse_than():
    large = point("l2-4", 89.0, 250_000, 3.0)
    small = point("l2-10", 86.0, 100_000, 6.0)
    worse = point("narrow-10", 85.0, 100_000, 5.0)  # as large as l2-10, slower, less accurate
    slow = point("taylor-10", 87.0, 100_000, 4.0)  # slower than l2-10, more accurate
    assert names(front([large, small, worse, slow])) == ["l2-4", "l2-10", "taylor-10"]


def test_equal_points_are_both_on_the_front():
    assert len(front([point("l2-4", 80.0), point("bn-4", 80.0)])) == 2


@pytest.mark.parametrize(
    "better",
    [
        {"parameters": 99_000, "bytes": 100_000},
        {"bytes": 99_000},
        {"speedup": 5.1},
        {"ap50": 80.1, "ap75": 60.0},
        {"ap75": 61.0},
    ],
)
def test_one_goal_alone_keeps_a_point_on_the_front(better):
    rival = point("l2-4", 80.0)
    other = point("bn-4", **{"ap50": 80.0, **better})
    assert names(front([rival, other])) == ["bn-4"]
    worse_elsewhere = point("bn-4", **{"ap50": 80.0, "float_ap50": 1.0, **better, "median_ms": 1.0})
    assert rival not in front([rival, worse_elsewhere])


def test_the_fastest_point_within_the_budget_is_chosen():
    within = [point("l2-4", 89.0, 250_000, 3.0), point("l2-10", 88.0, 100_000, 6.0)]
    over = point("l2-25", 87.9, 40_000, 12.0)
    assert search(*within, over).chosen is within[1]
    assert search(*within, over, budget=2.2).chosen is over
    assert search(*within, over, budget=0.5).chosen is None


@pytest.mark.parametrize(
    ("ap50", "sentence"),
    [
        (0.0, "The network that was compressed finds nothing: train it longer."),
        (
            2.0,
            "with a budget of 2 points one that finds nothing would do: train it longer, or lower the budget.",
        ),
    ],
)
def test_a_budget_that_allows_finding_nothing_chooses_nothing(tmp_path, ap50, sentence):
    nothing = point("l2-4", 0.0, 250_000, 3.0)
    found = Search(Reference(1_000_000, 4_000_000, ap50, 0.0, 12.0), (nothing,), 2.0, "cpu")
    assert found.chosen is None
    assert headline(found).endswith(sentence)
    text = page_of(found, tmp_path)
    assert "AP50 of at least 0.0" in text
    assert 'class="budget"' not in text
    assert "points within the budget" not in text
    assert "over budget</span>" not in text
    assert choose([point("l2-4", 0.5)], 0.5) is not None


def test_of_equally_fast_points_the_most_accurate_is_chosen_then_the_smallest():
    one, smaller = point("l2-10", 89.0, 100_000), point("bn-10", 88.0, 90_000)
    assert choose([one, smaller], 88.0) is one
    tighter = point("taylor-10", 89.0, 110_000, ap75=70.0)
    assert choose([one, tighter], 88.0) is tighter
    least = point("narrow-10", 89.0, 80_000)
    assert choose([one, least], 88.0) is least


def test_speeds_in_the_same_step_are_equal():
    pruned, narrow = point("l2-100", 89.0, speedup=30.13), point("narrow-100", 88.0, speedup=30.52)
    assert choose([pruned, narrow], 87.0) is pruned
    assert choose([pruned, point("narrow-100", 88.0, speedup=33.0)], 87.0).name == "narrow-100"


@given(st.lists(st.tuples(st.floats(80, 90), st.floats(1, 40)), min_size=1, max_size=8))
def test_the_best_of_all_is_the_best_of_those_before_and_the_last(drawn):
    points = [point(f"l2-{n + 2}", ap50, speedup=speedup) for n, (ap50, speedup) in enumerate(drawn)]
    best = None
    for last in points:
        best = choose([p for p in (best, last) if p], 82.0)
    assert best is choose(points, 82.0)


def test_pruning_is_compared_with_narrow_training_at_each_size():
    points = [
        point("l2-4", 89.0), point("taylor-4", 91.0), point("narrow-4", 89.5),
        point("l2-10", 85.0), point("narrow-10", 86.0), point("narrow-distilled-10", 87.5),
        point("l2-25", 80.0),
    ]  # fmt: skip
    found = search(*points).verdicts()
    assert [(v.wanted, v.pruned.name, v.narrow.name, v.outcome) for v in found] == [
        (250_000, "taylor-4", "narrow-4", "ahead"),
        (100_000, "l2-10", "narrow-distilled-10", "behind"),
    ]
    assert search(*points).sentence() == (
        "Pruning against training narrow networks from scratch, AP50 (AP75): ahead at about 250,000 parameters, "
        "91.0 (71.0) against 89.5 (69.5); behind at about 100,000 parameters, 85.0 (65.0) against 87.5 (67.5)."
    )


@pytest.mark.parametrize(
    ("ap50", "ap75", "outcome"),
    [
        (89.0, 50.0, "ahead"),  # a point of AP50 decides, whatever AP75 says
        (87.0, 90.0, "behind"),
        (88.9, 68.0, "level"),
        (87.1, 71.5, "ahead"),  # less is what two trainings of one setting differ by, and AP75 decides
        (88.9, 64.5, "behind"),
        (87.1, 71.4, "level"),
        (88.9, 64.6, "level"),
    ],
)
def test_pruning_is_ahead_or_behind_by_more_than_two_trainings_differ_by(ap50, ap75, outcome):
    found = search(point("l2-4", ap50, ap75=ap75), point("narrow-4", 88.0, ap75=68.0))
    assert found.verdicts()[0].outcome == outcome


def test_the_verdict_is_on_the_figures_that_are_printed():
    found = search(point("l2-4", 97.95), point("narrow-4", 97.04))
    assert "ahead at about 250,000 parameters, 98.0 (78.0) against 97.0 (77.0)" in found.sentence()


def test_a_point_that_is_ahead_of_all_others_decides():
    narrow = [point("narrow-4", 88.9, ap75=68.0), point("narrow-distilled-4", 88.0, ap75=69.0)]
    (found,) = search(point("l2-4", 90.0, ap75=70.0), *narrow).verdicts()
    assert (found.pruned.name, found.outcome) == ("l2-4", "ahead")
    rivals = [point("l2-4", 90.0, ap75=70.0), point("taylor-4", 90.1, ap75=60.0), point("bn-4", 89.1, ap75=90.0)]
    assert search(*rivals, *narrow).verdicts()[0].outcome == "ahead"
    better = point("narrow-distilled-4", 90.0, ap75=72.0)
    (found,) = search(*rivals[:2], narrow[0], better).verdicts()
    assert (found.pruned.name, found.narrow.name, found.outcome) == ("taylor-4", "narrow-distilled-4", "level")


def test_there_is_no_sentence_without_controls():
    assert search(point("l2-4", 88.0)).sentence() == ""


def test_a_search_survives_json():
    whole = search(point("l2-4", 89.0), point("narrow-4", 88.0))
    content = whole.to_dict()
    assert Search.from_dict({**content, "points": [dict(p) for p in content["points"]]}) == whole


def test_the_headline_says_what_to_take_or_that_there_is_nothing():
    taken = search(point("l2-10", 88.5, 100_000, 6.0))
    assert headline(taken) == ("100,000 parameters, 10.0 times fewer, reach AP50 88.5 against 90.0, 6.0 times as fast.")
    assert headline(search(point("l2-10", 70.0))) == (
        "No network keeps AP50 within 2 points of the 90.0 of the one that was compressed."
    )


def page_of(found, tmp_path):
    run = RunInfo("first <b>", datetime(2026, 11, 25, tzinfo=UTC), 75.0, "quickstart", "a CPU", "0.1.0", 0)
    out = tmp_path / "report.html"
    render_compression(Page(run, found, {"compress": {"budget": 2.0}}, 40, 150), out)
    return out.read_text()


def test_the_page_shows_every_point_in_every_chart_and_loads_nothing(tmp_path):
    found = search(point("l2-4", 89.0, 250_000, 3.0), point("l2-10", 88.5, 100_000, 6.0), point("narrow-10", 80.0))
    text = page_of(found, tmp_path)
    assert text.count('<svg viewBox="0 0 460') == 4
    assert text.count("l2-10: 100,000 parameters, AP50 88.5") == 3
    assert text.count('class="ring k-synthetic"') == 3 + 1  # the control, and its float value in the fourth chart
    assert text.count('class="halo"') == 3
    assert "chosen" in text
    assert "over budget" in text
    assert "first &lt;b&gt;" in text
    assert "first <b>" not in text
    assert "src=" not in text
    assert "href=" not in text
    assert found.sentence() in text


def test_a_budget_that_allows_anything_has_no_line_in_the_charts(tmp_path):
    assert page_of(search(point("l2-10", 88.5)), tmp_path).count('class="budget"') == 3
    assert 'class="budget"' not in page_of(search(point("l2-10", 1.0), budget=95.0), tmp_path)


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (100.0, 20_000.0, [100, 1_000, 10_000]),
        (14.6, 27.3, [15, 20, 25]),
        (111_000.0, 485_000.0, [200_000, 300_000, 400_000, 500_000]),
        (550_000.0, 880_000.0, [600_000, 700_000, 800_000, 900_000]),
        (7.2, 8.3, [7, 8]),
        (1.1, 1.35, [1.1, 1.35]),
        (442_549.0, 442_549.0, [442_549]),
    ],
)
def test_a_logarithmic_axis_has_round_marks_or_its_ends(low, high, marks):
    assert _marks(low, high) == pytest.approx(marks)


def test_a_page_without_a_chosen_point_says_so(tmp_path):
    text = page_of(search(point("l2-10", 70.0)), tmp_path)
    assert "No network keeps AP50 within 2 points" in text
    assert 'class="halo"' not in text
    assert "chosen</span>" not in text
