from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from detectnet_pictures import PictureSet, rectangles, small_spec
from torch import nn

from aerodet.detectnet import train as module
from aerodet.detectnet.checkpoint import load_checkpoint, load_model, save_checkpoint
from aerodet.detectnet.losses import regularize
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.prune import PruneOptions, prune
from aerodet.detectnet.quantize import activation_scales, is_quantized
from aerodet.detectnet.schedule import learning_rate
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.train import TrainResult, train
from aerodet.errors import DataError, SpecError, TrainingError

CPU = torch.device("cpu")
AUGMENTED = {"hflip_probability": 0.5, "zoom_min": 0.8, "zoom_max": 1.2, "translate_max": 4.0, "hue_rotation_max": 20.0}


def fit(out: Path, source: PictureSet | None = None, *, validate: bool = False, **options: Any) -> TrainResult:
    """Train on rectangles; keywords are those of ``train`` and of the spec."""
    source = source or rectangles(6)
    own = {key: options.pop(key) for key in ("state", "init", "seed", "device") if key in options}
    items = [(source, range(len(source.records)))]
    spec = small_spec(**options)
    return train(spec, items, out=out, validation=items if validate else (), **{"device": CPU, **own})


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_checkpoint(folder)["weights"]
    return weights


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------------------------------------------------- learning


def test_a_few_pictures_of_two_classes_are_learned_by_heart(tmp_path: Path):
    source = rectangles(8, classes=("aircraft", "truck"))

    result = fit(
        tmp_path / "model",
        source,
        validate=True,
        classes=source.classes,
        epochs=200,
        max_learning_rate=1e-2,
        validation_period=100,
    )

    assert result.best_ap50 is not None
    assert result.best_ap50 > 90
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 10
    assert result.history[-1]["bbox"] < result.history[0]["bbox"] / 5
    assert result.images == 8


def test_quantisation_aware_training_from_a_float_model_keeps_what_it_knows(tmp_path: Path):
    source = rectangles(6)
    shared = {"validate": True, "validation_period": 50, "first_validation_epoch": 50}
    fit(tmp_path / "float", source, **shared, epochs=100, max_learning_rate=1e-2)

    result = fit(
        tmp_path / "qat",
        source,
        **shared,
        init=tmp_path / "float",
        load_graph=True,
        enable_qat=True,
        epochs=30,
        max_learning_rate=1e-3,
    )

    model, content = load_model(tmp_path / "qat")
    assert content["quantized"]
    assert is_quantized(model)
    assert all(scale > 0 for scale in activation_scales(model).values())
    assert result.best_ap50 is not None
    assert result.best_ap50 > 75


# -------------------------------------------------------------------------------------------------------- what is kept


def test_the_folder_holds_a_complete_checkpoint_the_spec_and_the_history(tmp_path: Path):
    result = fit(tmp_path / "model", epochs=3, validate=True)

    content = load_checkpoint(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["history.json", "model.pt", "spec.txt"]
    assert content["spec"] == (tmp_path / "model" / "spec.txt").read_text() == format_spec(small_spec(epochs=3))
    assert content["classes"] == ("aircraft",)
    assert content["result"]["epochs"] == 3
    history = json.loads((tmp_path / "model" / "history.json").read_text())
    assert history == result.history
    assert [set(entry) for entry in history] == [{"epoch", "loss", "cov", "bbox", "lr", "ap50"}] * 3


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> list[dict[str, torch.Tensor]]:
    """Let validations give these scores; return a list that gets the weights of each."""
    seen: list[dict[str, torch.Tensor]] = []

    def validate(loop: Any) -> float:
        seen.append({name: value.clone() for name, value in loop.model.state_dict().items()})
        return scores[len(seen) - 1]

    monkeypatch.setattr(module._Loop, "_validate", validate)
    return seen


def test_the_weights_of_the_best_epoch_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = scripted(monkeypatch, [10.0, 90.0, 50.0, 20.0])

    result = fit(tmp_path / "model", validate=True, epochs=4)

    assert (result.best_epoch, result.best_ap50) == (2, 90.0)
    assert same(weights_of(tmp_path / "model"), seen[1])
    assert not same(seen[1], seen[3])


def test_of_equal_epochs_the_later_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = scripted(monkeypatch, [0.0, 0.0, 0.0])

    assert fit(tmp_path / "model", validate=True, epochs=3).best_epoch == 3
    assert same(weights_of(tmp_path / "model"), seen[2])


def test_of_epochs_that_few_objects_cannot_tell_apart_the_last_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = scripted(monkeypatch, [80.0, 90.0, 85.0, 60.0])

    result = fit(tmp_path / "model", validate=True, epochs=4)

    assert (result.best_epoch, result.best_ap50) == (3, 85.0)
    assert same(weights_of(tmp_path / "model"), seen[2])


def test_validation_pictures_without_an_object_choose_nothing(tmp_path: Path):
    pictures = rectangles(4)
    held = PictureSet(pictures.pictures, [[]] * 4, [[]] * 4, classes=pictures.classes)

    result = train(
        small_spec(epochs=2), [(rectangles(6), range(6))], out=tmp_path / "model", validation=[(held, range(4))]
    )

    assert (result.best_epoch, result.best_ap50) == (2, None)


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path):
    result = fit(tmp_path / "model", epochs=2)

    assert (result.best_epoch, result.best_ap50, result.epochs) == (2, None, 2)


