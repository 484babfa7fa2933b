"""Reaching a size: a network of so many parameters, in channel numbers that the target's INT8 kernels like.

::

    smaller = prune_to_count(model, PruneOptions(granularity=GRANULARITY["cpu"]), 444_000)
    narrow = narrow_architecture(Architecture(), 444_000)      the network of that size to be trained from scratch
    smaller = prune_to_count(..., products=product_count(narrow))      one that makes no more products than that

TAO's rule has one threshold for all layers and rounds what is left up, so it lands below a wanted size by as much as
the rounding happens to take. Here the channels of a group are taken in blocks, the most important block of the whole
network first, until none fits any more: the same order, stopped as near to the size as one block allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aerodet.detectnet.model import Architecture, DetectNet
from aerodet.detectnet.prune import Group, PruneOptions, cut, ranked_groups
from aerodet.errors import SpecError

__all__ = [
    "GRANULARITY",
    "narrow_architecture",
    "parameter_count",
    "product_count",
    "prune_to_count",
    "smallest_architecture",
]

GRANULARITY: Mapping[str, int] = {
    # ONNX Runtime's INT8 kernels with AVX-512 VNNI work on 16 output channels at once: from one multiple
    # of 16 to the next, the first eight channels cost about twice what the second eight do (table in docs/compress.md).
    "cpu": 16,
    # TensorRT keeps INT8 activations for its tensor core kernels in the format CHW32, 32 channels to a vector, and pads
    # what is no multiple of it. Source: TensorRT's API reference, TensorFormat.CHW32.
    "sm_80": 32,
    "sm_90": 32,
}
_WIDTHS = 64  # steps of the width up to 1: the last stage's 512 channels in eights, to which the model rounds
# What all products of a network cost, where the most important channel is worth 1.
_PRICES = (0.0, *(2 ** (n / 4) for n in range(49)))


def parameter_count(architecture: Architecture) -> int:
    """Return how many parameters a network has, as :func:`aerodet.detectnet.model.count_parameters` counts them."""
    beside = 1 + (4 if architecture.use_batch_norm else 0)  # the bias, and the batch normalisation behind
    *backbone, heads = _convolutions(architecture)
    return sum(layer.weights + beside * layer.outputs for layer in backbone) + heads.weights + heads.outputs


def product_count(architecture: Architecture) -> float:
    """Return how many products (multiply-accumulates) the convolutions of a network make for a pixel of its input."""
    return sum(layer.weights / layer.stride**2 for layer in _convolutions(architecture))


def smallest_architecture(architecture: Architecture, options: PruneOptions) -> Architecture:
    """Return the smallest network that pruning can leave of one."""
    least = {name: min(channels, options.min_filters) for name, channels in _layers(architecture).items()}
    return replace(architecture, channels=least)


def prune_to_count(
    model: DetectNet,
    options: PruneOptions,
    count: int,
    scores: Mapping[str, Tensor] | None = None,
    *,
    products: float | None = None,
) -> DetectNet:
    """Return a smaller model with at most ``count`` parameters, and as near to it as one block of channels allows.

    A group keeps ``min_filters`` channels, or a multiple of the granularity, or all; ``threshold`` is not used.

    Args:
        model: the float model, left as it is.
        options: granularity, least filters, normaliser, criterion and excluded layers.
        count: parameters at most.
        scores: of every convolution's channels [C], by TAO layer name; by default their L2 norms.
        products: for a pixel at most, see :func:`product_count`. Importance alone keeps more of the first layers, which
            have few parameters and make many products, than speed allows. So each channel's importance is lowered by
            its share of the products, times the lowest price at which the limit does not stand in the way of the size,
            or, if it always does, the price at which most parameters fit.

    Raises:
        SpecError: even the smallest network has more parameters or makes more products, a score is not finite, or the
            model has fake quantisation.
    """
    blocks = _Blocks(model, options, scores)
    least = parameter_count(blocks.shape)
    if least > count:
        raise SpecError(
            f"pruning cannot leave {count:,} parameters: the least is {least:,}, because every layer keeps "
            f"{options.min_filters} filters; ask for a larger network, or prune one of fewer layers"
        )
    if products is None:
        blocks.take(count)
        return cut(model, blocks.kept())
    fewest = product_count(blocks.shape)
    if not products >= fewest:
        raise SpecError(
            f"pruning cannot leave {products:g} products a pixel: the fewest are {fewest:g}, because every layer keeps "
            f"{options.min_filters} filters; allow more, or prune a network of fewer layers"
        )
    blocks.take_within(count, products)
    return cut(model, blocks.kept())


def narrow_architecture(architecture: Architecture, count: int) -> Architecture:
    """Return the network of this kind, with nothing cut out, whose width gives it about ``count`` parameters.

    Args:
        architecture: the kind; its width and its channels do not matter.
        count: wanted parameters; the nearest by ratio is chosen.
    """
    counts = {}
    for step in range(1, 4 * _WIDTHS + 1):
        narrow = replace(architecture, width=step / _WIDTHS, channels={})
        counts[narrow.width] = parameter_count(narrow)
    width = min(counts, key=lambda width: (max(counts[width] / count, count / counts[width]), width))
    return replace(architecture, width=width, channels={})


class _Blocks:
    """The channels of a model in blocks, of which the most important are taken first."""

    def __init__(self, model: DetectNet, options: PruneOptions, scores: Mapping[str, Tensor] | None) -> None:
        self._whole = model.architecture
        ranked = ranked_groups(model, options, scores)
        self._groups = [_Ranked.of(layers, values, options, whole=whole) for layers, values, whole in ranked]
        full = {name: group.sizes[-1] for group in self._groups for name in group.layers}
        if not all(group.values.isfinite().all() for group in self._groups):
            raise SpecError("a channel's importance is not a finite number; look for broken weights in the model")
        self._scale = max(float(group.values[0]) for group in self._groups) or 1.0
        products = product_count(self._whole)
        for group in self._groups:
            without = replace(self._whole, channels={**full, **dict.fromkeys(group.layers, 0)})
            group.share = (1 - product_count(without) / products) / group.sizes[-1]

    @property
    def shape(self) -> Architecture:
        """What has been taken, as a network."""
        return replace(self._whole, channels={name: group.channels for group in self._groups for name in group.layers})

    def take(self, count: int, products: float = math.inf, price: float = 0.0) -> bool:
        """Begin anew, and take blocks until none fits; say whether ``count`` alone stood in the way."""
        for group in self._groups:
            group.taken = 0
        growing, free = [group for group in self._groups if group.more], True
        price *= self._scale
        while growing:
            best = max(growing, key=lambda group: group.next_value - price * group.share)  # the first of equals
            best.taken += 1
            large, slow = parameter_count(self.shape) > count, product_count(self.shape) > products
            if large or slow:
                best.taken -= 1
                free = free and large
            if large or slow or not best.more:
                growing.remove(best)  # the rest only grows, so what does not fit now will not later either
        return free

    def take_within(self, count: int, products: float) -> None:
        """Take blocks at the lowest price at which products do not stand in the way, or at which most fit."""
        reached = {}
        for price in _PRICES:
            if self.take(count, products, price):
                return
            reached[price] = parameter_count(self.shape)
        self.take(count, products, max(reached, key=lambda price: reached[price]))

    def kept(self) -> dict[str, Tensor]:
        """Return the indices of the channels that were taken, by layer."""
        return {name: group.kept for group in self._groups for name in group.layers}


@dataclass
class _Ranked:
    """A group whose channels are taken in blocks, the most important first."""

    layers: Group
    order: Tensor
    values: Tensor  # in this order
    sizes: list[int]  # channels that it may have
    share: float = 0.0  # of the model's products, that one of its channels accounts for
    taken: int = 0

    @classmethod
    def of(cls, layers: Group, values: Tensor, options: PruneOptions, *, whole: bool) -> _Ranked:
        total, step = len(values), options.granularity
        least = min(total, options.min_filters)
        sizes = [total] if whole else sorted({least, *range(-(-(least + 1) // step) * step, total, step), total})
        order = torch.argsort(values, descending=True, stable=True)
        return cls(layers, order, values[order], sizes)

    @property
    def channels(self) -> int:
        return self.sizes[self.taken]

    @property
    def more(self) -> bool:
        return self.taken + 1 < len(self.sizes)

    @property
    def next_value(self) -> float:
        """The importance of the strongest channel of the next block: TAO's threshold would take the block for it."""
        return float(self.values[self.channels])

    @property
    def kept(self) -> Tensor:
        return self.order[: self.channels].sort().values


