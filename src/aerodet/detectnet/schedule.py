"""The course of a training: its learning rate, and which epoch's weights are worth keeping."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aerodet.detectnet.settings import Settings

__all__ = ["learning_rate", "standard_error"]


def learning_rate(done: float, settings: Settings) -> float:
    """Return the learning rate when the share ``done`` (0..1) of all steps is made.

    It rises exponentially during the soft start, stays, and falls exponentially after annealing began.
    Source: ``nvidia_tao_tf1/cv/detectnet_v2/training/utilities.py`` and its soft-start annealing hook.
    """
    low, high = settings.training.min_learning_rate, settings.training.max_learning_rate
    soft_start, annealing = settings.training.soft_start, settings.training.annealing
    height = 1.0
    if done < soft_start:
        height = done / soft_start
    elif done > annealing:
        height = (1 - done) / (1 - annealing)
    return math.exp(math.log(low) + height * (math.log(high) - math.log(low)))


def standard_error(ap50: float, objects: Sequence[int]) -> float:
    """Return about how far AP50 on so many objects is from that on endlessly many, in points.

    As if each object were found or missed by itself with the probability AP50, after Agresti and Coull, so that 100 %
    of twenty objects is no certainty.

    Args:
        ap50: percent, the mean over the classes that have objects.
        objects: of each class that it was measured on, not all 0.
    """
    variances = []
    for count in filter(None, objects):
        share = (ap50 / 100 * count + 2) / (count + 4)
        variances.append(share * (1 - share) / (count + 4))
    return 100 * math.sqrt(sum(variances)) / len(variances)
