"""Reaching a size: a network of so many parameters, in channel numbers that the target's INT8 kernels like.

::

    smaller = prune_to_count(model, PruneOptions(granularity=GRANULARITY["cpu"]), 444_000)
    width = narrow_width(Architecture(), 444_000)      the network of that size to be trained from scratch

TAO's rule has one threshold for all layers and rounds what is left up, so it lands below a wanted size by as much as
the rounding happens to take. Here the channels of a group are taken in blocks, the most important block of the whole
network first, until none fits any more: the same order, stopped as near to the size as one block allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aerodet.detectnet.model import Architecture, DetectNet
from aerodet.detectnet.prune import Group, PruneOptions, cut, ranked_groups
from aerodet.errors import SpecError

__all__ = ["GRANULARITY", "narrow_width", "parameter_count", "prune_to_count", "smallest_count"]

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


def parameter_count(architecture: Architecture) -> int:
    """Return how many parameters a network has, as :func:`aerodet.detectnet.model.count_parameters` counts them."""
    width = architecture.out_channels("conv1", 64)
    total = _layer(architecture, 7, 3, width)
    for name, full, _, projected in architecture.blocks():
        middle = architecture.out_channels(f"{name}_conv_1", full)
        out = architecture.out_channels(f"{name}_conv_2", full)
        total += _layer(architecture, 3, width, middle) + _layer(architecture, 3, middle, out)
        total += _layer(architecture, 1, width, out) if projected else 0
        width = out
    return total + 5 * architecture.num_classes * (width + 1)


def smallest_count(architecture: Architecture, options: PruneOptions) -> int:
    """Return the fewest parameters that pruning can leave of a network."""
    least = {name: min(channels, options.min_filters) for name, channels in _layers(architecture).items()}
    return parameter_count(replace(architecture, channels=least))


def prune_to_count(
    model: DetectNet, options: PruneOptions, count: int, scores: Mapping[str, Tensor] | None = None
) -> DetectNet:
    """Return a smaller model with at most ``count`` parameters, and as near to it as one block of channels allows.

    A group keeps ``min_filters`` channels, or a multiple of the granularity, or all; ``threshold`` is not used.

    Args:
        model: the float model, left as it is.
        options: granularity, least filters, normaliser, criterion and excluded layers.
        count: parameters at most.
        scores: of every convolution's channels [C], by TAO layer name; by default their L2 norms.

    Raises:
        SpecError: even the smallest network has more parameters, or the model has fake quantisation.
    """
    ranked = [
        _Ranked.of(group, values, options, whole=whole)
        for group, values, whole in ranked_groups(model, options, scores)
    ]
    least = _count(model, ranked)
    if least > count:
        raise SpecError(
            f"pruning cannot leave {count:,} parameters: the least is {least:,}, because every layer keeps "
            f"{options.min_filters} filters; ask for a larger network, or prune one of fewer layers"
        )
    growing = [group for group in ranked if group.more]
    while growing:
        best = max(growing, key=lambda group: group.next_value)  # the first of equals, in the network's order
        best.taken += 1
        if _count(model, ranked) > count:
            best.taken -= 1
            growing.remove(best)  # the rest only grows, so it will not fit later either
        elif not best.more:
            growing.remove(best)
    return cut(model, {name: group.kept for group in ranked for name in group.layers})


def narrow_width(architecture: Architecture, count: int) -> float:
    """Return the width at which a network of this kind, with nothing cut out, has about ``count`` parameters.

    Args:
        architecture: the kind; its width and its channels do not matter.
        count: wanted parameters; the nearest by ratio is chosen.
    """
    counts = {}
    for step in range(1, 4 * _WIDTHS + 1):
        width = step / _WIDTHS
        counts[width] = parameter_count(replace(architecture, width=width, channels={}))
    return min(counts, key=lambda width: (max(counts[width] / count, count / counts[width]), width))


@dataclass
class _Ranked:
    """A group whose channels are taken in blocks, the most important first."""

    layers: Group
    order: Tensor
    values: Tensor  # in this order
    sizes: list[int]  # channels that it may have
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


def _count(model: DetectNet, ranked: list[_Ranked]) -> int:
    channels = {name: group.channels for group in ranked for name in group.layers}
    return parameter_count(replace(model.architecture, channels=channels))


def _layers(architecture: Architecture) -> dict[str, int]:
    """Return the channels of every convolution of the backbone, by its TAO layer name."""
    found = {"conv1": architecture.out_channels("conv1", 64)}
    for name, full, _, projected in architecture.blocks():
        for part in ("conv_1", "conv_2", *(("conv_shortcut",) if projected else ())):
            found[f"{name}_{part}"] = architecture.out_channels(f"{name}_{part}", full)
    return found


def _layer(architecture: Architecture, kernel: int, inputs: int, outputs: int) -> int:
    """Return the parameters of a convolution with bias, and of the batch normalisation behind it."""
    return outputs * (kernel * kernel * inputs + 1 + (4 if architecture.use_batch_norm else 0))
