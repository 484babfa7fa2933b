from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aerodet.detectnet.model import DetectNet, count_parameters
from aerodet.detectnet.prune import PruneOptions, groups, importance, kept_channels, l2_scores, prune, prune_to
from aerodet.detectnet.quantize import prepare_qat
from aerodet.errors import SpecError


def lived_in(seed: int = 0, **options: Any) -> DetectNet:
    """A small network whose filters differ in size and whose statistics are not those of the start."""
    torch.manual_seed(seed)
    model = DetectNet(**{"width": 0.5, "layers": 18, **options})
    with torch.no_grad():
        for _, layer in model.convolutions():
            layer.weight.mul_(torch.rand(layer.out_channels, 1, 1, 1) * 2)
            layer.bias.normal_(0, 0.1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
        model.train()(torch.rand(2, 3, 64, 64))
    return model.eval()


def reference(kernels: list[Any], options: PruneOptions) -> list[int]:
    """TAO's rule for the layers of one group, filter by filter."""
    per_layer = []
    for kernel in kernels:
        norms = [math.sqrt(sum(float(v) ** 2 for v in np.ravel(f))) for f in kernel]
        if options.normalizer == "max":
            per_layer.append([v / max(norms) for v in norms])
        else:
            whole = math.sqrt(sum(v**2 for v in norms))
            per_layer.append([v * len(norms) / whole for v in norms])
    merge = {
        "union": max,
        "intersection": min,
        "arithmetic_mean": lambda values: sum(values) / len(values),
        "geometric_mean": lambda values: math.prod(values) ** (1 / len(values)),
    }[options.criterion]
    merged = [merge(values) for values in zip(*per_layer, strict=True)]
    survivors = [i for i, v in enumerate(merged) if v > options.threshold]
    count = max(min(options.min_filters, len(merged)), len(survivors))
    while count % options.granularity:
        count += 1
    count = min(count, len(merged))
    strongest = sorted(range(len(merged)), key=lambda i: -merged[i])[:count]
    return sorted(strongest)


def test_in_resnet18_each_stage_has_one_group_and_inner_convolutions_stand_alone():
    found = groups(DetectNet(width=0.125))

    assert [g for g in found if len(g) > 1] == [
        (f"block_{s}a_conv_2", f"block_{s}a_conv_shortcut", f"block_{s}b_conv_2") for s in (1, 2, 3, 4)
    ]
    assert {g[0] for g in found if len(g) == 1} == {
        "conv1",
        *(f"block_{s}{b}_conv_1" for s in (1, 2, 3, 4) for b in "ab"),
    }
    assert sum(len(g) for g in found) == 21


def test_with_all_projections_each_block_has_its_own_group():
    found = groups(DetectNet(width=0.125, all_projections=True))

    assert ("block_3b_conv_2", "block_3b_conv_shortcut") in found
    assert max(len(g) for g in found) == 2
    assert sum(len(g) for g in found) == 25


def test_identity_shortcuts_join_all_blocks_of_a_stage_in_resnet34():
    found = groups(DetectNet(width=0.125, layers=34))

    assert next(g for g in found if g[0] == "block_3a_conv_2") == (
        "block_3a_conv_2",
        "block_3a_conv_shortcut",
        *(f"block_3{b}_conv_2" for b in "bcdef"),
    )


@pytest.mark.parametrize("criterion", ["union", "intersection", "arithmetic_mean", "geometric_mean"])
@pytest.mark.parametrize(("normalizer", "threshold"), [("max", 0.55), ("L2", 5.5)])
@pytest.mark.parametrize(("granularity", "min_filters"), [(8, 16), (1, 1), (5, 23)])
def test_what_is_kept_follows_taos_rule(
    criterion: Any, normalizer: Any, threshold: float, granularity: int, min_filters: int
):
    model = lived_in(layers=10)
    options = PruneOptions(threshold, normalizer, criterion, granularity, min_filters)
    layers, scores = dict(model.convolutions()), l2_scores(model)

    smaller = dict(prune(model, options).convolutions())

    cut = 0
    for group in groups(model):
        values = importance([scores[name] for name in group], options)
        expected = reference([layers[name].weight.detach().numpy() for name in group], options)
        assert kept_channels(values, options).tolist() == expected
        cut += len(values) - len(expected)
        for name in group:
            assert smaller[name].out_channels == len(expected)
            assert torch.equal(smaller[name].bias, layers[name].bias[expected])
    assert cut > 0


def test_the_number_kept_is_rounded_up_and_never_more_than_there_are():
    values = torch.arange(20, 0, -1) / 20

    def count(**options: Any) -> int:
        return len(kept_channels(values, PruneOptions(**{"granularity": 1, "min_filters": 1, **options})))

    assert count(threshold=0.5) == 10  # above, not at
    assert count(threshold=0.5, granularity=8) == 16
    assert count(threshold=0.1, granularity=8) == 20
    assert count(threshold=0.99, min_filters=6) == 6
    assert count(threshold=0.99, min_filters=64) == 20
    assert count(threshold=0.99, min_filters=6, granularity=4) == 8


def test_the_strongest_channels_are_kept_in_their_order():
    values = torch.tensor([0.1, 0.9, 0.3, 1.0, 0.2])

    assert kept_channels(values, PruneOptions(0.25, granularity=1, min_filters=1)).tolist() == [1, 2, 3]


@pytest.mark.parametrize("options", [{}, {"all_projections": True}, {"use_batch_norm": False}, {"layers": 34}])
def test_a_pruned_model_computes_what_the_full_one_does_with_silent_channels(options: dict[str, Any]):
    model = lived_in(num_classes=2, **options)
    choice = PruneOptions(0.6, granularity=4, min_filters=4)
    smaller = prune(model, choice)
    layers, scores = dict(model.convolutions()), l2_scores(model)
    norms = dict(model.named_modules())

    with torch.no_grad():
        for group in groups(model):
            values = importance([scores[name] for name in group], choice)
            silent = torch.ones(len(values), dtype=torch.bool)
            silent[kept_channels(values, choice)] = False
            for name in group:
                norm_name = "bn_conv1" if name == "conv1" else name.replace("_conv_", ".bn_")
                for module in (layers[name], norms.get(norm_name)):
                    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                        module.weight[silent] = 0
                        module.bias[silent] = 0

    images = torch.rand(2, 3, 64, 64)
    for full, cut in zip(model(images), smaller(images), strict=True):
        torch.testing.assert_close(cut, full, atol=1e-5, rtol=1e-4)
    assert count_parameters(smaller)["total"] < 0.8 * count_parameters(model)["total"]


def test_pruning_leaves_the_model_as_it_is_and_keeps_the_mode():
    model = lived_in(layers=10).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    smaller = prune(model, PruneOptions(0.6))

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert smaller.training
    assert not prune(model.eval(), PruneOptions(0.6)).training


def test_pruning_again_cuts_the_pruned_model():
    once = prune(lived_in(layers=10), PruneOptions(0.4, granularity=4))
    twice = prune(once, PruneOptions(0.6, granularity=4))

    assert count_parameters(twice)["total"] < count_parameters(once)["total"]
    assert twice(torch.rand(1, 3, 32, 32))[0].shape == (1, 1, 2, 2)


def test_an_excluded_layer_keeps_its_whole_group():
    model = lived_in()
    full = {name: layer.out_channels for name, layer in model.convolutions()}

    smaller = prune(model, PruneOptions(0.9, granularity=1, min_filters=1, excluded=["block_2b_conv_2", "conv1"]))

    left = {name: layer.out_channels for name, layer in smaller.convolutions()}
    whole = {"conv1", "block_2a_conv_2", "block_2a_conv_shortcut", "block_2b_conv_2"}
    assert {name for name in full if left[name] == full[name]} == whole


def test_threshold_zero_cuts_nothing_and_a_threshold_above_all_leaves_the_minimum():
    model = lived_in(layers=10)

    assert count_parameters(prune(model, PruneOptions(0.0))) == count_parameters(model)
    least = prune(model, PruneOptions(1.0, min_filters=10))
    assert {layer.out_channels for _, layer in least.convolutions()} == {16}


@pytest.mark.parametrize("normalizer", ["max", "L2"])
def test_pruning_to_a_share_finds_the_lowest_threshold_that_does_it(normalizer: Any):
    model = lived_in(layers=10)
    options = PruneOptions(normalizer=normalizer, min_filters=8)
    total = count_parameters(model)["total"]

    smaller, threshold = prune_to(model, options, keep=0.4)

    count = count_parameters(smaller)["total"]
    assert count <= 0.4 * total
    below = prune(model, PruneOptions(threshold * (1 - 1e-5), normalizer, min_filters=8))
    assert count_parameters(below)["total"] > 0.4 * total
    again = prune(model, PruneOptions(threshold, normalizer, min_filters=8))
    assert count_parameters(again)["total"] == count


def test_a_share_that_the_minimum_forbids_is_refused():
    with pytest.raises(SpecError, match=r"no threshold leaves only 1% of the parameters: the least is .*16 filters"):
        prune_to(lived_in(layers=10), PruneOptions(), keep=0.01)


def test_a_quantised_model_is_refused():
    with pytest.raises(SpecError, match="prune the float model"):
        prune(prepare_qat(DetectNet(width=0.125)), PruneOptions())


def test_an_unknown_excluded_layer_is_refused():
    with pytest.raises(SpecError, match="does not have: block_9a_conv_1, conv2"):
        prune(DetectNet(width=0.125), PruneOptions(excluded=["conv1", "conv2", "block_9a_conv_1"]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": -0.1}, "must not be negative"),
        ({"normalizer": "l1"}, "'max' or 'L2'"),
        ({"criterion": "mean"}, "one of union, intersection, arithmetic_mean, geometric_mean"),
        ({"granularity": 0}, "at least 1"),
        ({"min_filters": 0}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str):
    with pytest.raises(SpecError, match=words):
        PruneOptions(**options)


def test_a_layer_of_zeros_has_no_importance_and_does_not_spoil_its_group():
    dead, alive = torch.zeros(4), torch.rand(4)

    for normalizer in ("max", "L2"):
        options = PruneOptions(normalizer=normalizer)  # type: ignore[arg-type]
        assert importance([dead], options).tolist() == [0, 0, 0, 0]
        assert torch.equal(importance([dead, alive], options), importance([alive], options))


def test_channels_can_be_chosen_by_other_scores():
    model = lived_in(layers=10)
    options = PruneOptions(threshold=0.5, granularity=1, min_filters=1)
    scores = {name: torch.arange(len(norm)).float() for name, norm in l2_scores(model).items()}

    smaller = dict(prune(model, options, scores).convolutions())

    for name, layer in model.convolutions():
        last = layer.out_channels - 1
        assert smaller[name].out_channels == last - int(0.5 * last)  # scores over their maximum, above one half
