"""Where a training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectnet_pictures import small_spec

from aerodet.detectnet.checkpoint import load_checkpoint, save_checkpoint
from aerodet.detectnet.initial import initial_model
from aerodet.detectnet.model import Architecture, DetectNet
from aerodet.detectnet.prune import PruneOptions, prune
from aerodet.detectnet.quantize import is_quantized
from aerodet.detectnet.settings import settings_of
from aerodet.errors import DataError, SpecError


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the small network."""
    torch.manual_seed(99)
    path = tmp_path_factory.mktemp("parent") / "model.pt"
    model = DetectNet(layers=10, width=0.125)
    model(torch.rand(2, 3, 64, 64))
    save_checkpoint(path, model, spec="", classes=("aircraft",))
    return path


def test_without_load_graph_only_the_backbone_is_taken(parent: Path):
    weights = load_checkpoint(parent)["weights"]

    started = initial_model(settings_of(small_spec()), parent).state_dict()

    differing = {name for name, value in started.items() if not torch.equal(value, weights[name])}
    assert differing == {"output_cov.weight", "output_bbox.weight"}  # biases start at zero


def test_with_load_graph_the_heads_are_kept(parent: Path):
    started = initial_model(settings_of(small_spec(load_graph=True)), parent).state_dict()

    assert _same(started, load_checkpoint(parent)["weights"])


def test_the_backbone_is_taken_layer_by_layer_where_shapes_fit(parent: Path):
    deeper = settings_of(small_spec(layers=18, classes=("a", "b")))
    weights = load_checkpoint(parent)["weights"]

    started = initial_model(deeper, parent).state_dict()

    assert torch.equal(started["block_3a.conv_2.weight"], weights["block_3a.conv_2.weight"])
    assert torch.equal(started["bn_conv1.running_mean"], weights["bn_conv1.running_mean"])
    assert started["output_cov.weight"].shape[0] == 2


def test_a_checkpoint_of_which_nothing_fits_is_refused(parent: Path):
    with pytest.raises(SpecError, match=r"no layer of .*model\.pt fits the spec's network"):
        initial_model(settings_of(small_spec(width=0.5)), parent)


def test_load_graph_brings_its_own_pruned_shape(tmp_path: Path):
    pruned = prune(DetectNet(layers=10, width=0.5), PruneOptions(0.99, min_filters=8))
    save_checkpoint(tmp_path / "model.pt", pruned, spec="", classes=("aircraft",))

    assert initial_model(settings_of(small_spec(load_graph=True)), tmp_path).architecture == pruned.architecture


def test_load_graph_without_a_model_is_refused():
    with pytest.raises(SpecError, match="load_graph is true, but there is no pretrained model"):
        initial_model(settings_of(small_spec(load_graph=True)), None)


def test_load_graph_of_other_classes_is_refused(parent: Path):
    settings = settings_of(small_spec(load_graph=True, classes=("aircraft", "truck")))

    with pytest.raises(SpecError, match="detects aircraft, the spec aircraft, truck; set load_graph to false"):
        initial_model(settings, parent)


def test_the_specs_pretrained_model_is_the_default_start(parent: Path, tmp_path: Path):
    started = initial_model(settings_of(small_spec(load_graph=True, pretrained=str(parent))), None)
    assert _same(started.state_dict(), load_checkpoint(parent)["weights"])

    with pytest.raises(DataError, match=r"there is no checkpoint resnet18\.pt"):
        initial_model(settings_of(small_spec(pretrained="resnet18.pt")), None)


def test_a_start_from_nothing_is_the_specs_architecture():
    model = initial_model(settings_of(small_spec(layers=18, width=0.25, all_projections=True)), None)

    assert model.architecture == Architecture(18, 1, 0.25, all_projections=True, bn_momentum=0.8)
    assert not is_quantized(model)


def test_enable_qat_puts_fake_quantisation_into_whatever_it_starts_from(parent: Path):
    for options, init in (({}, None), ({}, parent), ({"load_graph": True}, parent)):
        assert is_quantized(initial_model(settings_of(small_spec(enable_qat=True, **options)), init))
