import configparser
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerodet.deploy import OnnxDetector, write_bundle
from aerodet.deploy.decoder import Decoder
from aerodet.deploy.serving import decoder_parameters, deepstream_config, triton_config
from aerodet.detectnet.dataset import fit_image
from aerodet.detectnet.postprocess import cluster
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import format_spec, parse_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec


def settings_for(**options):
    return settings_of(build_spec(SpecOptions(image_width=96, image_height=64, **options)))


@st.composite
def outputs(draw):
    seed, classes = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 2))
    rng = np.random.default_rng(seed)
    cov = rng.random((2, classes, 4, 6), np.float32) ** draw(st.integers(1, 4))
    return cov, rng.uniform(-0.2, 1.5, (2, 4 * classes, 4, 6)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(outputs(), st.sampled_from(["dbscan", "nms"]), st.floats(0.05, 0.9), st.floats(0.0, 0.6), st.integers(0, 20))
def test_the_decoder_finds_what_the_library_finds(maps, algorithm, eps, threshold, height) -> None:
    cov, bbox = maps
    classes = tuple("ab"[: cov.shape[1]])
    own = settings_for(
        classes=classes,
        clustering=algorithm,
        dbscan_eps=eps,
        nms_iou=eps,
        coverage_threshold=threshold,
        minimum_height=height,
    )
    decoder = Decoder(decoder_parameters(own))
    wanted = cluster(cov, bbox, own.clusters)
    for found, expected in zip(decoder.decode(cov, bbox), wanted, strict=True):
        assert len(found) == len(expected.boxes)
        np.testing.assert_allclose([b["score"] for b in found], expected.scores, rtol=1e-5)
        mine = sorted((b["class"], *np.round(b["box"], 2)) for b in found)
        theirs = sorted((classes[n], *np.round(box, 2)) for n, box in zip(expected.labels, expected.boxes, strict=True))
        assert [row[0] for row in mine] == [row[0] for row in theirs]
        np.testing.assert_allclose([row[1:] for row in mine], [row[1:] for row in theirs], atol=0.02)


def test_the_decoder_prepares_images_as_the_detector_does() -> None:
    decoder = Decoder(decoder_parameters(settings_for()))
    image = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    prepared = decoder.preprocess(image)
    assert prepared.shape == (3, 64, 96)
    np.testing.assert_allclose(prepared[:, :50, :80], image.transpose(2, 0, 1) / 255, atol=1e-6)
    assert not prepared[:, 50:].any()
    assert not prepared[:, :, 80:].any()
    with pytest.raises(ValueError, match=r"at most 64x96, not \(65, 96, 3\)"):
        decoder.preprocess(np.zeros((65, 96, 3), np.uint8))


@pytest.mark.parametrize("shape", [(50, 80), (64, 96), (128, 150)])
def test_the_decoder_stretches_images_where_the_training_did(shape) -> None:
    decoder = Decoder(decoder_parameters(replace(settings_for(), auto_resize=True)))
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    wanted, _ = fit_image(image, np.zeros((0, 4), np.float32), (64, 96), resize=True)
    np.testing.assert_allclose(decoder.preprocess(image), wanted.transpose(2, 0, 1) / 255, atol=1.01 / 255)
    cov, bbox = np.zeros((1, 1, 4, 6), np.float32), np.full((1, 4, 4, 6), 0.3, np.float32)
    cov[0, 0, 2, 3] = 1
    (stretched,), (found,) = decoder.decode(cov, bbox)[0], decoder.decode(cov, bbox, [shape])[0]
    factor = np.array([shape[1] / 96, shape[0] / 64] * 2)
    np.testing.assert_allclose(found["box"], stretched["box"] * factor, rtol=1e-5)


def test_the_decoder_of_a_bundle_stands_alone_and_works_on_its_model(pruned_qat, tmp_path: Path, capsys) -> None:
    spec = format_spec(build_spec(SpecOptions(image_width=64, image_height=64, coverage_threshold=0.3)))
    write_bundle(pruned_qat, tmp_path / "b", spec=spec, classes=("aircraft",), size=(64, 64), engines=())
    serving = tmp_path / "b" / "serving"
    text = (serving / "decoder.py").read_text()
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    assert imported == {"__future__", "collections", "json", "sys", "pathlib", "typing", "numpy", "onnxruntime"}
    module_spec = importlib.util.spec_from_file_location("bundled_decoder", serving / "decoder.py")
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    decoder = module.Decoder(serving / "decoder.json")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    detector = OnnxDetector(tmp_path / "b" / "model.onnx", threads=1)
    cov, bbox = detector(np.stack([decoder.preprocess(image) for image in images]))
    wanted = cluster(*detector(images), settings_of(parse_spec(spec)).clusters)
    assert [len(found) for found in decoder.decode(cov, bbox)] == [len(found.boxes) for found in wanted]
    np.save(tmp_path / "image.npy", images[0])
    module._main(str(serving / "triton" / "detectnet" / "1" / "model.onnx"), str(tmp_path / "image.npy"))
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_deepstream_is_told_the_same_numbers(tmp_path: Path) -> None:
    own = settings_for(classes=("a", "b"), dbscan_eps=0.2, coverage_threshold=0.1, minimum_height=6)
    parser = configparser.ConfigParser()
    parser.read_string(deepstream_config(own, graph="model.int8.onnx", batch=16))
    properties, first = parser["property"], parser["class-attrs-0"]
    assert properties.getfloat("net-scale-factor") == 1 / 255
    assert properties["infer-dims"] == "3;64;96"
    assert properties["onnx-file"] == "../../model.int8.onnx"
    assert properties["int8-calib-file"] == "../../calibration.cache"
    assert properties["output-blob-names"] == "output_cov;output_bbox"
    assert [properties.getint(k) for k in ("model-color-format", "network-mode", "num-detected-classes")] == [0, 1, 2]
    assert properties.getint("cluster-mode") == 1
    assert [first.getfloat(k) for k in ("pre-cluster-threshold", "eps", "minBoxes", "detected-min-h")] == [
        0.1,
        0.2,
        1,
        6,
    ]
    assert "class-attrs-1" in parser
    nms = settings_for(clustering="nms", nms_iou=0.4)
    parser.read_string(deepstream_config(nms, graph="model.onnx", batch=1))
    assert (parser["property"]["cluster-mode"], parser["property"]["network-mode"]) == ("2", "2")
    assert parser["class-attrs-0"]["nms-iou-threshold"] == "0.4"
    assert "least score" in deepstream_config(nms, graph="model.onnx", batch=1)
    assert "least score" not in deepstream_config(own, graph="model.int8.onnx", batch=16)
    assert "int8-calib-file" not in deepstream_config(nms, graph="model.onnx", batch=1)


@pytest.mark.parametrize("plan", [False, True])
def test_triton_is_told_names_types_and_shapes(plan: bool) -> None:
    text = triton_config(settings_for(classes=("a", "b")), batch=8, plan=plan)
    assert ('platform: "tensorrt_plan"' in text) == plan
    assert ('backend: "onnxruntime"' in text) != plan
    assert "max_batch_size: 8" in text
    for part in ("input_1", "dims: [ 3, 64, 96 ]", "dims: [ 8, 4, 6 ]", "dims: [ 2, 4, 6 ]", "format: FORMAT_NCHW"):
        assert part in text
    assert text.count("{") == text.count("}")


def test_parameters_are_json_and_complete() -> None:
    own = settings_for(clustering="nms")
    again = json.loads(json.dumps(decoder_parameters(own)))
    assert again["output"] == {
        "coverage": "output_cov",
        "boxes": "output_bbox",
        "stride": 16,
        "box_scale": 35.0,
        "box_offset": 0.5,
    }
    (entry,) = again["classes"]
    assert (entry["name"], entry["algorithm"], entry["nms_iou"]) == ("aircraft", "nms", 0.2)
    assert decoder_parameters(replace(own, auto_resize=True))["input"]["fit"] == "stretch"
