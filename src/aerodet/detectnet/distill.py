"""Knowledge distillation: a small network learns what a large one answers, beside the labels.

The teacher sees the same augmented pictures. Three terms are added to the loss, each weighed where the teacher sees
aircraft: its coverage (soft, so that it also says how sure it is), its boxes, and its last feature map, which a 1×1
convolution, trained along and thrown away, reads out of the student's.

Sources: Hinton et al. 2015, arXiv:1503.02531, for soft targets; Romero et al. 2015, arXiv:1412.6550, for feature maps.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.model import DetectNet, channels_last
from aerodet.errors import SpecError

__all__ = ["Distillation"]

_EVERYWHERE = 0.05  # weight of cells in which the teacher sees nothing


class Distillation(nn.Module):
    """What a student's answers lack of its teacher's.

    Args:
        teacher: a trained float network; it is not changed.
        student: the network in training.
        weight: of the three terms together, relative to the losses against the labels.

    Raises:
        SpecError: the two detect different numbers of classes, or the weight is negative.
    """

    def __init__(self, teacher: DetectNet, student: DetectNet, weight: float) -> None:
        super().__init__()
        if teacher.architecture.num_classes != student.architecture.num_classes:
            raise SpecError(
                f"the teacher detects {teacher.architecture.num_classes} classes, the student "
                f"{student.architecture.num_classes}; distil between networks of the same classes"
            )
        if weight < 0:
            raise SpecError(f"the distillation weight must not be negative, not {weight}")
        self.teacher = channels_last(teacher).eval().requires_grad_(requires_grad=False)
        self.reader = nn.Conv2d(student.output_cov.in_channels, teacher.output_cov.in_channels, 1)
        self.weight = weight

    @classmethod
    def of(cls, checkpoint: Path, student: DetectNet, weight: float) -> Distillation:
        """Take the teacher from a checkpoint.

        Raises:
            DataError: the checkpoint is missing or unreadable.
            SpecError: see the class.
        """
        return cls(load_model(checkpoint)[0], student, weight)

    def train(self, mode: bool = True) -> Distillation:  # noqa: FBT001, FBT002 - the overridden method's signature
        """Set the mode of what is trained; the teacher always is in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, images: Tensor, features: Tensor, cov: Tensor, bbox: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            images: [N, 3, H, W], what the student saw.
            features: [N, D, h, w], its last feature map.
            cov: [N, C, h, w], its coverage in 0..1.
            bbox: [N, 4C, h, w], its box distances.
        """
        with torch.no_grad():
            seen = self.teacher.features(images)
            wanted_cov, wanted_bbox = self.teacher.heads(seen)
        sure = wanted_cov.amax(dim=1, keepdim=True) + _EVERYWHERE  # [N, 1, h, w]
        likely = cov.clamp(1e-5, 1 - 1e-5)
        soft = -(wanted_cov * likely.log() + (1 - wanted_cov) * (1 - likely).log())
        n, classes, h, w = cov.shape
        sides = (bbox - wanted_bbox).abs().view(n, classes, 4, h, w).mean(dim=2)
        read = functional.normalize(self.reader(features).float(), dim=1)
        unlike = 1 - (read * functional.normalize(seen.float(), dim=1)).sum(dim=1, keepdim=True)
        terms = (soft * sure).mean() + (sides * wanted_cov).mean() + 0.1 * (unlike * sure).mean()
        return self.weight * terms