def test_validation_comes_at_the_first_epoch_asked_then_every_period_and_at_the_end(tmp_path: Path):
    result = fit(tmp_path / "model", validate=True, epochs=6, first_validation_epoch=2, validation_period=3)

    assert [entry["epoch"] for entry in result.history if "ap50" in entry] == [2, 5, 6]


def test_an_older_result_is_replaced(tmp_path: Path):
    fit(tmp_path / "model", epochs=1)
    (tmp_path / "model" / "left over").touch()

    fit(tmp_path / "model", epochs=2)

    assert load_checkpoint(tmp_path / "model")["result"]["epochs"] == 2
    assert not (tmp_path / "model" / "left over").exists()


# ------------------------------------------------------------------------------------------ repeating and going on


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.rand(5)  # what ran before does not matter
        fit(tmp_path / name, seed=seed, epochs=2, **AUGMENTED)

    assert same(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    assert not same(weights_of(tmp_path / "a"), weights_of(tmp_path / "c"))


def stopped(monkeypatch: pytest.MonkeyPatch, share: float, out: Path, **options: Any) -> None:
    """Train until this share of the steps is made, then interrupt; state is kept after every epoch."""
    original = module.learning_rate

    def rate(done: float, settings: Any) -> float:
        if done >= share:
            raise KeyboardInterrupt
        return original(done, settings)

    with monkeypatch.context() as patch:
        patch.setattr(module, "learning_rate", rate)
        patch.setattr(module, "_STATE_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            fit(out, **options)


@pytest.mark.parametrize("options", [{}, {"enable_qat": True}], ids=["float", "qat"])
def test_a_stopped_training_goes_on_to_the_very_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
):
    options = {**AUGMENTED, **options, "validate": True, "validation_period": 2, "epochs": 6}
    whole = fit(tmp_path / "whole", **options)

    stopped(monkeypatch, 0.55, tmp_path / "stopped", state=tmp_path / "state", **options)  # inside epoch 4
    assert not (tmp_path / "stopped").exists()
    assert load_checkpoint(tmp_path / "state" / "last.pt")["result"]["epochs"] == 3
    result = fit(tmp_path / "stopped", state=tmp_path / "state", **options)

    assert same(weights_of(tmp_path / "stopped"), weights_of(tmp_path / "whole"))
    assert result.history == whole.history
    assert (result.best_epoch, result.best_ap50) == (whole.best_epoch, whole.best_ap50)
    assert not (tmp_path / "state" / "last.pt").exists()


def test_the_best_epoch_before_a_stop_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = scripted(monkeypatch, [80.0, 10.0, 20.0, 30.0])
    stopped(monkeypatch, 0.5, tmp_path / "model", state=tmp_path / "state", validate=True)

    result = fit(tmp_path / "model", state=tmp_path / "state", validate=True)

    assert (result.best_epoch, len(seen)) == (1, 4)
    assert same(weights_of(tmp_path / "model"), seen[0])


@pytest.mark.parametrize(
    "change", [{"epochs": 9}, {"seed": 5}, {"source": rectangles(5)}], ids=["spec", "seed", "data"]
)
def test_the_state_of_another_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
):
    stopped(monkeypatch, 0.5, tmp_path / "model", state=tmp_path / "state")

    with pytest.raises(SpecError, match=r"last\.pt was left by a training with another spec, seed or number"):
        fit(tmp_path / "model", state=tmp_path / "state", **change)


def test_state_is_not_kept_more_often_than_every_few_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved: list[Path] = []
    monkeypatch.setattr(module, "save_checkpoint", lambda path, *args, **kwargs: saved.append(path))

    fit(tmp_path / "model", state=tmp_path / "state", epochs=3)

    assert [path.name for path in saved] == ["model.pt"]


def test_events_for_tensorboard_are_left_in_the_state_folder(tmp_path: Path):
    fit(tmp_path / "model", state=tmp_path / "state", epochs=1)

    assert [p.name.startswith("events.") for p in (tmp_path / "state" / "events").iterdir()] == [True]


