"""``aerodet detect`` on small scenes, with a network that has seen nothing."""

import json

import numpy as np
import pytest
import rasterio
import torch
import yaml
from rasterio.transform import from_origin

from aerodet.data import encode_image
from aerodet.deploy import write_bundle
from aerodet.detectnet.model import DetectNet
from aerodet.pipelines._specs import arm_spec
from aerodet.pipelines.profiles import load_profile


@pytest.fixture
def bundle(tmp_path):
    profile = load_profile("minimal")
    torch.manual_seed(0)
    network = DetectNet(layers=10, num_classes=1, width=0.25).eval()
    torch.nn.init.constant_(network.output_cov.bias, 30.0)  # sure everywhere,
    torch.nn.init.constant_(network.output_bbox.bias, 0.3)  # of objects of about 20 px
    spec = arm_spec(profile, profile.real, load_graph=False, qat=False)
    write_bundle(network, tmp_path / "bundle", spec=spec, classes=("aircraft",), size=(128, 128), engines=())
    return tmp_path / "bundle"


@pytest.fixture
def scenes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (150, 200, 3), np.uint8)
    (tmp_path / "plain.png").write_bytes(encode_image(pixels))
    options = {"driver": "GTiff", "count": 3, "height": 150, "width": 200, "dtype": "uint8", "crs": "EPSG:32611"}
    with rasterio.open(tmp_path / "strip.tif", "w", transform=from_origin(5e5, 3.7e6, 1, 1), **options) as file:
        file.write(np.moveaxis(pixels, -1, 0))
    return tmp_path / "plain.png", tmp_path / "strip.tif"


def test_scenes_get_coco_geojson_and_pictures(aerodet, bundle, scenes, tmp_path):
    status, output, shown = aerodet("detect", *scenes, "--model", bundle, "--out", "found", "--threshold", 0, "--draw")
    assert status == 0, shown
    content = json.loads((tmp_path / "found/detections.json").read_text())
    assert [entry["file_name"] for entry in content["images"]] == ["plain.png", "strip.tif"]
    assert content["annotations"]
    per_image = [sum(a["image_id"] == n for a in content["annotations"]) for n in (1, 2)]
    assert per_image[0] == per_image[1]  # the same pixels
    assert output.splitlines()[-1] == f"found: {sum(per_image)} detections on 2 images"
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        assert 0 <= x <= x + w <= 200.01
        assert 0 <= y <= y + h <= 150.01
        assert 0 <= annotation["score"] <= 1
    features = json.loads((tmp_path / "found/strip.geojson").read_text())["features"]
    assert len(features) == per_image[1]
    assert sorted(p.name for p in (tmp_path / "found").iterdir()) == [
        "detections.json",
        "plain.jpg",
        "strip.geojson",
        "strip.jpg",
    ]


def test_a_model_in_a_run_gets_pictures_resized_as_the_run_resized_its_own(aerodet, bundle, scenes, tmp_path):
    def detections(out, *options):
        status, output, shown = aerodet(
            "detect", scenes[0], "--model", bundle, "--out", out, "--threshold", 0, *options
        )
        assert status == 0, shown
        return "resized by 1.5" in output, json.loads((tmp_path / out / "detections.json").read_text())["annotations"]

    plain, larger = (detections(f"at-{scale}", "--scale", scale)[1] for scale in (1, 1.5))
    assert plain != larger
    (tmp_path / "run.json").write_text("{}")
    profile = tmp_path / "profile.yaml"
    profile.write_text("data: {real: photos, scale: 1.5}\nnot-in-this-version: 1\n")
    assert detections("as-the-run") == (True, larger)
    assert detections("as-asked", "--scale", 1) == (False, plain)
    for number, content in enumerate(("data: {real: '', scale: 1.5}", "", "data:")):  # rendered; cut short
        profile.write_text(content)
        assert detections(f"other-{number}") == (False, plain)
    profile.write_text("data: [")
    status, _, shown = aerodet("detect", scenes[0], "--model", bundle, "--out", "broken")
    assert (status, "profile.yaml is not YAML" in shown) == (2, True)


