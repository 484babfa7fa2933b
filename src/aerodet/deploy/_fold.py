"""Convolutions as they are deployed: batch normalisation folded in, kernels in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["FoldedConv", "fold", "four_columns"]

_LEVELS = 127
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class FoldedConv:
    """A convolution with its batch normalisation folded in.

    Args:
        kernel: float32 [out, in, kh, kw].
        bias: float32 [out].
        integers: int8 [out, in, kh, kw].
        scales: float32 [out], positive; ``integers * scales`` is the folded fake-quantised kernel.
        strides: pixels, down and right.
        pads: pixels at the top, left, bottom and right.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    integers: NDArray[np.int8]
    scales: NDArray[np.float32]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


def fold(conv: nn.Conv2d, norm: nn.Module | None = None) -> FoldedConv:
    """Fold a batch normalisation into its convolution, keeping the integers of quantisation-aware training.

    Training rounds the *unfolded* kernel to one scale per tensor, ``s = max|w| / 127``. Folding multiplies output
    channel c by ``g = γ/√(σ²+ε)``; the integers stay what they were when the channel's scale becomes ``s·|g|`` and the
    sign of g moves into them. The deployed kernel then *is* the fake-quantised one, not a second rounding of it.

    Args:
        conv: a convolution with equal strides and paddings.
        norm: its batch normalisation; None or an identity folds nothing.
    """
    weight = conv.weight.detach().cpu()
    gain = torch.ones(conv.out_channels, dtype=torch.float64)
    bias = torch.zeros_like(gain) if conv.bias is None else conv.bias.detach().cpu().double()
    if isinstance(norm, nn.BatchNorm2d):
        mean, variance = (cast(Tensor, t).cpu().double() for t in (norm.running_mean, norm.running_var))
        gain = norm.weight.detach().cpu().double() / (variance + norm.eps).sqrt()
        bias = (bias - mean) * gain + norm.bias.detach().cpu().double()
    step = (weight.abs().amax() / _LEVELS).clamp_min(_TINY)
    rounded = torch.round(weight / step)  # in float32, as fake_quantize does it
    per_channel = (slice(None), None, None, None)
    return FoldedConv(
        kernel=(weight.double() * gain[per_channel]).numpy().astype(np.float32),
        bias=bias.numpy().astype(np.float32),
        integers=(rounded * gain.sign()[per_channel]).numpy().astype(np.int8),
        scales=(step.double() * gain.abs()).clamp_min(_TINY).numpy().astype(np.float32),
        strides=(conv.stride[0],) * 2,
        pads=(cast(int, conv.padding[0]),) * 4,
    )


def four_columns(conv: FoldedConv) -> FoldedConv:
    """Rewrite the 7×7, stride-2 convolution on RGB as one that takes four image columns and gives two at each step.

    With the image seen as [N, 12, H, W/4] (channel = 3 · column + colour) and the result as [N, 2·out, H/2, W/4]
    (channel = out · column + c), it is a 7×3 convolution with the same products and sums, and more zeros.

    Args:
        conv: kernel [out, 3, 7, 7], stride 2, padding 3.
    """

    def regroup(kernel: NDArray[Any]) -> NDArray[Any]:
        out, colours, height, width = kernel.shape
        wide = np.zeros((2, out, 4, colours, height, 3), kernel.dtype)
        for half in range(2):
            for tap in range(width):  # reads column 2·half + tap - 3, counted from the step's first
                step, column = divmod(2 * half + tap - 3, 4)
                wide[half, :, column, :, :, step + 1] = kernel[..., tap]
        return wide.reshape(2 * out, 4 * colours, height, 3)

    return replace(
        conv,
        kernel=regroup(conv.kernel),
        integers=regroup(conv.integers),
        bias=np.tile(conv.bias, 2),
        scales=np.tile(conv.scales, 2),
        strides=(2, 1),
        pads=(3, 1, 3, 1),
    )
