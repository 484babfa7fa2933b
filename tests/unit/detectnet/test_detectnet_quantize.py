from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.quantize import (
    ActivationQuantizer,
    QuantizedConv2d,
    activation_scales,
    fake_quantize,
    is_quantized,
    prepare_qat,
)
from aerodet.errors import SpecError


def quantized(**options: object) -> DetectNet:
    torch.manual_seed(0)
    return prepare_qat(DetectNet(**{"width": 0.125, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("all_projections", "scales"), [(False, 38), (True, 42)])
def test_resnet18_has_taos_number_of_scales(all_projections: bool, scales: int):
    model = quantized(all_projections=all_projections)

    assert len(activation_scales(model)) == scales
    assert sum(isinstance(m, ActivationQuantizer) for m in model.modules()) == scales


def test_scales_have_taos_tensor_names_in_the_order_of_the_network():
    names = list(activation_scales(quantized(layers=18)))

    assert names[:8] == [
        "input_1:0",
        "activation_1/Relu6:0",
        "block_1a_relu_1/Relu6:0",
        "block_1a_bn_2/batchnorm/add_1:0",
        "block_1a_bn_shortcut/batchnorm/add_1:0",
        "add_1/add:0",
        "block_1a_relu/Relu6:0",
        "block_1b_relu_1/Relu6:0",
    ]
    assert names[-2:] == ["add_8/add:0", "block_4b_relu/Relu6:0"]


def test_every_backbone_convolution_and_activation_is_replaced_and_the_heads_stay_float():
    model = quantized()

    assert all(type(layer) is QuantizedConv2d for _, layer in model.convolutions())
    assert type(model.output_cov) is type(model.output_bbox) is nn.Conv2d
    assert sum(type(m) is nn.ReLU for m in model.modules()) == 17
    assert isinstance(model.block_1b.q_shortcut, nn.Identity)  # an identity shortcut has no scale of its own
    assert isinstance(model.block_1a.q_shortcut, ActivationQuantizer)


def test_preparing_keeps_every_weight():
    torch.manual_seed(0)
    model = DetectNet(width=0.125)
    before = copy.deepcopy(model.state_dict())

    prepare_qat(model)

    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert is_quantized(model)


def test_a_quantised_model_cannot_be_prepared_again_and_a_float_one_has_no_scales():
    with pytest.raises(SpecError, match="already has fake quantisation"):
        prepare_qat(quantized())
    with pytest.raises(SpecError, match="no activation scales"):
        activation_scales(DetectNet(width=0.125))


# ------------------------------------------------------------------------------------------------- fake quantisation


def test_values_are_rounded_to_the_signed_eight_bit_grid_and_cut_at_its_ends():
    x = torch.tensor([0.0, 0.012, 0.016, -0.016, 1.27, 1.4, -1.27, -5.0])

    expected = torch.tensor([0.0, 0.01, 0.02, -0.02, 1.27, 1.27, -1.27, -1.28])
    torch.testing.assert_close(fake_quantize(x, torch.tensor(1.27)), expected)


def test_an_extent_of_zero_gives_zeros_not_nan():
    quantised = fake_quantize(torch.tensor([0.0, 1.0, -2.0]), torch.tensor(0.0))

    assert torch.allclose(quantised, torch.zeros(3), atol=1e-30)


def test_gradients_pass_straight_through_also_where_values_are_cut():
    x = torch.tensor([0.3, 5.0, -7.0], requires_grad=True)

    (fake_quantize(x, torch.tensor(1.0)) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()

    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


def test_a_kernel_is_quantised_as_one_tensor_by_its_own_extent():
    model = quantized()
    layer = model.block_2a.conv_2
    with torch.no_grad():
        layer.weight[0] *= 40  # a per-channel quantiser would keep the other filters fine
        layer.bias.uniform_(-1, 1)
    kernel = layer.weight.detach()
    step = kernel.abs().max() / 127

    x = torch.rand(1, layer.in_channels, 5, 5)
    expected = nn.functional.conv2d(x, (kernel / step).round() * step, layer.bias, padding=1)

    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-4)
    layer(x).sum().backward()
    assert layer.weight.grad is not None


# ------------------------------------------------------------------------------------------------- activation scales


def test_the_scale_is_the_zero_debiased_moving_average_of_the_absolute_maximum():
    quantizer = ActivationQuantizer().train()
    biased = 0.0

    for step, extent in enumerate([3.0, 5.0, 1.0, 8.0], start=1):
        quantizer(torch.tensor([0.1, -extent]))
        biased -= (biased - extent) * (1 - 0.999)
        assert float(quantizer.extent) == pytest.approx(biased / (1 - 0.999**step), rel=1e-4)


def test_the_first_batch_sets_the_scale_and_before_it_there_is_none():
    quantizer = ActivationQuantizer()
    assert float(quantizer.extent) == 0.0

    quantizer.train()(torch.tensor([2.5]))
    assert float(quantizer.extent) == pytest.approx(2.5)


def test_in_evaluation_the_stored_scale_is_used_and_does_not_move():
    quantizer = ActivationQuantizer().train()
    quantizer(torch.tensor([1.27]))

    out = quantizer.eval()(torch.tensor([100.0, 0.014]))

    assert out.tolist() == pytest.approx([1.27, 0.01], abs=1e-5)
    assert float(quantizer.extent) == pytest.approx(1.27)


def test_activations_of_a_quantised_network_lie_on_the_grid_of_their_scale():
    model = quantized(layers=10)
    model.train()(torch.rand(2, 3, 64, 64))
    seen: dict[str, torch.Tensor] = {}
    model.block_1a.q_add.register_forward_hook(lambda module, args, output: seen.update(add=output.detach()))

    model.eval()(torch.rand(2, 3, 64, 64))

    step = activation_scales(model)["add_1/add:0"] / 127
    levels = seen["add"] / step
    assert float((levels - levels.round()).abs().max()) < 1e-2
    assert len(levels.round().unique()) <= 256
