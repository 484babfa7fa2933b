import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from aerodet import stages
from aerodet.data import ImageRecord, ImageSet, ImageSetWriter, read_tfrecords
from aerodet.detectnet.checkpoint import load_model, save_checkpoint
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.spec import format_spec, parse_spec, read_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import DataError, SpecError
from aerodet.stages._report import _curves
from aerodet.tao.weights import write_weights

OPTIONS = SpecOptions(layers=10, image_width=64, image_height=64, batch_size=4, coverage_threshold=0.05)
SPEC = format_spec(build_spec(OPTIONS))
SUCCESS = {"status": "SUCCESS", "message": "done", "kpi": {"mean average precision": 50.0}}


def records(tmp_path: Path, dataset: Path, *, spec: str = SPEC, **options):
    values = {"name": "real", "seed": 0, "steps": 30, "validation_fraction": 0.4, **options}
    return stages.tao_records(dataset=dataset, records=tmp_path / "records", spec=spec, **values)


def test_records_of_a_training_hold_out_whole_places_and_fix_its_length(tmp_path, image_set) -> None:
    dataset = image_set(tmp_path / "real", 24)
    outcome = records(tmp_path, dataset, gpus=2, seed=5)
    folder = tmp_path / "records"
    folds = {n: {f.id for f in read_tfrecords(folder.glob(f"own-fold-00{n}-*"))} for n in (0, 1)}
    assert len(folds[0]) + len(folds[1]) == 24
    assert len(folds[0]) >= 8
    groups = {f"images/{r.stem}": r.group for r in ImageSet(dataset).records}
    assert not {groups[i] for i in folds[0]} & {groups[i] for i in folds[1]}
    spec = read_spec(folder / "spec.txt")
    steps = -(-(-(-len(folds[1]) // 4)) // 2)  # noqa: B002 - batches, shared by two GPUs
    assert spec.training_config.num_epochs == -(-30 // steps)
    assert spec.random_seed == 5
    assert spec.dataset_config.WhichOneof("dataset_split_type") == "validation_fold"
    assert spec.dataset_config.image_extension == "png"
    (source,) = spec.dataset_config.data_sources
    assert source.tfrecords_path == "/workspace/aerodet/records/own-*"
    assert source.image_directory_path == "/workspace/aerodet/own"
    assert outcome.metrics == {"images": 24, "epochs": spec.training_config.num_epochs}
    assert json.loads((folder / "records.json").read_text())["own"]["boxes"] == {"aircraft": 24}


def test_mixed_in_images_are_never_validated_on(tmp_path, image_set) -> None:
    dataset, synthetic = image_set(tmp_path / "real", 24), image_set(tmp_path / "synthetic", 40, place="s")
    records(tmp_path, dataset, synthetic=synthetic, synthetic_share=0.5)
    folder = tmp_path / "records"
    assert not list(folder.glob("mix-fold-000-*"))
    own = len(list(read_tfrecords(folder.glob("own-fold-001-*"))))
    assert len(list(read_tfrecords(folder.glob("mix-fold-001-*")))) == own
    sources = read_spec(folder / "spec.txt").dataset_config.data_sources
    assert [s.image_directory_path for s in sources] == ["/workspace/aerodet/own", "/workspace/aerodet/mix"]


def test_too_few_images_are_all_trained_on_without_validation(tmp_path, image_set) -> None:
    records(tmp_path, image_set(tmp_path / "real", 8))
    assert not list((tmp_path / "records").glob("own-fold-000-*"))
    spec = read_spec(tmp_path / "records" / "spec.txt")
    assert spec.dataset_config.WhichOneof("dataset_split_type") is None


def test_records_to_evaluate_on_are_a_validation_source_with_labels(tmp_path, image_set) -> None:
    records(tmp_path, image_set(tmp_path / "test", 6), steps=0)
    spec = read_spec(tmp_path / "records" / "spec.txt")
    assert spec.dataset_config.validation_data_source.tfrecords_path == "/workspace/aerodet/records/own-*"
    assert {f.id for f in read_tfrecords((tmp_path / "records").glob("own-fold-000-*"))} == {
        f"images/image_{n}" for n in range(1, 7)
    }
    with tarfile.open(tmp_path / "records" / "labels.tar") as archive:
        assert sorted(archive.getnames()) == [f"image_{n}.txt" for n in range(1, 7)]
        assert archive.extractfile("image_3.txt").read().startswith(b"aircraft 0.00 0 0.00 8.00 8.00 40.00 24.00")


def test_a_start_from_another_model_is_its_whole_graph(tmp_path, image_set) -> None:
    spec = format_spec(build_spec(SpecOptions(**{**vars(OPTIONS), "load_graph": True, "pretrained": "init/model.pt"})))
    records(tmp_path, image_set(tmp_path / "real", 8), spec=spec)
    model = read_spec(tmp_path / "records" / "spec.txt").model_config
    assert (model.pretrained_model_file, model.load_graph) == ("/workspace/aerodet/init/model.hdf5", True)


def test_what_tao_would_refuse_is_found_before_it_is_asked(tmp_path, image_set) -> None:
    dataset = image_set(tmp_path / "real", 8)
    with pytest.raises(SpecError, match=r"real: model_config\.width is 0\.5"):
        records(tmp_path, dataset, spec=format_spec(build_spec(SpecOptions(width=0.5))))
    assert not (tmp_path / "records" / "spec.txt").exists()


def test_sets_of_different_kinds_of_images_are_refused(tmp_path, image_set) -> None:
    with ImageSetWriter(tmp_path / "jpg", ("aircraft",)) as writer:
        writer.add(ImageRecord(1, "a.jpg", 16, 16, "g"), np.zeros((16, 16, 3), np.uint8), ".jpg")
    with pytest.raises(DataError, match=r"end in \.jpg and \.png, but TAO reads one kind"):
        records(tmp_path, image_set(tmp_path / "real", 8), synthetic=tmp_path / "jpg", synthetic_share=0.5)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    folder.mkdir()
    torch.manual_seed(0)
    write_weights(DetectNet(layers=10, num_classes=1), folder / "model.hdf5", size=(64, 64))
    epochs = [{"status": "RUNNING", "epoch": n, "graphical": {"loss": 3.0 - n}} for n in range(3)]
    (folder / "status.json").write_text("".join(f"{json.dumps(event)}\n" for event in [*epochs, SUCCESS]))
    spec = parse_spec(SPEC)
    spec.model_config.pretrained_model_file, spec.model_config.load_graph = "/workspace/aerodet/init/model.hdf5", True
    (folder / "spec.txt").write_text(format_spec(spec))
    return folder


def test_a_collected_checkpoint_goes_through_the_other_stages(tmp_path, trained, image_set) -> None:
    outcome = stages.tao_collect(trained=trained, model=tmp_path / "model", name="real")
    assert outcome.metrics == {"mean_average_precision": 50.0, "params_total": 4_921_413}
    metadata = outcome.metadata["model"]
    assert (metadata["kind"], metadata["backend"], metadata["quantized"]) == ("checkpoint", "tao", False)
    history = json.loads((tmp_path / "model" / "history.json").read_text())
    assert history == [{"epoch": n, "loss": 3.0 - n} for n in range(3)]
    assert not read_spec(tmp_path / "model" / "spec.txt").model_config.pretrained_model_file
    network, content = load_model(tmp_path / "model")
    assert (network.architecture.layers, content["classes"]) == (10, ("aircraft",))
    dataset = image_set(tmp_path / "test", 4)
    scores = stages.evaluate(model=tmp_path / "model", dataset=dataset, evaluation=tmp_path / "evaluation").metrics
    assert scores["ap50"] >= 0
    plan = stages.prune(model=tmp_path / "model", pruned=tmp_path / "plan", keep=0.9)
    assert 0 < plan.metrics["threshold"] <= 1


def test_a_training_that_logged_no_epoch_has_no_curve_in_the_report(tmp_path) -> None:
    inputs = {}
    for name in ("real", "synthetic", "finetune", "retrained", "qat"):
        inputs[f"model_{name}"] = tmp_path / name
        (tmp_path / name).mkdir()
        history = [{"epoch": 0, "loss": 3.0}, {"epoch": 1, "loss": 2.0}] if name == "qat" else []
        (tmp_path / name / "history.json").write_text(json.dumps(history))
    (curve,) = _curves(inputs)
    assert (curve.key, curve.loss, curve.ap50) == ("qat", ((0, 3.0), (1, 2.0)), ())


def test_a_failed_task_or_another_network_is_a_clear_error(tmp_path, trained) -> None:
    spec = format_spec(build_spec(SpecOptions(layers=10, classes=("a", "b"))))
    (trained / "spec.txt").write_text(spec)
    with pytest.raises(DataError, match="TAO checkpoint of real detects 1 classes, but its spec names 2"):
        stages.tao_collect(trained=trained, model=tmp_path / "model", name="real")
    (trained / "model.hdf5").write_bytes((trained / "model.hdf5").read_bytes()[:9000])
    (trained / "spec.txt").write_text(SPEC)
    with pytest.raises(DataError, match=r"model\.hdf5 is truncated"):
        stages.tao_collect(trained=trained, model=tmp_path / "model", name="real")
    (trained / "status.json").write_text(json.dumps({"status": "FAILURE", "message": "Ran out of GPU memory"}))
    with pytest.raises(DataError, match="failed: Ran out of GPU memory"):
        stages.tao_collect(trained=trained, model=tmp_path / "model", name="real")
    assert not (tmp_path / "model").exists()


def test_results_that_are_not_of_their_records_or_parent_are_refused(tmp_path, trained) -> None:
    origin, parent = tmp_path / "records", tmp_path / "parent"
    for folder in (origin, parent):
        folder.mkdir()
    (origin / "spec.txt").write_text(SPEC)
    with pytest.raises(DataError, match="the results of real are not of its records"):
        stages.tao_collect(trained=trained, model=tmp_path / "model", name="real", records=origin)
    save_checkpoint(parent / "model.pt", DetectNet(layers=10), spec=SPEC, classes=("ship",))
    with pytest.raises(DataError, match="real detects aircraft, which its parent does not"):
        stages.tao_collect(trained=trained, model=tmp_path / "model", name="real", parent=parent)


def test_figures_of_trainer_and_deploy_are_told_apart(tmp_path) -> None:
    (tmp_path / "status.json").write_text(json.dumps(SUCCESS))
    outcome = stages.tao_metrics(results=tmp_path, figures=tmp_path / "a")
    assert outcome.metrics == {"mean_average_precision": 50.0}
    (tmp_path / "results.json").write_text('{"AP_aircraft": 0.9}')
    outcome = stages.tao_metrics(results=tmp_path, figures=tmp_path / "b")
    assert outcome.metrics == {"AP_aircraft": 0.9}
    assert json.loads((tmp_path / "b" / "figures.json").read_text()) == {"backend": "tao-deploy", "AP_aircraft": 0.9}


def scored(tmp_path: Path, dataset: Path, lines: dict[int, str]):
    labels, bundle = tmp_path / "found" / "labels", tmp_path / "bundle"
    for folder in (labels, bundle):
        folder.mkdir(parents=True, exist_ok=True)
    (bundle / "spec.txt").write_text(SPEC)
    (bundle / "files.json").write_text('{"parameters": 123}')
    for number, line in lines.items():
        (labels / f"image_{number}.txt").write_text(line)
    return stages.tao_score(
        detections=labels.parent, dataset=dataset, bundle=bundle, evaluation=tmp_path / "evaluation"
    )


def test_what_an_engine_found_is_scored_like_any_model(tmp_path, image_set) -> None:
    dataset = image_set(tmp_path / "test", 4)
    right = "aircraft 0.00 0 0.00 8.000 8.000 40.000 24.000 0.00 0.00 0.00 0.00 0.00 0.00 0.00 3.215\n"
    wrong = right.replace("8.000 8.000 40", "44.000 8.000 60").replace("3.215", "1.100")
    outcome = scored(tmp_path, dataset, {1: right, 2: wrong + right, 3: right, 4: right})
    assert outcome.metrics["ap50"] == pytest.approx(100)
    evaluation = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert (evaluation["backend"], evaluation["params_total"], evaluation["images"]) == ("tensorrt", 123, 4)
    detections = json.loads((tmp_path / "evaluation" / "detections.json").read_text())
    assert [d["score"] for d in detections if d["image_id"] == 2] == pytest.approx([3.215, 1.1], abs=1e-3)


def test_missing_and_malformed_results_are_named(tmp_path, image_set) -> None:
    dataset = image_set(tmp_path / "test", 2)
    with pytest.raises(DataError, match=r"left no image_2\.txt for image_2\.png"):
        scored(tmp_path, dataset, {1: ""})
    for line in ("aircraft 1 2 3\n", "bird" + " 0" * 15 + "\n", "aircraft" + " x" * 15 + "\n"):
        with pytest.raises(DataError, match=r"image_2\.txt, line 1: not a KITTI result of 16 fields for aircraft"):
            scored(tmp_path, dataset, {2: line})
