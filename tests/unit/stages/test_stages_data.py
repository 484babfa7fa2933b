import json

import numpy as np
import pytest

from aerodet import stages
from aerodet.data import ImageSet, encode_image
from aerodet.errors import DataError, SpecError
from aerodet.files import folder_digest

OPTIONS = {
    "classes": ["aircraft"],
    "size": 32,
    "overlap": 0.0,
    "scale": 1.0,
    "min_visible": 0.3,
    "keep_empty": 1.0,
    "tile_format": "png",
    "on_bad_box": "fail",
    "duplicates": "merge",
    "test_fraction": 0.25,
    "seed": 0,
}


@pytest.fixture
def coco(tmp_path):
    """A folder of four 64 px frames at four places, with one box each and one more in the first."""
    folder = tmp_path / "coco"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(1, 5):
        pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        (folder / f"{number}.png").write_bytes(encode_image(pixels))
    document = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 64} for n in range(1, 5)],
        "annotations": [
            {"id": n, "image_id": max(n, 1), "category_id": 1, "bbox": [4 + 2 * n, 4 if n else 20, 12, 10]}
            for n in range(5)
        ],
        "categories": [{"id": 1, "name": "aircraft"}],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_ingest_cuts_frames_into_tiles(coco, tmp_path):
    outcome = stages.ingest(dataset=tmp_path / "out", source=str(coco), part="all", **OPTIONS)
    images = ImageSet(tmp_path / "out")
    assert {(r.width, r.height) for r in images.records} == {(32, 32)}
    assert len(images) == 16
    assert outcome.metrics == {"images": 16, "boxes": 5}
    assert outcome.metadata["dataset"] == {"kind": "coco", "schema": "aerodet/image-set/1", "images": 16, "boxes": 5}
    report = json.loads((tmp_path / "out" / "ingest.json").read_text())
    assert report["part"] == "all"
    assert report["coco"]["images"] == 4


def test_train_and_test_share_no_place_and_make_up_the_whole(coco, tmp_path):
    places = {}
    for part in ("train", "test"):
        stages.ingest(dataset=tmp_path / part, source=str(coco), part=part, **OPTIONS)
        places[part] = {record.group for record in ImageSet(tmp_path / part).records}
    assert not places["train"] & places["test"]
    assert (len(places["train"]), len(places["test"])) == (3, 1)


def test_an_image_set_is_taken_as_it_is(coco, tmp_path):
    stages.ingest(dataset=tmp_path / "tiles", source=str(coco), part="all", **OPTIONS)
    for part in ("all", "train", "test"):
        stages.ingest(dataset=tmp_path / part, source=str(tmp_path / "tiles"), part=part, **OPTIONS | {"scale": 2.0})
    whole, train, test = (ImageSet(tmp_path / part) for part in ("all", "train", "test"))
    assert [r.file_name for r in whole.records] == [r.file_name for r in ImageSet(tmp_path / "tiles").records]
    assert len(train) + len(test) == len(whole)
    assert not {r.group for r in train.records} & {r.group for r in test.records}
    with pytest.raises(DataError, match="has 32x32 px, and the network takes 64x64; cut it with"):
        stages.ingest(dataset=tmp_path / "no", source=str(tmp_path / "tiles"), part="all", **OPTIONS | {"size": 64})
    with pytest.raises(DataError, match="is labelled aircraft, and the classes are ship; set classes"):
        stages.ingest(
            dataset=tmp_path / "no", source=str(tmp_path / "tiles"), part="all", **OPTIONS | {"classes": ["ship"]}
        )


def test_ingest_gives_the_same_bytes_for_the_same_seed(coco, tmp_path):
    options = OPTIONS | {"keep_empty": 0.5}
    for name in ("a", "b"):
        stages.ingest(dataset=tmp_path / name, source=str(coco), part="all", **options)
    assert folder_digest(tmp_path / "a") == folder_digest(tmp_path / "b")


def test_tiles_can_be_jpeg(coco, tmp_path):
    stages.ingest(dataset=tmp_path / "out", source=str(coco), part="all", **OPTIONS | {"tile_format": "jpg"})
    assert {record.file_name[-4:] for record in ImageSet(tmp_path / "out").records} == {".jpg"}


@pytest.mark.parametrize(
    ("part", "changed", "error", "sentence"),
    [
        ("half", {}, SpecError, "part is one of all, train, test, not 'half'"),
        ("all", {"on_bad_box": "mend"}, SpecError, "on_bad_box is one of fail, fix, drop, not 'mend'"),
        ("all", {"classes": ["plane"]}, DataError, "has no category 'plane', only 'aircraft'"),
        ("all", {"classes": ["Aircraft"]}, DataError, "spells category 'Aircraft' as 'aircraft'"),
        ("test", {"test_fraction": 2.0}, DataError, "fraction 2.0 must be over 0 and at most 1"),
    ],
)
def test_ingest_refuses_what_it_cannot_use(coco, tmp_path, part, changed, error, sentence):
    with pytest.raises(error) as caught:
        stages.ingest(dataset=tmp_path / "out", source=str(coco), part=part, **OPTIONS | changed)
    assert sentence in str(caught.value)


