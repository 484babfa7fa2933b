"""Whether new imagery looks like the imagery that a model was trained on.

Five figures of an image's pixels stand for its look: sensor, season, light and haze move at least one of them. Each
figure's distribution over the new images is held against that over the old ones by the two-sample Kolmogorov-Smirnov
statistic, the largest distance between the two cumulative distributions, 0 (the same) to 1 (apart).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEATURES", "Drift", "compare", "look"]

FEATURES = ("brightness", "contrast", "saturation", "warmth", "sharpness")
_LEAST = 8  # images; fewer say nothing about a distribution


@dataclass(frozen=True)
class Drift:
    """How far new images are from old ones.

    Attributes:
        distances: the Kolmogorov-Smirnov statistic of each figure, 0 to 1.
        drifted: the figures that are too far apart for chance.
        old: images compared with.
        new: images compared.
    """

    distances: Mapping[str, float]
    drifted: tuple[str, ...]
    old: int
    new: int

    @property
    def sentence(self) -> str:
        """The result for a person."""
        if not self.distances:
            return f"{self.new} new and {self.old} old images are too few to compare"
        if not self.drifted:
            return f"{self.new} new images look like the {self.old} that were trained on"
        far = ", ".join(f"{name} ({self.distances[name]:.2f})" for name in self.drifted)
        return f"{self.new} new images differ from the {self.old} that were trained on in {far}"


def look(image: NDArray[np.uint8]) -> dict[str, float]:
    """Return the figures of an image.

    Args:
        image: RGB pixels, uint8 [H, W, 3].

    Returns:
        By name: ``brightness`` and ``contrast``, mean and standard deviation of the luma, 0 to 255; ``saturation``,
        mean of (max - min) / max over the channels, 0 to 1; ``warmth``, (red - blue) / (red + blue) of the mean colour;
        ``sharpness``, log10 of the variance of the luma's Laplacian.
    """
    import cv2

    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    top, bottom = image.max(axis=2).astype(np.float64), image.min(axis=2).astype(np.float64)
    red, _, blue = (float(c) for c in image.mean(axis=(0, 1)))
    return {
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "saturation": float(((top - bottom) / np.maximum(top, 1)).mean()),
        "warmth": (red - blue) / max(red + blue, 1.0),
        "sharpness": float(np.log10(cv2.Laplacian(luma, cv2.CV_64F).var() + 1e-3)),
    }


def compare(
    old: Sequence[Mapping[str, float]],
    new: Sequence[Mapping[str, float]],
    *,
    distance: float = 0.3,
    chance: float = 0.01,
) -> Drift:
    """Compare two sets of images by their figures.

    Args:
        old: the figures of images that were trained on, from :func:`look`.
        new: those of new images.
        distance: a figure has drifted when its statistic is at least this…
        chance: …and as large a one would come by chance less often than this, over all figures together.

    Returns:
        The distances; none where either side has fewer than eight images.
    """
    from scipy.stats import ks_2samp

    if min(len(old), len(new)) < _LEAST:
        return Drift({}, (), len(old), len(new))
    distances, drifted = {}, []
    for name in FEATURES:
        result = ks_2samp([figures[name] for figures in old], [figures[name] for figures in new], method="asymp")
        distances[name] = float(result.statistic)
        if distances[name] >= distance and float(result.pvalue) < chance / len(FEATURES):
            drifted.append(name)
    return Drift(distances, tuple(drifted), len(old), len(new))