def test_an_audit_shows_a_models_run_pictures_of_the_size_that_it_was_trained_on(aerodet, bundle, scenes, tmp_path):
    entry = {"id": 1, "file_name": "plain.png", "width": 200, "height": 150}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 40, 40], "area": 1600, "iscrowd": 0}
    coco = {"images": [entry], "annotations": [box], "categories": [{"id": 1, "name": "aircraft"}]}
    (tmp_path / "photos/images").mkdir(parents=True)
    (tmp_path / "photos/images/plain.png").write_bytes(scenes[0].read_bytes())
    (tmp_path / "photos/instances.json").write_text(json.dumps(coco))

    def page(name, *options):
        status, _, shown = aerodet("data", "audit", "photos", "--html", name, "--model", bundle, *options)
        assert status == 0, shown
        return (tmp_path / name).read_text()

    plain, larger = (page(f"{scale}.html", "--scale", scale) for scale in (1, 1.5))
    assert plain != larger
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "profile.yaml").write_text("data: {real: photos, scale: 1.5}")
    assert page("as-the-run.html") == larger


def test_a_picture_that_cannot_be_read_does_not_cost_the_others(aerodet, bundle, scenes, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    status, output, shown = aerodet("detect", broken, scenes[0], "--model", bundle, "--out", "found")
    assert status == 2
    assert "left out: image" in shown
    assert "1 of 2 pictures could not be read, see above; found has the others" in " ".join(shown.split())
    assert "on 1 images" in output
    written = json.loads((tmp_path / "found" / "detections.json").read_text())
    assert [entry["file_name"] for entry in written["images"]] == ["plain.png"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["embedded.gsd=0.8"], ", which learned at 0.8 m/px"),
        (["data.real=photos", "gap.real_gsd=0.4"], ", which learned at 0.4 m/px"),
        (["data.real=photos", "embedded.gsd=0.8"], ""),
        (
            ["data.real=photos", "gap.real_gsd=0.4", "data.scale=2"],
            ", which learned at 0.4 m/px; pictures are resized by 2",
        ),
    ],
)
def test_the_size_of_a_pixel_is_told_where_it_is_known(aerodet, bundle, scenes, tmp_path, settings, told):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(load_profile("minimal", settings).model_dump(mode="json")))
    first = aerodet("detect", scenes[0], "--model", bundle, "--out", "found")[1].splitlines()[0]
    assert first == f"detecting with {bundle / 'model.onnx'}{told}"


@pytest.mark.parametrize("content", ["data: [", "- one", ""])
def test_a_profile_that_cannot_be_read_costs_no_detection_at_a_given_scale(aerodet, bundle, scenes, tmp_path, content):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "profile.yaml").write_text(content)
    assert aerodet("detect", scenes[0], "--model", bundle, "--out", "found", "--scale", 1)[0] == 0


def test_what_cannot_be_used_is_told_and_nothing_is_left(aerodet, bundle, scenes, tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    for arguments, sentence in (
        (["none.png", "--model", bundle], "none.png is not a file"),
        ([scenes[0], "--model", "nowhere"], "give a run, an export, an ONNX graph or a checkpoint"),
        ([scenes[0], scenes[0], "--model", bundle], "two images are named plain"),
        (["pictures", "--model", bundle], "pictures is a folder; give its pictures, such as pictures/*.jpg"),
        ([scenes[0], "--model", bundle / "labels.txt"], "labels.txt"),
        (["one.jpg", "two.jpg", "--model", bundle], "none of the 2 pictures could be read"),
    ):
        status, _, shown = aerodet("detect", *arguments, "--out", "found")
        assert (status, sentence in shown) == (2, True)
        assert not (tmp_path / "found").exists()
    (bundle / "spec.txt").unlink()
    assert "has no spec.txt beside it" in aerodet("detect", scenes[0], "--model", bundle)[2]