def test_a_truncated_image_is_found_and_leaves_nothing(coco, artifact, capsys):
    path = coco / "3.png"
    path.write_bytes(path.read_bytes()[:-100])
    dataset = artifact("dataset")
    with pytest.raises(SystemExit) as caught:
        stages.run(stages.ingest, {"dataset": dataset, "source": str(coco), "part": "all", **OPTIONS})
    assert caught.value.code == 2
    assert f"image {path} is truncated or not an image" in capsys.readouterr().err
    assert dataset.metadata == {}


def test_sample_takes_a_fraction_of_every_place(image_set, tmp_path):
    source = image_set(tmp_path / "source", 20)
    outcome = stages.sample(dataset=source, subset=tmp_path / "subset", fraction=0.5, seed=3)
    everything, taken = ImageSet(source), ImageSet(tmp_path / "subset")
    assert len(taken) == 10
    assert outcome.metrics == {"images": 10, "boxes": 10}
    by_name = {record.file_name: index for index, record in enumerate(everything.records)}
    for index, record in enumerate(taken.records):
        assert taken.encoded(index) == everything.encoded(by_name[record.file_name])
    facts = json.loads((tmp_path / "subset" / "sample.json").read_text())
    assert (facts["asked"], facts["images_taken"], facts["images"]) == (0.5, 10, 20)


def test_sample_depends_on_the_seed_alone(image_set, tmp_path):
    source = image_set(tmp_path / "source", 20)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        stages.sample(dataset=source, subset=tmp_path / name, fraction=0.3, seed=seed)
    digests = [folder_digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("fraction", [0.0, 2.0, -1.0])
def test_sample_refuses_a_fraction_out_of_range(image_set, tmp_path, fraction):
    source = image_set(tmp_path / "source", 4)
    with pytest.raises(DataError, match="must be over 0 and at most 1"):
        stages.sample(dataset=source, subset=tmp_path / "subset", fraction=fraction, seed=0)
    assert not (tmp_path / "subset").exists()


def test_audit_of_sets_that_share_places_finds_the_leak(image_set, tmp_path):
    sets = {name: image_set(tmp_path / name, 4, seed=seed) for seed, name in enumerate(("real", "synthetic", "test"))}
    outcome = stages.audit(**sets, audit=tmp_path / "audit", page=tmp_path / "page.html")
    result = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert outcome.metrics["errors"] > 0
    assert any(finding["kind"] == "leak" for finding in result["findings"])


def test_audit_of_sound_sets_finds_nothing(image_set, tmp_path):
    names = ("real", "synthetic", "test")
    sets = {name: image_set(tmp_path / name, 4, seed=seed, place=name) for seed, name in enumerate(names)}
    outcome = stages.audit(**sets, audit=tmp_path / "audit", page=tmp_path / "page.html")
    assert outcome.metrics == {"findings": 0.0, "errors": 0.0}
    assert outcome.metadata["audit"] == {"kind": "audit", "schema": "aerodet/audit/1"}
    assert "Nothing was found" in (tmp_path / "page.html").read_text()


def test_synthesize_renders_the_same_scenes_for_the_same_seed(tmp_path):
    for name, world in (("a", 0), ("b", 0), ("c", 1)):
        stages.synthesize(dataset=tmp_path / name, look="sensor", count=2, size=64, gsd=2.0, seed=5, world=world)
    digests = [folder_digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    groups = [{record.group for record in ImageSet(tmp_path / name).records} for name in "ac"]
    assert not groups[0] & groups[1]


def test_synthesize_refuses_no_scenes(tmp_path):
    with pytest.raises(SpecError, match="at least 1 scene"):
        stages.synthesize(dataset=tmp_path / "a", look="sensor", count=0, size=64, gsd=2.0, seed=0)
    assert not (tmp_path / "a").exists()


def test_a_published_split_is_kept(coco, tmp_path):
    document = json.loads((coco / "annotations.json").read_text())
    (coco / "annotations.json").unlink()
    for split, chosen in (("train", (1, 2, 3)), ("test", (4,))):
        images = [entry for entry in document["images"] if entry["id"] in chosen]
        boxes = [entry for entry in document["annotations"] if entry["image_id"] in chosen]
        content = {**document, "images": images, "annotations": boxes}
        (coco / f"instances_{split}_aircraft.json").write_text(json.dumps(content))
    places = {}
    for part in ("all", "train", "test"):
        stages.ingest(dataset=tmp_path / part, source=str(coco), part=part, **OPTIONS)
        places[part] = {record.group for record in ImageSet(tmp_path / part).records}
    assert places == {"all": {"1", "2", "3"}, "train": {"1", "2", "3"}, "test": {"4"}}
