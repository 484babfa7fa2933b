"""Channel pruning by TAO's rule: groups, their importance, and the cut.

A *group* is the set of convolutions that must keep the same channels because a residual sum joins them; every other
convolution is a group of its own. The *importance* of a channel is the L2 norm of its filter, or another score (see
:mod:`aerodet.detectnet.importance`), normalised per layer and merged over the group. :func:`prune` cuts what is not
above the threshold and returns a smaller model.

Source: ``nvidia_tao_tf1/core/pruning/pruning.py``.

Example:
    >>> smaller = prune(model, PruneOptions(threshold=0.5))
    >>> count_parameters(smaller)["total"] / count_parameters(model)["total"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from aerodet.detectnet.model import DetectNet, count_parameters
from aerodet.detectnet.quantize import is_quantized
from aerodet.errors import SpecError

__all__ = [
    "Group",
    "PruneOptions",
    "cut",
    "groups",
    "importance",
    "kept_channels",
    "l2_scores",
    "prune",
    "prune_to",
    "ranked_groups",
]

Group = tuple[str, ...]
_HALVINGS = 24
_TINY = torch.finfo(torch.float32).tiny  # a layer of zeros has importance 0, not NaN


@dataclass(frozen=True)
class PruneOptions:
    """The options of ``tao model detectnet_v2 prune``.

    Args:
        threshold: ``-pth``: channels whose importance is above it survive.
        normalizer: ``-n``: ``max`` divides a layer's norms by their maximum, ``L2`` by their root mean square over √n.
        criterion: ``-eq``: how a group merges its layers' norms: ``union`` (maximum), ``intersection`` (minimum),
            ``arithmetic_mean`` or ``geometric_mean``.
        granularity: ``-pg``: the number kept is rounded up to a multiple of it.
        min_filters: ``-nf``: at least so many stay.
        excluded: ``-el``: TAO layer names that stay whole, together with their group.

    Raises:
        SpecError: a value is out of range.
    """

    threshold: float = 0.1
    normalizer: Literal["max", "L2"] = "max"
    criterion: Literal["union", "intersection", "arithmetic_mean", "geometric_mean"] = "union"
    granularity: int = 8
    min_filters: int = 16
    excluded: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.threshold < 0:
            raise SpecError(f"the pruning threshold must not be negative, not {self.threshold}")
        if self.normalizer not in ("max", "L2"):
            raise SpecError(f"the pruning normalizer is 'max' or 'L2', not '{self.normalizer}'")
        if self.criterion not in _MERGE:
            raise SpecError(f"the equalization criterion is one of {', '.join(_MERGE)}, not '{self.criterion}'")
        if self.granularity < 1 or self.min_filters < 1:
            raise SpecError("pruning granularity and min_filters must be at least 1")


_MERGE: dict[str, Callable[[Tensor], Tensor]] = {
    "union": lambda norms: norms.amax(dim=0),
    "intersection": lambda norms: norms.amin(dim=0),
    "arithmetic_mean": lambda norms: norms.mean(dim=0),
    "geometric_mean": lambda norms: norms.log().mean(dim=0).exp(),
}


def groups(model: DetectNet) -> list[Group]:
    """Return the groups of TAO layer names, in the order of the network."""
    found: list[Group] = [("conv1",)]
    joined: list[str] = []  # layers whose outputs one chain of residual sums joins
    for name, block in model.blocks():
        found.append((f"{name}_conv_1",))
        if block.conv_shortcut is not None and joined:
            found.append(tuple(joined))  # a projection on the shortcut starts another chain
            joined = []
        joined.append(f"{name}_conv_2")
        if block.conv_shortcut is not None:
            joined.append(f"{name}_conv_shortcut")
        elif len(joined) == 1:
            raise SpecError(f"{name} begins the network with an identity shortcut, which has no group")
    return [*found, tuple(joined)]


def l2_scores(model: DetectNet) -> dict[str, Tensor]:
    """Return the L2 norm of each filter [C], by TAO layer name: TAO's measure."""
    return {name: layer.weight.detach().float().flatten(1).norm(dim=1) for name, layer in model.convolutions()}


def importance(scores: Sequence[Tensor], options: PruneOptions) -> Tensor:
    """Return the importance [C] of channels that several layers share, each with its own scores [C]."""
    norms = []
    for norm in scores:
        if options.normalizer == "max":
            norms.append(norm / norm.max().clamp_min(_TINY))
        else:
            norms.append(norm * len(norm) / norm.norm().clamp_min(_TINY))
    return _MERGE[options.criterion](torch.stack(norms))