# ------------------------------------------------------------------------------------------------------------ faults


def test_a_loss_that_is_not_finite_stops_with_a_sentence(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"loss is not finite in epoch \d+, step \d of 2; lower the learning rate"):
        fit(tmp_path / "model", max_learning_rate=1e30, epochs=10)

    assert not (tmp_path / "model").exists()


def test_nothing_to_train_on_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="there are no pictures to train on"):
        train(small_spec(), [(rectangles(2), [])], out=tmp_path / "model")


@pytest.mark.parametrize("classes", [("truck",), ("truck", "aircraft"), ("aircraft", "truck", "car")])
def test_images_of_other_classes_are_refused(tmp_path: Path, classes: tuple[str, ...]):
    with pytest.raises(DataError, match=rf"are labelled {', '.join(classes)}, the spec's classes are aircraft, truck;"):
        fit(tmp_path / "model", rectangles(4, classes=classes), classes=("aircraft", "truck"))


# ---------------------------------------------------------------------------------------------- what is not trained


def test_frozen_blocks_keep_their_weights_and_their_statistics(tmp_path: Path):
    fit(tmp_path / "first", epochs=1)
    fit(tmp_path / "second", epochs=2, init=tmp_path / "first", load_graph=True, freeze_blocks=(0, 2))

    before, after = weights_of(tmp_path / "first"), weights_of(tmp_path / "second")
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"block_1a", "block_3a", "block_4a", "output_cov", "output_bbox"}


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_factors(tmp_path: Path):
    fit(tmp_path / "first", epochs=1)
    fit(tmp_path / "second", epochs=2, init=tmp_path / "first", load_graph=True, freeze_bn=True)

    before, after = weights_of(tmp_path / "first"), weights_of(tmp_path / "second")
    for name, value in before.items():
        kept = name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
        assert torch.equal(value, after[name]) == kept, name


@pytest.mark.parametrize(("kind", "slope"), [("l1", 0.5), ("l2", 2 * 0.5 * 3.0), ("none", 0.0)])
def test_the_regulariser_adds_its_gradient(kind: Any, slope: float):
    settings = settings_of(small_spec(regularizer=kind, regularizer_weight=0.5)).training
    parameters = [torch.tensor([3.0, -3.0, 0.0], requires_grad=True), torch.zeros(2, requires_grad=True)]
    parameters[0].grad = torch.ones(3)  # the other has no gradient, as when it is frozen

    regularize(parameters, settings)

    assert parameters[0].grad.tolist() == [1 + slope, 1 - slope, 1]
    assert parameters[1].grad is None


def test_biases_in_front_of_batch_statistics_stay_as_they_are():
    spec = small_spec(regularizer="l1", regularizer_weight=0.1)
    loop = module._Loop(module.Job(spec, [(rectangles(2), [0, 1])]), CPU)
    with torch.no_grad():
        for _, layer in loop.model.convolutions():
            layer.bias.fill_(0.5)

    list(loop.epoch())

    assert all(layer.bias.eq(0.5).all() for _, layer in loop.model.convolutions())
    assert loop.model.output_cov.bias.ne(0).all()


def test_the_regulariser_holds_kernels_and_biases_of_all_convolutions_and_no_batch_norm():
    loop = module._Loop(module.Job(small_spec(), [(rectangles(2), [0, 1])]), CPU)

    names = {name for name, p in loop.model.named_parameters() if any(p is r for r in loop.regularized)}

    convolutions = {n for n, m in loop.model.named_modules() if isinstance(m, nn.Conv2d)}
    assert names == {f"{n}.{part}" for n in convolutions for part in ("weight", "bias")}
    assert {"output_cov.bias", "block_1a.conv_shortcut.weight"} <= names


def test_each_epoch_reports_the_rate_of_its_last_step(tmp_path: Path):
    options = {"min_learning_rate": 1e-4, "max_learning_rate": 5e-3, "soft_start": 0.1, "annealing": 0.7}
    result = fit(tmp_path / "model", epochs=4, **options)  # two steps an epoch

    settings = settings_of(small_spec(**options))
    assert [e["lr"] for e in result.history] == [learning_rate((2 * n + 1) / 8, settings) for n in range(4)]


def test_a_pruned_model_is_trained_in_its_own_shape(tmp_path: Path):
    pruned = prune(DetectNet(layers=10, width=0.5), PruneOptions(0.99, min_filters=16))
    save_checkpoint(tmp_path / "model.pt", pruned, spec="", classes=("aircraft",))

    fit(tmp_path / "out", init=tmp_path, load_graph=True, epochs=1)

    assert load_model(tmp_path / "out")[0].architecture == pruned.architecture
