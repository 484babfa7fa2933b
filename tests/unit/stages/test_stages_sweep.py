import itertools
import json

import numpy as np
import pytest

from aerodet import stages
from aerodet.data import ImageRecord, ImageSet, ImageSetWriter
from aerodet.errors import DataError
from aerodet.files import folder_digest
from aerodet.lineage import read_provenance
from aerodet.pipelines.profiles import load_profile

FIGURES = {"tao_sample": 1.0, "tao_integrate": 1.0, "images": 4, "boxes": 4, "backend": "torch"}


def tiles(folder, frames=4):
    """Write an image set of three tiles a frame; the first frame shows nothing."""
    with ImageSetWriter(folder, ("aircraft",)) as writer:
        for number in range(3 * frames):
            frame, part = divmod(number, 3)
            boxes = np.array([[8, 8, 40, 24]] * (frame > 0), np.float32).reshape(-1, 4)
            origin = {"scene": f"{frame}.jpg", "tile_x": 64 * part, "tile_y": 0, "tile_scale": 1.0}
            record = ImageRecord(
                number + 1,
                f"{frame}_{part}.png",
                64,
                64,
                f"place-{frame}",
                boxes,
                np.zeros(len(boxes), np.int64),
                origin,
            )
            writer.add(record, np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return folder


def evaluation(folder, ap50):
    folder.mkdir()
    content = {**FIGURES, "ap50": ap50, "ap75": ap50 / 2, "ap": -1, "per_class": {}, "slices": {}}
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder


def test_sample_takes_whole_frames(tmp_path):
    source = tiles(tmp_path / "source")
    outcome = stages.sample(dataset=source, subset=tmp_path / "subset", fraction=0.0, seed=1, frames=2)
    taken = ImageSet(tmp_path / "subset").records
    assert outcome.metrics == {"images": 6, "boxes": 6}
    assert len({record.attributes["scene"] for record in taken} - {"0.jpg"}) == 2
    facts = json.loads((tmp_path / "subset" / "sample.json").read_text())
    assert (facts["images_taken"], facts["images"], facts["asked"]) == (6, 12, 0.5)
    with pytest.raises(DataError, match="4 frames cannot be taken: 3 of 4 frames show an object"):
        stages.sample(dataset=source, subset=tmp_path / "more", fraction=0.0, seed=1, frames=4)
    assert not (tmp_path / "more").exists()


def test_a_larger_sample_holds_the_smaller(image_set, tmp_path):
    source, names = image_set(tmp_path / "source", 40), []
    for percent in (5, 10, 25, 50, 90):
        subset = tmp_path / str(percent)
        stages.sample(dataset=source, subset=subset, fraction=percent / 100, seed=4)
        names.append({record.file_name for record in ImageSet(subset).records})
    assert all(smaller < larger for smaller, larger in itertools.pairwise(names))


def test_gap_leaves_figures_pictures_and_a_page(image_set, artifact, tmp_path):
    arguments = {
        "real": artifact("real"),
        "synthetic": artifact("synthetic"),
        "gap": artifact("gap"),
        "page": artifact("page"),
        "metrics": artifact("metrics"),
        "images": 10,
        "seed": 0,
    }
    image_set(tmp_path / "artifacts" / "real", 12)
    image_set(tmp_path / "artifacts" / "synthetic", 6, seed=1)
    stages.run(stages.gap, arguments)
    folder = tmp_path / "artifacts" / "gap"
    found = json.loads((folder / "gap.json").read_text())
    assert found["sets"]["real"] == {"images": 12, "measured": 10, "boxes": 12, "places": 7}
    assert found["sets"]["synthetic"]["measured"] == 6
    assert [len(found["pictures"][name]) for name in ("real", "synthetic")] == [4, 4]
    assert all((folder / p["file"]).read_bytes()[:2] == b"\xff\xd8" for p in found["pictures"]["real"])
    assert read_provenance(folder).annotations["kind"] == "gap"
    assert arguments["metrics"].metadata["aspect"] == 0
    assert (tmp_path / "artifacts" / "page").read_text().startswith("<!doctype html>")


def test_gap_is_the_same_for_the_same_seed(image_set, tmp_path):
    sets = {"real": image_set(tmp_path / "r", 12), "synthetic": image_set(tmp_path / "s", 12, seed=1)}
    for name in ("a", "b"):
        stages.gap(**sets, gap=tmp_path / name, page=tmp_path / f"{name}.html", images=5, seed=3)
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b")


def test_a_sweep_is_reported_from_its_points(image_set, made_on, tmp_path):
    real, synthetic = tiles(tmp_path / "real"), image_set(tmp_path / "synthetic", 8)
    stages.sample(dataset=real, subset=tmp_path / "half", fraction=0.5, seed=0)
    stages.sample(dataset=real, subset=tmp_path / "frame", fraction=0.0, seed=0, frames=1)
    scores = iter(range(10, 90, 10))
    curve = None
    for number, (percent, frames, subset) in enumerate(
        [(0.0, 0, None), (50.0, 0, tmp_path / "half"), (100.0, 0, real), (0.0, 1, tmp_path / "frame")]
    ):
        given = (
            {} if subset is None else {"subset": subset, "scratch": evaluation(tmp_path / f"s{number}", next(scores))}
        )
        place = tmp_path / f"curve{number}"
        outcome = stages.curve(
            curve=place,
            percent=percent,
            frames=frames,
            pretrained=made_on(evaluation(tmp_path / f"p{number}", next(scores)), "NVIDIA H100"),
            previous=curve,
            **given,
        )
        assert outcome.metrics["images"] == {0: 0, 1: 6, 2: 12, 3: 3}[number]
        curve = place
    stages.gap(real=real, synthetic=synthetic, gap=tmp_path / "gap", page=tmp_path / "gap.html", images=4, seed=0)
    outcome = stages.sweep_report(
        results=tmp_path / "results",
        report=tmp_path / "report.html",
        real=real,
        synthetic=synthetic,
        test=real,
        curve=curve,
        gap=tmp_path / "gap",
        run_id="first",
        profile=load_profile("minimal").model_dump_json(),
        started=0.0,
    )
    found = json.loads((tmp_path / "results" / "results.json").read_text())
    points = {p["name"]: p for p in found["sweep"]["points"]}
    assert list(points) == ["0 %", "1 frame", "50 %", "100 %"]
    assert points["50 %"]["pretrained"] == {"ap50": 30, "ap75": 15}  # AP that COCO could not measure is left out
    assert points["50 %"]["real"] == {"images": 6, "frames": 4, "boxes": points["50 %"]["real"]["boxes"], "places": 4}
    assert points["1 frame"]["real"] == {"images": 3, "frames": 1, "boxes": 3, "places": 1}
    assert (points["1 frame"]["of_real"], points["1 frame"]["of_mix"]) == (0.25, round(3 / 11, 4))
    assert found["arms"] == {"real": {"ap50": 40}, "synthetic": {"ap50": 10}, "finetune": {"ap50": 30}}
    assert outcome.metrics["scratch_1_frame"] == 60
    page = (tmp_path / "report.html").read_text()
    assert "first" in page
    assert "NVIDIA H100, " in page