def _layers(architecture: Architecture) -> dict[str, int]:
    """Return the channels of every convolution of the backbone, by its TAO layer name."""
    found = {"conv1": architecture.out_channels("conv1", 64)}
    for name, full, _, projected in architecture.blocks():
        for part in ("conv_1", "conv_2", *(("conv_shortcut",) if projected else ())):
            found[f"{name}_{part}"] = architecture.out_channels(f"{name}_{part}", full)
    return found


@dataclass(frozen=True)
class _Convolution:
    kernel: int
    inputs: int
    outputs: int
    stride: int  # pixels of the network's input from one output to the next

    @property
    def weights(self) -> int:
        return self.kernel**2 * self.inputs * self.outputs


def _convolutions(architecture: Architecture) -> Iterator[_Convolution]:
    """Yield a network's convolutions, the two heads last and as one."""
    channels, stride = architecture.out_channels("conv1", 64), 2
    yield _Convolution(7, 3, channels, stride)
    for name, full, step, projected in architecture.blocks():
        stride *= step
        middle = architecture.out_channels(f"{name}_conv_1", full)
        out = architecture.out_channels(f"{name}_conv_2", full)
        yield _Convolution(3, channels, middle, stride)
        yield _Convolution(3, middle, out, stride)
        if projected:
            yield _Convolution(1, channels, out, stride)
        channels = out
    yield _Convolution(1, channels, 5 * architecture.num_classes, stride)
