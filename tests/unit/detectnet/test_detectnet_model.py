from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

from aerodet.detectnet.model import Architecture, DetectNet, channels_last, count_parameters
from aerodet.detectnet.quantize import prepare_qat
from aerodet.errors import SpecError

RESNET18 = [
    "conv1",
    *(
        f"block_{stage}{block}_conv_{part}"
        for stage in (1, 2, 3, 4)
        for block, parts in (("a", (1, 2, "shortcut")), ("b", (1, 2)))
        for part in parts
    ),
]


def counts(**options: object) -> tuple[int, int, int]:
    with torch.device("meta"):
        return tuple(count_parameters(DetectNet(**options)).values())  # type: ignore[return-value]


def biased(model: DetectNet) -> DetectNet:
    with torch.no_grad():
        for _, layer in model.convolutions():
            layer.bias.normal_()
    return model


def test_resnet18_has_the_parameter_counts_of_the_tao_log():
    assert counts(layers=18, num_classes=1) == (11_197_893, 11_188_165, 9_728)


def test_all_projections_has_the_counts_of_taos_sample_spec():
    assert counts(layers=18, num_classes=1, all_projections=True) == (11_550_853, 11_539_205, 11_648)


def test_a_class_more_costs_only_its_five_outputs_in_the_heads():
    assert counts(layers=18, num_classes=3)[0] == 11_203_023


def test_counts_are_read_by_name():
    assert list(count_parameters(DetectNet(width=0.125))) == ["total", "trainable", "non_trainable"]


@pytest.mark.parametrize(("layers", "convolutions"), [(10, 1 + 8 + 4), (18, 1 + 16 + 4), (34, 1 + 32 + 4)])
def test_every_depth_builds_and_runs(layers: int, convolutions: int):
    model = DetectNet(layers=layers, width=0.125).eval()

    cov, bbox = model(torch.rand(2, 3, 64, 96))

    assert len(list(model.convolutions())) == convolutions
    assert (cov.shape, bbox.shape) == ((2, 1, 4, 6), (2, 4, 4, 6))


def test_layers_have_taos_names_and_the_weights_the_same_address():
    model = DetectNet(width=0.125)

    assert [name for name, _ in model.convolutions()] == RESNET18
    layers = dict(model.convolutions())
    assert layers["block_2a_conv_shortcut"] is model.get_submodule("block_2a.conv_shortcut")
    names = set(model.state_dict())
    assert {"conv1.weight", "bn_conv1.running_var", "block_4b.bn_2.bias", "output_bbox.weight"} <= names
    assert "block_1b.conv_shortcut.weight" not in names


def test_with_all_projections_every_block_has_one():
    layers = [name for name, _ in DetectNet(width=0.125, all_projections=True).convolutions()]

    assert len(layers) == 25
    assert "block_4b_conv_shortcut" in layers


def test_channels_kernels_strides_and_padding_are_taos():
    with torch.device("meta"):
        layers = dict(DetectNet().convolutions())

    shapes = {name: (c.out_channels, c.kernel_size[0], c.stride[0], c.padding[0]) for name, c in layers.items()}
    assert shapes["conv1"] == (64, 7, 2, 3)
    assert shapes["block_1a_conv_1"] == (64, 3, 2, 1)
    assert shapes["block_1a_conv_shortcut"] == (64, 1, 2, 0)  # a projection although the channels are equal
    assert shapes["block_2a_conv_1"] == (128, 3, 2, 1)
    assert shapes["block_3a_conv_shortcut"] == (256, 1, 2, 0)
    assert shapes["block_4a_conv_1"] == (512, 3, 1, 1)  # the last stage keeps the grid
    assert shapes["block_4a_conv_shortcut"] == (512, 1, 1, 0)
    assert shapes["block_4b_conv_2"] == (512, 3, 1, 1)
    assert sum(c.out_channels for c in layers.values()) == 4_864
    assert all(c.bias is not None for c in layers.values())


