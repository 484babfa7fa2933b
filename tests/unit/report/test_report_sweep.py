import dataclasses
import json
import re

import pytest
from test_report_page import Page

from aerodet.report.gap import Crop, GapData
from aerodet.report.gap_page import render_gap
from aerodet.report.sweep import SetSize, Sweep, SweepPoint, same_images, sweep_results
from aerodet.report.sweep_page import SweepData, render_sweep, sweep_findings


def point(percent, images, with_, without, frames=0):
    def figures(ap50):
        return None if ap50 is None else {"ap50": ap50, "ap75": 0.8 * ap50, "ap": 0.6 * ap50}

    return SweepPoint(percent, frames, SetSize(images, images, 4 * images, 2), figures(with_), figures(without))


POINTS = (
    point(0, 0, 71.6, None),
    point(0, 1, 89.2, 73.9, frames=1),
    point(10, 40, 95.4, 92.6),
    point(100, 400, 98.4, 97.3),
)


def sweep_of(*points):
    return Sweep(points, SetSize(400, 400, 1600, 13), SetSize(760, 760, 9000, 50), SetSize(150, 150, 600, 3))


@pytest.fixture
def page_of(report_data, gap_data, tmp_path):
    def render(sweep, **changes):
        data = SweepData(report_data.run, sweep, gap_data, {"seed": 7, "sweep": {"fractions": [0, 10, 100]}})
        render_sweep(dataclasses.replace(data, **changes), tmp_path / "report.html")
        assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return render


def test_both_fractions_of_a_point_by_hand():
    sweep = sweep_of(*POINTS)
    tenth = sweep.at(10)
    assert sweep.of_real(tenth) == 0.1
    assert sweep.of_mix(tenth) == 0.05  # 40 of 40 + 760
    assert (sweep.of_real(POINTS[0]), sweep.of_mix(POINTS[0])) == (0, 0)


def test_a_point_survives_its_file():
    for original in POINTS:
        assert SweepPoint.from_dict(json.loads(json.dumps(original.to_dict()))) == original


def test_results_have_the_arms_of_the_main_flow():
    found = sweep_results(sweep_of(*POINTS), {"boxes": 0.123456}, finetune_percent=10, wall_seconds=12.34)
    assert found["arms"] == {"real": {"ap50": 97.3}, "synthetic": {"ap50": 71.6}, "finetune": {"ap50": 95.4}}
    assert (found["gap"], found["wall_seconds"]) == ({"boxes": 0.1235}, 12.3)
    points = found["sweep"]["points"]
    assert [p["name"] for p in points] == ["0 %", "1 frame", "10 %", "100 %"]
    assert [(p["percent"], p["frames"]) for p in points] == [(0, None), (None, 1), (10, None), (100, None)]
    assert [(p["of_real"], p["of_mix"]) for p in points] == [(0, 0), (0.0025, 0.0013), (0.1, 0.05), (1, 0.3448)]
    assert points[0]["scratch"] is None
    assert points[1]["scratch"]["ap50"] == 73.9
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_arms_that_are_no_points_are_left_out():
    found = sweep_results(sweep_of(POINTS[2]), {}, finetune_percent=25, wall_seconds=0)
    assert found["arms"] == {}


def test_fractions_that_come_to_the_same_images_are_told():
    points = (point(1, 1, 1, 1), point(2, 1, 1, 1), point(5, 2, 1, 1), point(0, 1, 1, 1, frames=1))
    assert same_images(points) == [["1 %", "2 %"]]


TENTH = "With synthetic pretraining, 10 % of the real images reach AP50 95.4"


def test_the_findings_say_what_was_measured():
    assert sweep_findings(sweep_of(*POINTS)) == [
        f"{TENTH}, 98.0 % of what all of them reach without it (97.3).",
        "Without pretraining the same images reach 92.6.",
        "Synthetic images alone reach AP50 71.6, 73.6 % of the real arm.",
        "One real frame reaches 89.2 with pretraining and 73.9 without.",
    ]
    assert sweep_findings(sweep_of(POINTS[0])) == ["Synthetic images alone reach AP50 71.6."]


def test_the_page_has_curve_table_and_gap_and_nothing_from_outside(page_of, gap_data):
    text = page_of(sweep_of(*POINTS))
    page = Page(text)
    assert [s["id"] for s in page.named("section")] == ["curve", "gap", "reproduce"]
    assert {a["href"][1:] for a in page.named("a")} == {"curve", "gap", "reproduce"}
    assert page.named("script") == page.named("link") == []
    assert not re.search(r"""(src|href)=["'](?!data:|#)|url\(|@import""", text)
    assert len(page.named("img")) == sum(map(len, gap_data.crops.values()))
    words = [" ".join(word.split()) for word in page.words]
    for figure in ("97.3", "89.2", "73.9", "+15.3", "34.5 %", "10 %", "5 %", "98.0 %", "1,600", "sweep.fractions"):
        assert figure in words, figure
    assert "Brightness" in words


@pytest.mark.parametrize(
    "points",
    [
        POINTS,
        POINTS[:1],
        POINTS[2:3],
        POINTS[3:],
        (point(0, 0, 0.0, None), point(1, 4, 0.0, 0.0), point(100, 400, 0.0, 0.0)),
        (point(50, 200, 60.0, 61.0), point(0, 3, 100.0, 0.0, frames=3), point(100, 400, 100.0, 100.0)),
    ],
    ids=["all", "nothing", "one", "real", "zeros", "crossing"],
)
def test_curves_stay_inside_their_frames(page_of, points):
    text = page_of(sweep_of(*points))
    Page(text)
    charts = re.findall(r"<svg viewBox=.*?</svg>", text)
    assert len(charts) > 5
    for chart in charts:
        assert not re.search(r"\b(nan|inf)\b", chart)
        width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart).groups())
        assert all(-1 <= float(x) <= width for x in re.findall(r' (?:x|cx|x1|x2)="([-\d.]+)"', chart))
        assert all(-1 <= float(y) <= height for y in re.findall(r' (?:y|cy|y1|y2)="([-\d.]+)"', chart))


def test_a_gap_has_a_page_of_its_own(gap_data, tmp_path):
    render_gap(gap_data, tmp_path / "gap.html")
    page = Page((tmp_path / "gap.html").read_text(encoding="utf-8"))
    assert gap_data.gap["sentence"] in page.words
    assert "not told" in page.words  # the real images say nothing of their metres
    assert len(page.named("svg")) == 1 + len(gap_data.gap["statistics"])


def test_names_with_markup_are_escaped(page_of, gap_data):
    bad = '<script>alert("x")</script>'
    crops = {name: [Crop(f'" onerror="{bad}', b"")] for name in gap_data.crops}
    text = page_of(sweep_of(*POINTS), gap=GapData(gap_data.gap, crops), parameters={bad: bad})
    assert "<script" not in text
    assert not any("onerror" in attributes for _, attributes in Page(text).tags)