def kept_channels(values: Tensor, options: PruneOptions) -> Tensor:
    """Return the indices of the channels to keep, rising, by importance ``values`` [C]."""
    total = len(values)
    count = max(min(options.min_filters, total), int((values > options.threshold).sum()))
    count = min(-(-count // options.granularity) * options.granularity, total)
    order = torch.argsort(values, descending=True, stable=True)
    return order[:count].sort().values


def prune(model: DetectNet, options: PruneOptions, scores: Mapping[str, Tensor] | None = None) -> DetectNet:
    """Return a smaller model that computes with the kept channels only; ``model`` is left as it is.

    Args:
        model: the float model.
        options: what is cut.
        scores: of every convolution's channels [C], by TAO layer name; by default :func:`l2_scores`.

    Raises:
        SpecError: an excluded layer does not exist, or the model has fake quantisation (prune before QAT).
    """
    kept: dict[str, Tensor] = {}
    for group, values, whole in ranked_groups(model, options, scores):
        indices = torch.arange(len(values)) if whole else kept_channels(values, options)
        kept.update(dict.fromkeys(group, indices))
    return cut(model, kept)


def ranked_groups(
    model: DetectNet, options: PruneOptions, scores: Mapping[str, Tensor] | None = None
) -> list[tuple[Group, Tensor, bool]]:
    """Return every group with the importance [C] of its channels, on the CPU, and whether it has to stay whole.

    Raises:
        SpecError: see :func:`prune`.
    """
    if is_quantized(model):
        raise SpecError("prune the float model: this one already has fake quantisation")
    unknown = set(options.excluded) - {name for name, _ in model.convolutions()}
    if unknown:
        raise SpecError(f"excluded layers that the model does not have: {', '.join(sorted(unknown))}")
    scores = scores or l2_scores(model)
    return [
        (
            group,
            importance([scores[name] for name in group], options).cpu(),
            any(name in options.excluded for name in group),
        )
        for group in groups(model)
    ]


def cut(model: DetectNet, kept: Mapping[str, Tensor]) -> DetectNet:
    """Return a copy of a model that has the kept channels only.

    Args:
        model: the float model, left as it is.
        kept: rising indices of the output channels to keep, for every convolution by its TAO layer name.
    """
    channels = {name: len(indices) for name, indices in kept.items()}
    smaller = DetectNet(replace(model.architecture, channels=channels))
    _copy(model, smaller, kept)
    return smaller.to(next(model.parameters()).device).train(model.training)


def prune_to(
    model: DetectNet, options: PruneOptions, keep: float, scores: Mapping[str, Tensor] | None = None
) -> tuple[DetectNet, float]:
    """Prune with the lowest threshold that leaves at most the share ``keep`` of the parameters.

    Args:
        model: the float model.
        options: everything but the threshold, which is searched by halving.
        keep: share of the parameters, above 0 and below 1.
        scores: see :func:`prune`.

    Returns:
        The smaller model and the threshold, which :func:`prune` and TAO's ``-pth`` take.

    Raises:
        SpecError: even the highest threshold leaves more; granularity and ``min_filters`` are in the way.
    """
    wanted = keep * count_parameters(model)["total"]
    low, high = 0.0, float(max(len(p) for p in model.parameters())) if options.normalizer == "L2" else 1.0
    scores = scores or l2_scores(model)
    smallest = prune(model, replace(options, threshold=high), scores)
    least = count_parameters(smallest)["total"]
    if least > wanted:
        share = least / count_parameters(model)["total"]
        raise SpecError(
            f"no threshold leaves only {keep:.0%} of the parameters: the least is {share:.0%}, because every layer "
            f"keeps {options.min_filters} filters in multiples of {options.granularity}; raise keep or lower these"
        )
    best = smallest
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        smaller = prune(model, replace(options, threshold=middle), scores)
        if count_parameters(smaller)["total"] <= wanted:
            high, best = middle, smaller
        else:
            low = middle
    return best, high


def _copy(source: DetectNet, target: DetectNet, kept: Mapping[str, Tensor]) -> None:
    """Copy the kept slices of every tensor."""
    _copy_conv(source.conv1, target.conv1, kept["conv1"], torch.arange(3))
    _copy_norm(source.bn_conv1, target.bn_conv1, kept["conv1"])
    inputs = kept["conv1"]
    for (name, block), (_, small) in zip(source.blocks(), target.blocks(), strict=True):
        middle, outputs = kept[f"{name}_conv_1"], kept[f"{name}_conv_2"]
        _copy_conv(block.conv_1, small.conv_1, middle, inputs)
        _copy_norm(block.bn_1, small.bn_1, middle)
        _copy_conv(block.conv_2, small.conv_2, outputs, middle)
        _copy_norm(block.bn_2, small.bn_2, outputs)
        if block.conv_shortcut is not None and small.conv_shortcut is not None:
            _copy_conv(block.conv_shortcut, small.conv_shortcut, outputs, inputs)
            _copy_norm(block.bn_shortcut, small.bn_shortcut, outputs)
        inputs = outputs
    for name in ("output_bbox", "output_cov"):
        head: nn.Conv2d = getattr(source, name)
        _copy_conv(head, getattr(target, name), torch.arange(head.out_channels), inputs)


def _copy_conv(source: nn.Conv2d, target: nn.Conv2d, outputs: Tensor, inputs: Tensor) -> None:
    with torch.no_grad():
        target.weight.copy_(source.weight[outputs][:, inputs])
        if source.bias is not None and target.bias is not None:
            target.bias.copy_(source.bias[outputs])


def _copy_norm(source: nn.Module | None, target: nn.Module | None, channels: Tensor) -> None:
    if isinstance(source, nn.BatchNorm2d) and isinstance(target, nn.BatchNorm2d):
        wanted = target.state_dict()
        for name, value in source.state_dict().items():
            wanted[name] = value if value.dim() == 0 else value[channels]
        target.load_state_dict(wanted)
