"""DetectNet_v2's two losses, their automatic weighting, and the regulariser.

Source: ``nvidia_tao_tf1/cv/detectnet_v2/objectives/`` and ``cost_function/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aerodet.detectnet.targets import Targets

if TYPE_CHECKING:
    from aerodet.detectnet.settings import TrainingSettings

__all__ = ["ClassCost", "CostWeights", "bbox_loss", "cov_loss", "regularize"]

_EPSILON = 1e-5


@dataclass(frozen=True)
class ClassCost:
    """The weights of one class (``cost_function_config.target_classes``).

    Args:
        class_weight: its share among the classes.
        foreground_weight: weight of covered cells in the coverage loss; background cells weigh one minus it.
        initial: starting weights of the coverage and box losses.
        target: what auto-weighting steers the two losses' ratio to.
    """

    class_weight: float = 1.0
    foreground_weight: float = 0.05
    initial: tuple[float, float] = (1.0, 10.0)
    target: tuple[float, float] = (1.0, 10.0)


def cov_loss(predicted: Tensor, target: Tensor, foreground_weight: Tensor) -> Tensor:
    """Return the weighted cross-entropy of coverage, one value a class.

    Args:
        predicted: [N, C, h, w] in 0..1.
        target: [N, C, h, w] in 0..1; a cell under 0 counts neither way.
        foreground_weight: [C]; cells whose target is above 0.5 weigh this, all others one minus it.

    Returns:
        [C], the mean over images and cells.
    """
    foreground = foreground_weight.view(1, -1, 1, 1)
    weight = torch.where(target > 0.5, foreground, 1 - foreground) * (target >= 0)
    entropy = target * torch.log(predicted + _EPSILON) + (1 - target) * torch.log(1 - predicted + _EPSILON)
    return -(weight * entropy).mean(dim=(0, 2, 3))


def bbox_loss(predicted: Tensor, target: Tensor, cov_norm: Tensor) -> Tensor:
    """Return the coverage-weighted absolute error of the box distances, one value a class.

    Args:
        predicted: [N, 4C, h, w].
        target: [N, 4C, h, w].
        cov_norm: [N, C, h, w], see :class:`~aerodet.detectnet.targets.Targets`.

    Returns:
        [C], the mean over images, the four sides and cells.
    """
    n, classes, h, w = cov_norm.shape
    error = (predicted - target).abs().view(n, classes, 4, h, w)
    return (error * cov_norm[:, :, None]).mean(dim=(0, 2, 3, 4))


class CostWeights:
    """The two losses' weights per class, steered after every epoch so that no loss drowns the other.

    Its tensors stay where they are in memory and are changed in place, as a recorded step reads them there.

    Args:
        classes: one :class:`ClassCost` per class, in channel order.
        auto: re-weight at the end of every epoch (``enable_autoweighting``).
        limits: smallest and largest weight that auto-weighting may set.
    """

    def __init__(
        self, classes: Sequence[ClassCost], *, auto: bool = True, limits: tuple[float, float] = (1e-4, 0.9999)
    ) -> None:
        self._auto, self._limits = auto, limits
        share = torch.tensor([c.class_weight for c in classes])
        self._class_share = share / share.sum()
        self._foreground = torch.tensor([c.foreground_weight for c in classes])
        self._target = torch.tensor([c.target for c in classes])
        initial = torch.tensor([c.initial for c in classes])
        self.weights = initial / initial.sum(dim=1, keepdim=True)  # [C, 2]: coverage, box
        self.sums = torch.zeros_like(self.weights)  # [C, 2] losses of the epoch so far

    def to(self, device: torch.device | str) -> CostWeights:
        """Move the weights to a device, in place."""
        for name in ("_class_share", "_foreground", "_target", "weights", "sums"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def __call__(self, cov: Tensor, bbox: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        """Weigh the losses of one batch.

        Returns:
            The total (a scalar with gradient), and the raw losses [C, 2] (coverage, box) without gradient.
        """
        losses = torch.stack(
            [cov_loss(cov, targets.cov, self._foreground), bbox_loss(bbox, targets.bbox, targets.cov_norm)], dim=1
        )
        total = (losses * self.weights * self._class_share[:, None]).sum()
        raw = losses.detach()
        self.sums += raw
        return total, raw

    def end_epoch(self) -> None:
        """Set each weight in proportion to its target over its loss of the past epoch."""
        if self._auto:
            weights = self._target / self.sums.clamp_min(1e-12)
            self.weights.copy_((weights / weights.sum(dim=1, keepdim=True)).clamp(*self._limits))
        self.sums.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep."""
        return {"weights": self.weights.detach().clone().cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.weights.copy_(state["weights"])


def regularize(parameters: list[Tensor], training: TrainingSettings) -> None:
    """Add the regulariser's gradient: weight·sign(w) for L1, 2·weight·w for L2, as Keras defines the two."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if training.regularizer == "none" or training.regularizer_weight == 0 or not gradients:
        return
    with torch.no_grad():
        weights = [p.detach() for p in parameters if p.grad is not None]
        slopes = torch._foreach_sign(weights) if training.regularizer == "l1" else torch._foreach_mul(weights, 2.0)
        torch._foreach_add_(gradients, slopes, alpha=training.regularizer_weight)
