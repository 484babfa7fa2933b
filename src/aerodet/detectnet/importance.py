"""Other measures of a channel's importance than TAO's L2 norm of its filter, for :func:`aerodet.detectnet.prune.prune`.

Each returns one score a channel for every convolution of the backbone; the rule that follows (normalise per layer,
merge over the group, threshold, granularity) is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from aerodet.detectnet.augment import clip_boxes
from aerodet.detectnet.dataset import Batch, in_unit
from aerodet.detectnet.losses import CostWeights
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.settings import Settings
from aerodet.detectnet.targets import TargetMaker
from aerodet.errors import DataError, SpecError

__all__ = ["Scores", "bn_scores", "taylor_scores"]

Scores = dict[str, Tensor]


def bn_scores(model: DetectNet) -> Scores:
    """Return the absolute scale of each channel's batch normalisation, by TAO layer name.

    Source: Liu et al. 2017, arXiv:1708.06519.

    Raises:
        SpecError: the model has no batch normalisation.
    """
    scores = {}
    for name, norm in _norms(model).items():
        if not isinstance(norm, nn.BatchNorm2d):
            raise SpecError("importance 'bn' needs a network with batch normalisation; choose 'l2' or 'taylor'")
        scores[name] = norm.weight.detach().abs()
    return scores


def taylor_scores(model: DetectNet, settings: Settings, batches: Iterable[Batch]) -> Scores:
    """Return how much the loss would change without each channel, to first order, by TAO layer name.

    The score is the square of the sum of weight times gradient over the channel's filter, summed over the batches.
    Source: Molchanov et al. 2019, arXiv:1906.10771, equation 8.

    Args:
        model: left as it was, but for its gradients, which are cleared.
        settings: how targets are made and losses weighed.
        batches: labelled pictures on the model's device.

    Raises:
        DataError: there is no batch.
    """
    device = model.conv1.weight.device
    make = TargetMaker(
        settings.size,
        settings.shapes,
        deadzone_radius=settings.deadzone_radius,
        scale=settings.box_scale,
        offset=settings.box_offset,
    )
    costs = CostWeights(settings.costs, auto=False).to(device)
    layers = dict(model.convolutions())
    scores = {name: torch.zeros(layer.out_channels, device=device) for name, layer in layers.items()}
    training, seen = model.training, False
    model.eval()  # the statistics are those that the pruned network will have
    for batch in batches:
        seen = True
        model.zero_grad(set_to_none=True)
        cov, bbox = model(in_unit(batch.images))
        loss, _ = costs(cov, bbox, make(*clip_boxes(batch.boxes, batch.labels, settings.size)))
        loss.backward()  # type: ignore[no-untyped-call]
        for name, layer in layers.items():
            if layer.weight.grad is not None:
                scores[name] += (layer.weight.detach() * layer.weight.grad).flatten(1).sum(dim=1) ** 2
    model.zero_grad(set_to_none=True)
    model.train(training)
    if not seen:
        raise DataError("importance 'taylor' needs labelled pictures, and there are none")
    return scores


def _norms(model: DetectNet) -> dict[str, nn.Module | None]:
    """Return the normalisation behind each convolution, by the convolution's TAO layer name."""
    found: dict[str, nn.Module | None] = {"conv1": model.bn_conv1}
    for name, block in model.blocks():
        found[f"{name}_conv_1"], found[f"{name}_conv_2"] = block.bn_1, block.bn_2
        if block.conv_shortcut is not None:
            found[f"{name}_conv_shortcut"] = block.bn_shortcut
    return found
