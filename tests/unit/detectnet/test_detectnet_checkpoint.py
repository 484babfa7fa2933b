from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aerodet.detectnet.checkpoint import load_checkpoint, load_model, save_checkpoint
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.prune import PruneOptions, prune
from aerodet.detectnet.quantize import activation_scales, is_quantized, prepare_qat
from aerodet.errors import DataError


def small() -> DetectNet:
    torch.manual_seed(0)
    model = DetectNet(layers=10, width=0.25)
    model.train()(torch.rand(2, 3, 64, 64))
    return model.eval()


@pytest.mark.parametrize("kind", ["float", "pruned", "quantised", "pruned and quantised"])
def test_a_model_comes_back_as_it_was(tmp_path: Path, kind: str):
    model = small()
    if "pruned" in kind:
        model = prune(model, PruneOptions(0.8, min_filters=8))
    if "quantised" in kind:
        prepare_qat(model)
        model.train()(torch.rand(2, 3, 64, 64))
        model.eval()
    save_checkpoint(tmp_path / "model.pt", model, spec="random_seed: 1", classes=("aircraft",))

    again, content = load_model(tmp_path / "model.pt")

    images = torch.rand(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(again(images), model(images), strict=True))
    assert again.architecture == model.architecture
    assert not again.training
    assert is_quantized(again) == ("quantised" in kind)
    if is_quantized(again):
        assert activation_scales(again) == activation_scales(model)
    assert (content["spec"], content["classes"]) == ("random_seed: 1", ("aircraft",))


def test_other_weights_and_whatever_training_needs_travel_along(tmp_path: Path):
    model = small()
    weights = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(3).get_state()

    save_checkpoint(
        tmp_path / "a" / "model.pt", model, spec="", classes=("a", "b"), weights=weights, epoch=7, generator=generator
    )

    again, content = load_model(tmp_path / "a")  # a folder stands for its model.pt
    assert not again.state_dict()["conv1.weight"].any()
    assert content["epoch"] == 7
    assert torch.equal(content["generator"], generator)


def test_saving_again_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path):
    for text in ("one", "two"):
        save_checkpoint(tmp_path / "model.pt", small(), spec=text, classes=())

    assert load_checkpoint(tmp_path)["spec"] == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"there is no checkpoint .*model\.pt"):
        load_checkpoint(tmp_path)
    with pytest.raises(DataError, match=r"there is no checkpoint .*other\.pt"):
        load_checkpoint(tmp_path / "other.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_file_of_other_bytes_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "model.pt").write_bytes(content)

    with pytest.raises(DataError, match=r"model\.pt is not a readable checkpoint .* make it again"):
        load_model(tmp_path)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path):
    save_checkpoint(tmp_path / "model.pt", small(), spec="", classes=())
    whole = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(DataError, match="not a readable checkpoint"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [{"weights": {}}, {"format": 99}, [1, 2]])
def test_a_torch_file_of_another_kind_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "model.pt")

    with pytest.raises(DataError, match="not a checkpoint that this version of aerodet reads"):
        load_checkpoint(tmp_path)


def test_code_hidden_in_a_checkpoint_is_not_run(tmp_path: Path):
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "touched",)  # type: ignore[return-value]

    torch.save({"format": 1, "weights": Evil()}, tmp_path / "model.pt")

    with pytest.raises(DataError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)
    assert not (tmp_path / "touched").exists()
