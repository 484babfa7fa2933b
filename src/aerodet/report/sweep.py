"""A sweep: the points of a data-efficiency curve, and its ``results.json``.

A point is a number of real images with what was trained on them: a model that started from the synthetic one
(``pretrained``) and one that started from nothing (``scratch``). Its two fractions are of the real set, and of the mix
of those real images with all synthetic ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["SetSize", "Sweep", "SweepPoint", "sweep_results"]


@dataclass(frozen=True, slots=True)
class SetSize:
    """How large an image set is.

    Attributes:
        images: of the network's size: tiles, or scenes.
        frames: that they were cut from.
        boxes: on the images.
        places: that they show.
    """

    images: int = 0
    frames: int = 0
    boxes: int = 0
    places: int = 0


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One point of the curve.

    Attributes:
        percent: of the real images that were asked for; without meaning where ``asked_frames`` is not 0.
        asked_frames: whole frames that were asked for instead.
        real: what was trained on.
        pretrained: AP50, AP75 and AP in percent, by name, of the model that started from the synthetic one.
        scratch: the same of the model that started from nothing; None where no such model was trained.
    """

    percent: float
    asked_frames: int
    real: SetSize
    pretrained: Mapping[str, float] | None
    scratch: Mapping[str, float] | None

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> SweepPoint:
        """Read what :meth:`to_dict` gave."""
        return cls(**{**found, "real": SetSize(**found["real"])})

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)

    @property
    def name(self) -> str:
        """What was asked for, for people."""
        if self.asked_frames:
            return f"{self.asked_frames} frame{'s' if self.asked_frames > 1 else ''}"
        return f"{self.percent:g} %"


@dataclass(frozen=True)
class Sweep:
    """All points.

    Attributes:
        points: in the order of their real images.
        real: the whole real set.
        synthetic: the whole synthetic set.
        test: the test set.
    """

    points: tuple[SweepPoint, ...]
    real: SetSize
    synthetic: SetSize
    test: SetSize

    def of_real(self, point: SweepPoint) -> float:
        """Return which share of the real images a point has, 0 to 1."""
        return point.real.images / self.real.images

    def of_mix(self, point: SweepPoint) -> float:
        """Return which share of its mix with all synthetic images a point's real ones are, 0 to 1."""
        return point.real.images / (point.real.images + self.synthetic.images)

    def at(self, percent: float) -> SweepPoint | None:
        """Return the point of a percentage."""
        return next((p for p in self.points if p.percent == percent and not p.asked_frames), None)

    @property
    def arms(self) -> dict[str, float]:
        """AP50 of the main flow's arms that are points: ``synthetic`` and ``real``."""
        nothing, everything = self.at(0), self.at(100)
        arms = {}
        if everything and everything.scratch:
            arms["real"] = everything.scratch["ap50"]
        if nothing and nothing.pretrained:
            arms["synthetic"] = nothing.pretrained["ap50"]
        return arms


def sweep_results(
    sweep: Sweep, distances: Mapping[str, float], *, finetune_percent: float, wall_seconds: float
) -> dict[str, Any]:
    """Build the content of a sweep's ``results.json``; docs/sweep.md describes it.

    Args:
        sweep: the points.
        distances: of the gap, by statistic.
        finetune_percent: what the main flow's finetune arm gets of the real images: the point that is this arm.
        wall_seconds: duration of the run.

    Returns:
        A JSON object with AP in percent and shares from 0 to 1, rounded to four decimals.
    """
    arms, finetune = sweep.arms, sweep.at(finetune_percent)
    if finetune and finetune.pretrained:
        arms["finetune"] = finetune.pretrained["ap50"]
    return {
        "sweep": {
            **{name: asdict(getattr(sweep, name)) for name in ("real", "synthetic", "test")},
            "points": [_point(sweep, point) for point in sweep.points],
        },
        "arms": {name: {"ap50": round(value, 4)} for name, value in arms.items()},
        "gap": {name: round(value, 4) for name, value in distances.items()},
        "wall_seconds": round(float(wall_seconds), 1),
    }


def _point(sweep: Sweep, point: SweepPoint) -> dict[str, Any]:
    return {
        "name": point.name,
        "percent": None if point.asked_frames else point.percent,
        "frames": point.asked_frames or None,
        "real": asdict(point.real),
        "of_real": round(sweep.of_real(point), 4),
        "of_mix": round(sweep.of_mix(point), 4),
        "pretrained": _rounded(point.pretrained),
        "scratch": _rounded(point.scratch),
    }


def _rounded(figures: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if figures is None else {name: round(value, 4) for name, value in figures.items()}


def same_images(points: Sequence[SweepPoint]) -> list[list[str]]:
    """Return the names of fractions that came to one number of images: their subsets are the same."""
    found: dict[int, list[str]] = {}
    for point in points:
        if not point.asked_frames:
            found.setdefault(point.real.images, []).append(point.name)
    return [names for names in found.values() if len(names) > 1]
