from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aerodet.detectnet.model import Architecture, DetectNet, count_parameters
from aerodet.detectnet.prune import PruneOptions, groups, l2_scores, prune
from aerodet.detectnet.shrink import (
    GRANULARITY,
    narrow_architecture,
    parameter_count,
    product_count,
    prune_to_count,
    smallest_architecture,
)
from aerodet.errors import SpecError

FULL = 11_197_893


def trained(**options):
    """A network whose filters differ in size."""
    torch.manual_seed(0)
    model = DetectNet(**{"layers": 18, **options})
    with torch.no_grad():
        for _, layer in model.convolutions():
            layer.weight.mul_(torch.rand(layer.out_channels, 1, 1, 1) * 2)
    return model.eval()


@pytest.fixture(scope="module")
def full():
    return trained()


OPTIONS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"layers": 10, "width": 0.25, "num_classes": 3},
        {"layers": 34, "width": 0.5, "use_batch_norm": False},
        {"all_projections": True, "width": 0.125},
        {"width": 0.25, "channels": {"conv1": 24, "block_2b_conv_1": 16}},
    ],
)


@OPTIONS
def test_parameters_are_counted_without_building_the_network(options):
    assert parameter_count(Architecture(**options)) == count_parameters(DetectNet(**options))["total"]


@OPTIONS
def test_products_are_those_that_the_convolutions_make(options):
    model, made = DetectNet(Architecture(**options)).eval(), []
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, _, output: made.append(layer.weight[0].numel() * output[0].numel())
            )
    with torch.inference_mode():
        model(torch.zeros(1, 3, 32, 64))
    assert product_count(Architecture(**options)) * 32 * 64 == sum(made)


def test_the_full_network_has_the_parameters_of_taos():
    assert parameter_count(Architecture()) == FULL


@pytest.mark.parametrize("target", GRANULARITY)
@pytest.mark.parametrize("factor", [4, 25, 100])
def test_a_wanted_size_is_reached_closely_from_below(full, target, factor):
    wanted = FULL // factor
    smaller = prune_to_count(full, PruneOptions(granularity=GRANULARITY[target]), wanted)
    count = count_parameters(smaller)["total"]
    assert 0.94 * wanted <= count <= wanted


@pytest.mark.parametrize("granularity", [8, 16, 32])
def test_a_layer_keeps_the_least_or_a_multiple_of_the_granularity(full, granularity):
    smaller = prune_to_count(full, PruneOptions(granularity=granularity), 700_000)
    kept = set(smaller.architecture.channels.values())
    assert len(kept) > 2
    assert all(channels == 16 or channels % granularity == 0 for channels in kept)


def test_layers_that_a_sum_joins_keep_the_same_channels(full):
    smaller = prune_to_count(full, PruneOptions(granularity=16), 444_000)
    for group in groups(full):
        assert len({smaller.architecture.channels[name] for name in group}) == 1


def test_the_strongest_blocks_stay_as_with_taos_threshold():
    model = trained(width=0.5)
    options = PruneOptions(threshold=0.9, granularity=16)
    by_threshold = prune(model, options)
    count = count_parameters(by_threshold)["total"]
    by_count = prune_to_count(model, options, count)
    more = {
        name: by_count.architecture.channels[name] - channels
        for name, channels in by_threshold.architecture.channels.items()
    }
    assert by_count.architecture.channels == by_threshold.architecture.channels, more


def fast(model, count, products, **options):
    return prune_to_count(model, PruneOptions(granularity=16, **options), count, products=products)