def test_the_network_is_what_the_layer_list_says():
    """Literally: conv, bn, relu, conv, bn, plus the shortcut, relu; then the two heads on the last relu."""
    torch.manual_seed(1)
    model = DetectNet(layers=10, width=0.125, num_classes=2)
    model(torch.rand(4, 3, 64, 64))  # statistics of some use
    model.eval()
    s = model.state_dict()

    def conv(x: torch.Tensor, name: str, stride: int, padding: int) -> torch.Tensor:
        return functional.conv2d(x, s[f"{name}.weight"], s[f"{name}.bias"], stride, padding)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, gain, shift = (s[f"{name}.{part}"].view(1, -1, 1, 1) for part in PARTS)
        return (x - mean) / torch.sqrt(var + 1e-3) * gain + shift

    images = torch.rand(2, 3, 64, 64)
    x = norm(conv(images, "conv1", 2, 3), "bn_conv1").relu()
    for stage, stride in ((1, 2), (2, 2), (3, 2), (4, 1)):
        name = f"block_{stage}a"
        y = norm(conv(x, f"{name}.conv_1", stride, 1), f"{name}.bn_1").relu()
        y = norm(conv(y, f"{name}.conv_2", 1, 1), f"{name}.bn_2")
        x = (y + norm(conv(x, f"{name}.conv_shortcut", stride, 0), f"{name}.bn_shortcut")).relu()

    cov, bbox = model(images)

    torch.testing.assert_close(cov, conv(x, "output_cov", 1, 0).sigmoid(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(bbox, conv(x, "output_bbox", 1, 0), atol=1e-5, rtol=1e-4)


PARTS = ("running_mean", "running_var", "weight", "bias")


def test_kernels_start_glorot_uniform_and_biases_at_zero():
    model = DetectNet(width=0.5)
    kernel = model.block_3b.conv_2.weight

    limit = (6 / (9 * 128 + 9 * 128)) ** 0.5
    assert limit * 0.99 < float(kernel.detach().abs().max()) <= limit
    assert all(not c.bias.detach().any() for _, c in model.convolutions())


def test_batch_norm_has_taos_epsilon_and_the_momentum_of_the_spec():
    norm = DetectNet(width=0.125, bn_momentum=0.95).bn_conv1

    assert isinstance(norm, nn.BatchNorm2d)
    assert (norm.eps, norm.momentum) == (1e-3, pytest.approx(0.05))


@pytest.mark.parametrize("quantized", [False, True])
def test_a_bias_before_batch_statistics_changes_the_mean_that_is_kept_and_nothing_else(quantized: bool):
    torch.manual_seed(0)
    model = biased(DetectNet(width=0.25))
    if quantized:
        prepare_qat(model)
    written = deepcopy(model)
    block, other = model.block_2a.train(), written.block_2a.train()
    inputs = torch.rand(2, block.conv_1.in_channels, 16, 16)

    y = other.q_relu_1(other.relu_1(other.bn_1(other.conv_1(inputs))))
    y = other.q_bn_2(other.bn_2(other.conv_2(y)))
    y = other.relu(other.q_add(y + other.q_shortcut(other.bn_shortcut(other.conv_shortcut(inputs)))))
    expected = other.q_relu(y)

    differ = (block(inputs) - expected).abs() > 1e-5 + 1e-4 * expected.abs()
    assert float(differ.float().mean()) <= (0.001 if quantized else 0)  # on a rounding's edge a level is not the next
    for name, value in other.state_dict().items():
        torch.testing.assert_close(block.state_dict()[name], value, atol=1e-4, rtol=1e-3, msg=name)


def test_a_bias_before_batch_statistics_has_no_gradient_and_outputs_can_be_added_up():
    torch.manual_seed(0)
    model = biased(DetectNet(width=0.125)).train()
    outputs = [output.sum() for _ in range(2) for output in model(torch.rand(2, 3, 32, 32))]

    sum(outputs).backward()

    assert all((c.bias.grad is None, c.weight.grad is not None) == (True, True) for _, c in model.convolutions())
    assert model.output_cov.bias.grad is not None


def test_a_bias_counts_where_the_statistics_are_kept_as_they_are():
    torch.manual_seed(0)
    model = biased(DetectNet(width=0.125)).eval()
    x = torch.rand(1, 3, 32, 32)
    before = model(x)[0]
    sum(output.sum() for output in model(x)).backward()

    assert all(bool(c.bias.grad.abs().any()) for _, c in model.convolutions())
    with torch.no_grad():
        model.block_4b.conv_2.bias += 1
    assert not torch.equal(model(x)[0], before)


def test_batch_norm_can_be_left_out():
    model = DetectNet(width=0.125, use_batch_norm=False)

    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert model.eval()(torch.rand(1, 3, 32, 32))[0].shape == (1, 1, 2, 2)


def test_coverage_is_a_share_and_both_outputs_are_single_precision_under_autocast():
    model = DetectNet(width=0.125).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        cov, bbox = model(torch.rand(1, 3, 64, 64))

    assert (cov.dtype, bbox.dtype) == (torch.float32, torch.float32)
    assert 0 <= float(cov.min()) <= float(cov.max()) <= 1


def test_width_scales_the_backbone_in_multiples_of_eight():
    layers = {name: c.out_channels for name, c in DetectNet(width=0.3).convolutions()}

    assert (layers["conv1"], layers["block_2a_conv_1"], layers["block_4b_conv_2"]) == (16, 40, 152)
    assert Architecture(width=0.01).out_channels("conv1", 64) == 16


def test_channels_by_name_build_a_pruned_network_which_an_architecture_describes():
    architecture = Architecture(width=0.25, channels={"conv1": 8, "block_1a_conv_1": 24})
    again = Architecture(**architecture.to_dict())
    layers = {name: c.out_channels for name, c in DetectNet(again).convolutions()}

    assert again == architecture
    assert (layers["conv1"], layers["block_1a_conv_1"], layers["block_1a_conv_2"]) == (8, 24, 16)


def test_an_identity_shortcut_refuses_channels_that_do_not_fit():
    with pytest.raises(SpecError, match="block_1b has an identity shortcut, so its 8 channels must be 16"):
        DetectNet(width=0.25, channels={"block_1b_conv_2": 8})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 50}, "resnet50 is not supported; choose one of resnet10, resnet18, resnet34"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"width": 0.0}, "width must be above 0"),
        ({"width": 4.5}, "width must be above 0 and at most 4"),
        ({"bn_momentum": 0.0}, "bn_momentum must be above 0 and below 1"),
        ({"bn_momentum": 1.0}, "bn_momentum must be above 0 and below 1"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, float], words: str):
    with pytest.raises(SpecError, match=words):
        Architecture(**options)  # type: ignore[arg-type]


def test_the_memory_order_does_not_change_the_result():
    model = DetectNet(width=0.125).eval()
    images = torch.rand(1, 3, 64, 64)
    before = model(images)

    after = channels_last(model)(images.contiguous(memory_format=torch.channels_last))

    assert model.block_1a.conv_1.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
