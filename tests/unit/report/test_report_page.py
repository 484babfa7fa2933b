import base64
import dataclasses
import re
from html.parser import HTMLParser

import pytest

from aerodet.report import (
    Evaluation,
    GateRule,
    GateSummary,
    OperatingPoint,
    ReportData,
    SizeSlice,
    TrainingCurve,
    headline,
    render_report,
)
from aerodet.report.gap import Crop, GapData

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Checks that tags close, and keeps them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def render(data, tmp_path):
    render_report(data, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_has_every_section_and_nothing_from_outside(report_data, tmp_path):
    text = render(report_data, tmp_path)
    page = Page(text)
    assert [s["id"] for s in page.named("section")] == [
        "arms", "compression", "gate", "curves", "training", "detections", "data", "gap", "files", "reproduce",
    ]  # fmt: skip
    assert {a["href"][1:] for a in page.named("a")} == {s["id"] for s in page.named("section")}
    assert page.named("script") == page.named("link") == []
    assert not re.search(r"""(src|href)=["'](?!data:|#)|url\(|@import""", text)
    pictures = page.named("img")
    assert len(pictures) == len(report_data.examples) + sum(map(len, report_data.gap.crops.values()))
    assert all(base64.b64decode(p["src"].split(",")[1]).startswith(b"\xff\xd8") for p in pictures)
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_the_page_shows_the_figures(report_data, tmp_path):
    words = " ".join(Page(render(report_data, tmp_path)).words)
    for figure in ("94.2", "71.6", "91.8", "68.9", "11,197,893", "44.8 MB", "3.46 MB", "2.88×", "7 min 11 s", "d" * 64):
        assert figure in words
    assert "tile-0044.png shows the same pixels as tile-0041.png of real, training" in words
    assert "place 1024 (44 boxes): −7.1 points" in words
    assert "Published as version 3, challenger" in words
    assert "model.arch" in words
    assert "[5e-06, 0.0005]" in words


def test_the_pictures_have_a_legend_for_what_they_show(report_data, tmp_path):
    point = OperatingPoint(0.583, 0.9877, 0.9675)
    text = render(dataclasses.replace(report_data, operating_point=point), tmp_path)
    assert "scores from 0.58, the best F1: precision 98.8 %, recall 96.8 %" in text
    assert "to ignore" not in text
    first, *others = report_data.examples
    examples = (dataclasses.replace(first, ignored=2), *others)
    nothing = OperatingPoint(0.0, 0.0, 0.0)
    text = render(dataclasses.replace(report_data, examples=examples, operating_point=nothing), tmp_path)
    assert "to ignore: nothing counts there" in text
    assert "scores from" not in text


def test_the_headline_says_what_the_run_found(report_data):
    assert headline(report_data) == (
        "Synthetic images and 10 % of the real ones reach AP50 91.8, 2.4 points below training on all real images "
        "(94.2); synthetic images alone reach 71.6. The INT8 model has 70 % fewer parameters, is 12.9 times smaller, "
        "runs 2.9 times as fast and reaches AP50 91.5."
    )


def with_arm(data, key, ap50):
    arms = tuple(
        dataclasses.replace(a, evaluation=dataclasses.replace(a.evaluation, ap50=ap50)) if a.key == key else a
        for a in data.arms
    )
    return dataclasses.replace(data, arms=arms)


@pytest.mark.parametrize(("ap50", "says"), [(95.3, "1.1 points above"), (94.21, "level with")])
def test_the_headline_does_not_claim_a_loss_that_is_none(report_data, ap50, says):
    assert says in headline(with_arm(report_data, "finetune", ap50))


def test_the_headline_of_detectors_that_find_nothing_draws_no_comparison(report_data):
    found = headline(with_arm(with_arm(report_data, "finetune", 0.0), "real", 0.0))
    assert found.startswith("Neither the real images nor the synthetic ones have taught the detector anything yet.")


def test_names_with_markup_are_escaped(report_data, tmp_path):
    bad = '<script>alert("x")</script>&<b>'
    data = dataclasses.replace(
        report_data,
        run=dataclasses.replace(report_data.run, run_id=bad, machine=bad, profile=bad, remark=bad),
        arms=tuple(dataclasses.replace(a, label=bad, note=bad) for a in report_data.arms),
        stages=tuple(dataclasses.replace(s, label=bad, key=bad) for s in report_data.stages),
        training=tuple(dataclasses.replace(c, label=bad, key=bad) for c in report_data.training),
        examples=tuple(dataclasses.replace(e, file_name=f'" onerror="{bad}') for e in report_data.examples),
        datasets=tuple(dataclasses.replace(d, name=bad, digest=bad) for d in report_data.datasets),
        files=tuple(dataclasses.replace(f, name=bad, consumer=bad, sha256=bad) for f in report_data.files),
        parameters={bad: {bad: bad}},
        provenance=tuple(dataclasses.replace(p, name=bad, stage=bad) for p in report_data.provenance),
        gate=GateSummary(passed=True, rules=(GateRule(bad, "passed", bad),), outcome=bad),
        gap=GapData(
            {**report_data.gap.gap, "sentence": bad},
            {name: [Crop(f'" onerror="{bad}', b"") for _ in crops] for name, crops in report_data.gap.crops.items()},
        ),
    )
    text = render(data, tmp_path)
    page = Page(text)
    assert "<script" not in text
    assert page.named("b")  # ours
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert bad in "".join(page.words)


def test_sections_without_data_are_left_out(report_data, tmp_path):
    page = Page(render(ReportData(report_data.run, arms=(), stages=()), tmp_path))
    assert page.named("section") == page.named("a") == []
    only = dataclasses.replace(report_data, stages=(), benchmark=None, training=(), examples=(), datasets=(), files=())
    page = Page(render(dataclasses.replace(only, parameters={}, provenance=(), gate=None, gap=None), tmp_path))
    assert [s["id"] for s in page.named("section")] == ["arms", "curves"]


def test_the_worst_of_runs_still_renders(report_data, tmp_path):
    """No detection at all, one epoch, nothing timed."""
    nothing = Evaluation(0.0, None, None, None, None, 1, 1, "torch", slices={"small": SizeSlice(None, 0)})
    data = dataclasses.replace(
        report_data,
        arms=tuple(dataclasses.replace(arm, evaluation=nothing) for arm in report_data.arms),
        stages=(dataclasses.replace(report_data.stages[0], evaluation=nothing, median_ms=None, throughput=None),),
        benchmark=None,
        training=(TrainingCurve("real", "Real", ((1, 0.0),)), TrainingCurve("qat", "QAT", ((3, 2.0),), ((3, 0.0),))),
    )
    text = render(data, tmp_path)
    Page(text)
    assert not any(re.search(r"\b(nan|inf)\b", chart) for chart in re.findall(r"<svg viewBox=.*?</svg>", text))
    assert "Neither the real images nor the synthetic ones have taught the detector anything yet." in text


def test_an_int8_model_that_gained_nothing_is_not_praised(report_data):
    stages = tuple(dataclasses.replace(s, params_total=5, file_bytes=7, throughput=0.8) for s in report_data.stages)
    said = headline(dataclasses.replace(report_data, stages=stages))
    assert said.endswith("The INT8 model runs 0.8 times as fast and reaches AP50 91.5.")


def test_charts_stay_inside_their_frames(report_data, tmp_path):
    text = render(report_data, tmp_path)
    for chart in re.findall(r"<svg viewBox=.*?</svg>", text):
        width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart).groups())
        assert all(-1 <= float(x) <= width for x in re.findall(r' (?:x|cx|x1|x2)="([-\d.]+)"', chart))
        assert all(-1 <= float(y) <= height for y in re.findall(r' (?:y|cy|y1|y2)="([-\d.]+)"', chart))