@pytest.mark.parametrize("factor", [4, 25, 100])
def test_the_size_is_reached_within_a_number_of_products(full, factor):
    limit = product_count(narrow_architecture(full.architecture, FULL // factor))
    free = prune_to_count(full, PruneOptions(granularity=16), FULL // factor)
    limited = fast(full, FULL // factor, limit)
    assert product_count(limited.architecture) <= limit < product_count(free.architecture)
    assert 0.94 * FULL // factor <= count_parameters(limited)["total"] <= FULL // factor


def test_products_that_suffice_already_change_nothing(full):
    free = prune_to_count(full, PruneOptions(granularity=16), 444_000).architecture
    assert fast(full, 444_000, product_count(free)).architecture == free


def test_a_looser_limit_keeps_more_of_the_most_important_channels(full):
    free = prune_to_count(full, PruneOptions(granularity=16), FULL // 4).architecture
    kept = []
    for share in (0.8, 0.95):
        limited = fast(full, FULL // 4, share * product_count(free)).architecture
        kept.append(sum(min(limited.channels[name], channels) for name, channels in free.channels.items()))
    assert kept[0] < kept[1] < sum(free.channels.values())


def test_channels_that_make_more_products_are_given_up_first():
    # All equally important. The inner channels of block 1b and of block 2a have 64 and 128 neighbours on either side;
    # one of 1b makes 18 * 64 / 4**2 = 72 products a pixel, one of 2a (9 * 64 + 9 * 128) / 8**2 = 27.
    model = trained(layers=18)
    scores = {name: torch.ones_like(score) for name, score in l2_scores(model).items()}
    limit = 0.35 * product_count(model.architecture)
    kept = prune_to_count(model, PruneOptions(granularity=16), 4_000_000, scores, products=limit).architecture.channels
    assert kept["block_1b_conv_1"] == 16
    assert kept["block_2a_conv_1"] > 16


def test_a_limit_holds_where_no_price_reaches_the_size(full):
    options = PruneOptions(granularity=16)
    smallest = smallest_architecture(full.architecture, options)
    reached = [parameter_count(fast(full, 444_000, f * product_count(smallest)).architecture) for f in (1.02, 1.1, 1.3)]
    assert parameter_count(smallest) < reached[0] < reached[1] < reached[2] < 0.94 * 444_000
    for factor in (1.02, 1.1, 1.3, 2):
        limited = fast(full, 444_000, factor * product_count(smallest)).architecture
        assert product_count(limited) <= factor * product_count(smallest)
    assert parameter_count(limited) > 0.85 * 444_000  # the lowest and the highest price leave 78 and 75 %


def test_an_excluded_layer_stays_whole_within_the_limit(full):
    options = PruneOptions(granularity=16)
    smallest = smallest_architecture(full.architecture, options)
    limit = 1.2 * product_count(replace(smallest, channels={**smallest.channels, "conv1": 64}))
    limited = fast(full, 444_000, limit, excluded=("conv1",)).architecture
    assert limited.channels["conv1"] == 64
    assert product_count(limited) <= limit


def test_prices_follow_the_size_of_the_importances(full):
    # Normalised by L2 an outlier among 512 channels has an importance of hundreds.
    generator = torch.Generator().manual_seed(2)
    scores = {name: (4 * torch.randn(len(score), generator=generator)).exp() for name, score in l2_scores(full).items()}
    limit = product_count(narrow_architecture(full.architecture, FULL // 100))
    options = PruneOptions(granularity=16, normalizer="L2")
    limited = prune_to_count(full, options, FULL // 100, scores, products=limit).architecture
    assert parameter_count(limited) > 0.94 * FULL // 100


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(full, value):
    scores = l2_scores(full)
    scores["conv1"] = torch.full_like(scores["conv1"], value)
    with pytest.raises(SpecError, match="not a finite number"):
        prune_to_count(full, PruneOptions(), 444_000, scores)


def test_channels_without_importance_leave_prices_alone(full):
    scores = {name: torch.zeros_like(score) for name, score in l2_scores(full).items()}
    limit = product_count(narrow_architecture(full.architecture, 444_000))
    limited = prune_to_count(full, PruneOptions(granularity=16), 444_000, scores, products=limit).architecture
    assert parameter_count(limited) > 0.9 * 444_000


@pytest.mark.parametrize("limit", [-1.0, 0.0, 1000.0, float("nan")])
def test_fewer_products_than_the_smallest_network_makes_are_refused(full, limit):
    with pytest.raises(SpecError, match=r"the fewest are 1\d{3}.*, because every layer keeps 16 filters"):
        fast(full, 444_000, limit)


def test_scores_decide_which_channels_stay():
    model = trained(layers=10, width=0.25)
    scores = {name: torch.arange(len(score)).float() for name, score in l2_scores(model).items()}
    smaller = prune_to_count(model, PruneOptions(granularity=16), 60_000, scores)
    kept = smaller.architecture.channels["block_4a_conv_1"]
    assert 16 <= kept < 128
    assert torch.equal(smaller.block_4a.bn_1.weight, model.block_4a.bn_1.weight[-kept:])
    wanted = model.block_4a.conv_2.weight[-smaller.block_4a.out_channels :, -kept:]
    assert torch.equal(smaller.block_4a.conv_2.weight, wanted)


def test_a_size_that_the_network_has_already_cuts_nothing():
    model = trained(layers=10, width=0.25)
    same = prune_to_count(model, PruneOptions(), count_parameters(model)["total"])
    assert torch.equal(same(torch.ones(1, 3, 64, 64))[0], model(torch.ones(1, 3, 64, 64))[0])


def test_what_was_pruned_is_pruned_further():
    half = prune_to_count(trained(width=0.5), PruneOptions(granularity=16), 1_000_000)
    tenth = prune_to_count(half, PruneOptions(granularity=16), 200_000)
    assert count_parameters(tenth)["total"] <= 200_000
    assert all(tenth.architecture.channels[name] <= channels for name, channels in half.architecture.channels.items())


def test_an_excluded_layer_stays_whole(full):
    smaller = prune_to_count(full, PruneOptions(granularity=16, excluded=("conv1",)), 444_000)
    assert smaller.architecture.channels["conv1"] == 64


def test_less_than_the_smallest_network_is_refused_with_its_size(full):
    least = parameter_count(smallest_architecture(full.architecture, PruneOptions()))
    assert count_parameters(prune_to_count(full, PruneOptions(), least))["total"] == least < 60_000
    with pytest.raises(SpecError, match=f"the least is {least:,}, because every layer keeps 16 filters"):
        prune_to_count(full, PruneOptions(), least - 1)


@pytest.mark.parametrize("factor", [4, 10, 25, 100])
def test_a_narrow_network_has_about_the_wanted_size(factor):
    narrow = narrow_architecture(Architecture(channels={"conv1": 16}), FULL // factor)
    count = parameter_count(narrow)
    assert narrow == Architecture(width=narrow.width)
    assert abs(count / (FULL / factor) - 1) < 0.09


def test_the_width_of_a_whole_network_is_found_again():
    for width in (0.25, 1.0):
        assert narrow_architecture(Architecture(), parameter_count(Architecture(width=width))).width == width
