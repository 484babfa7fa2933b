"""Importance: scores a channel that agree with what cutting the channel does."""

from __future__ import annotations

import pytest
import torch
from detectnet_pictures import rectangles, small_spec
from torch import nn

from aerodet.detectnet.augment import clip_boxes
from aerodet.detectnet.dataset import TrainingSet, in_unit
from aerodet.detectnet.importance import bn_scores, taylor_scores
from aerodet.detectnet.losses import CostWeights
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.targets import TargetMaker
from aerodet.errors import DataError, SpecError
from aerodet.metrics import IGNORED

SETTINGS = settings_of(small_spec())
BATCH = TrainingSet([(rectangles(4), range(4))], (64, 64), torch.device("cpu")).batch([0, 1, 2, 3])


def network() -> DetectNet:
    torch.manual_seed(0)
    model = DetectNet(layers=10, width=0.25)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.2, 1.8)
        model.train()(in_unit(BATCH.images))
    return model.eval()


def test_every_convolution_has_a_score_a_channel():
    model = network()
    wanted = {name: layer.out_channels for name, layer in model.convolutions()}
    for scores in (bn_scores(model), taylor_scores(model, SETTINGS, [BATCH])):
        assert {name: len(values) for name, values in scores.items()} == wanted
        assert all((values >= 0).all() for values in scores.values())


def test_bn_scores_are_the_absolute_scales():
    model = network()
    with torch.no_grad():
        model.block_1a.bn_2.weight[3] = -7.0
    assert bn_scores(model)["block_1a_conv_2"][3] == 7.0
    assert torch.equal(bn_scores(model)["conv1"], model.bn_conv1.weight.abs())


def test_without_batch_normalisation_there_are_no_bn_scores():
    with pytest.raises(SpecError, match="batch normalisation"):
        bn_scores(DetectNet(layers=10, width=0.25, use_batch_norm=False))


def test_a_taylor_score_is_the_squared_first_order_change_of_the_loss():
    model = network()
    scores = taylor_scores(model, SETTINGS, [BATCH])
    make = TargetMaker(
        SETTINGS.size,
        SETTINGS.shapes,
        deadzone_radius=SETTINGS.deadzone_radius,
        scale=SETTINGS.box_scale,
        offset=SETTINGS.box_offset,
    )
    targets = make(*clip_boxes(BATCH.boxes, BATCH.labels, SETTINGS.size))

    def loss() -> float:
        with torch.no_grad():
            return float(CostWeights(SETTINGS.costs, auto=False)(*model(in_unit(BATCH.images)), targets)[0])

    step = 1e-2
    for channel in (0, 5):
        before, filters = loss(), model.block_1a.conv_1.weight.data
        filters[channel] *= 1 - step
        slope = (before - loss()) / step
        filters[channel] /= 1 - step
        assert scores["block_1a_conv_1"][channel].item() == pytest.approx(slope**2, rel=0.1, abs=1e-9)


def test_a_picture_that_is_a_region_to_ignore_says_nothing_of_any_channel():
    boxes = torch.tensor([0.0, 0, 64, 64]).expand(4, 1, 4)
    batch = BATCH._replace(boxes=boxes, labels=torch.full((4, 1), IGNORED))
    scores = taylor_scores(network(), SETTINGS, [batch])
    assert scores
    assert all((values == 0).all() for values in scores.values())


def test_batches_add_up_and_the_model_is_left_without_gradients():
    model = network()
    once, twice = (taylor_scores(model, SETTINGS, [BATCH] * n) for n in (1, 2))
    for name in once:
        assert torch.allclose(twice[name], 2 * once[name])
    assert all(p.grad is None for p in model.parameters())
    assert not model.training


def test_no_pictures_no_taylor_scores():
    with pytest.raises(DataError, match="there are none"):
        taylor_scores(network(), SETTINGS, [])
