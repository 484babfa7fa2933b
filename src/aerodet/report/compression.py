"""What a compression search found: its points, the front they form, the one to take, and what pruning was worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["NARROW", "Point", "Reference", "Search", "Verdict", "choose", "front", "is_pruned", "no_choice"]

NARROW = ("narrow", "narrow-distilled")  # ways that cut nothing out: small networks trained from scratch
_PACE_STEP = 0.05
# Points below which a difference between two trainings says little. It is about twice its standard deviation: trainings
# of one real arm, tested on 830 aircraft, had one of 0.4 in AP50 and 1.3 in AP75, a difference 1.4 times that.
_SAME_AP50, _SAME_AP75 = 1.0, 3.5


@dataclass(frozen=True, slots=True)
class Reference:
    """The network that is compressed, in float. AP figures are percent.

    Attributes:
        parameters: how many it has.
        bytes: of its ONNX file.
        ap50: COCO AP at IoU 0.5 on the test set.
        ap75: COCO AP at IoU 0.75.
        median_ms: of a batch.
    """

    parameters: int
    bytes: int
    ap50: float
    ap75: float
    median_ms: float


@dataclass(frozen=True, slots=True)
class Point:
    """One compressed network, as INT8 where nothing else is said. AP figures are percent.

    Attributes:
        name: of the point, such as ``taylor-25``.
        way: how it came to be: a measure of importance, ``one-shot``, ``narrow`` or ``narrow-distilled``.
        wanted: parameters that were aimed at; points with the same number are compared with each other.
        parameters: how many it has.
        bytes: of its INT8 ONNX file.
        ap50: COCO AP at IoU 0.5 on the test set.
        ap75: COCO AP at IoU 0.75.
        float_ap50: AP50 before quantisation.
        float_ap75: AP75 before quantisation.
        median_ms: of a batch, scaled to the reference's median by ``speedup``.
        speedup: times as fast as the reference, the two timed in turn.
        runtime: what ran it.
        digest: SHA-256 of its export.
    """

    name: str
    way: str
    wanted: int
    parameters: int
    bytes: int
    ap50: float
    ap75: float
    float_ap50: float
    float_ap75: float
    median_ms: float
    speedup: float
    runtime: str
    digest: str

    def dominates(self, other: Point) -> bool:
        """Say whether it is nowhere worse than another and somewhere better."""
        mine, theirs = self._goals(), other._goals()
        return all(a >= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs

    def _goals(self) -> tuple[float, ...]:
        return (-self.parameters, -self.bytes, self.speedup, self.ap50, self.ap75)


@dataclass(frozen=True, slots=True)
class Verdict:
    """At one size, the best pruned point against the best narrow one.

    Attributes:
        wanted: parameters that were aimed at.
        pruned: the pruned point that decides, or the most accurate one.
        narrow: the narrow one.
        outcome: ``ahead`` if a pruned point is ahead of every narrow one, ``behind`` the other way round.
    """

    wanted: int
    pruned: Point
    narrow: Point
    outcome: Literal["ahead", "level", "behind"]

    @classmethod
    def of(cls, wanted: int, pruned: Sequence[Point], narrow: Sequence[Point]) -> Verdict:
        """Compare the points of one size."""
        ahead = [p for p in pruned if all(_is_ahead(p, n) for n in narrow)]
        behind = [n for n in narrow if all(_is_ahead(n, p) for p in pruned)]
        outcome: Literal["ahead", "level", "behind"] = "ahead" if ahead else "behind" if behind else "level"
        return cls(wanted, max(ahead or pruned, key=_accuracy), max(behind or narrow, key=_accuracy), outcome)


@dataclass(frozen=True, slots=True)
class Search:
    """A search as a whole.

    Attributes:
        reference: what was compressed.
        points: what came of it, in the order of the search.
        budget: points of AP50 that the chosen one may lose.
        target: whose kernels the channels suit.
    """

    reference: Reference
    points: tuple[Point, ...]
    budget: float
    target: str

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Search:
        """Read what :meth:`to_dict` gave."""
        points = tuple(Point(**point) for point in content["points"])
        return cls(Reference(**content["reference"]), points, content["budget"], content["target"])

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)

    @property
    def least_ap50(self) -> float:
        """AP50 that the budget asks for."""
        return self.reference.ap50 - self.budget

    @property
    def chosen(self) -> Point | None:
        """The point to take, see :func:`choose`."""
        return choose(self.points, self.least_ap50)

    def verdicts(self) -> list[Verdict]:
        """Compare pruning with narrow training at every size at which both were tried, the largest first."""
        found = []
        for wanted in sorted({point.wanted for point in self.points}, reverse=True):
            here = [point for point in self.points if point.wanted == wanted]
            pruned = [point for point in here if is_pruned(point)]
            narrow = [point for point in here if point.way in NARROW]
            if pruned and narrow:
                found.append(Verdict.of(wanted, pruned, narrow))
        return found

    def sentence(self) -> str:
        """Say whether pruning was worth it; empty without controls."""
        cases = "; ".join(
            f"{v.outcome} at about {v.wanted:,} parameters, {_told(v.pruned)} against {_told(v.narrow)}"
            for v in self.verdicts()
        )
        return f"Pruning against training narrow networks from scratch, AP50 (AP75): {cases}." if cases else ""


def _told(point: Point) -> str:
    return f"{point.ap50:.1f} ({point.ap75:.1f})"


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other dominates in parameters, bytes, speed, AP50 and AP75, in their order."""
    return [point for point in points if not any(other.dominates(point) for other in points)]


def choose(points: Sequence[Point], least_ap50: float) -> Point | None:
    """Return the fastest point with at least that AP50; of equally fast ones the most accurate, then the smallest.

    Throughput counts in steps of 5 %, since a few percent are no reason to lose accuracy. Steps, and not a distance
    between two points (which two on either side of an edge pay for), so that the best of all points is the best of
    those before and the last. If an AP50 of 0 is enough, no point is taken.
    """
    within = [point for point in points if point.ap50 >= least_ap50 > 0]
    return max(within, key=lambda p: (_pace(p), p.ap50, p.ap75, -p.parameters), default=None)


def no_choice(ap50: float, budget: float) -> str:
    """Say why no point was taken, of a search from a network with that AP50."""
    if ap50 <= 0:
        return "The network that was compressed finds nothing: train it longer."
    if ap50 <= budget:
        return (
            f"The network that was compressed has an AP50 of {ap50:.1f}, so that with a budget of {budget:g} points "
            "one that finds nothing would do: train it longer, or lower the budget."
        )
    return f"No network keeps AP50 within {budget:g} points of the {ap50:.1f} of the one that was compressed."


def _pace(point: Point) -> int:
    return round(math.log(point.speedup) / math.log1p(_PACE_STEP))


def is_pruned(point: Point) -> bool:
    """Say whether a point was cut out of the reference."""
    return point.way not in NARROW


def _accuracy(point: Point) -> tuple[float, float]:
    return round(point.ap50, 1), round(point.ap75, 1)


def _is_ahead(one: Point, other: Point) -> bool:
    """Say whether one is better by AP50, or by AP75 where AP50 does not tell them apart, as they are printed."""
    (ap50, ap75), (other50, other75) = _accuracy(one), _accuracy(other)
    gain = round(ap50 - other50, 1)
    if abs(gain) >= _SAME_AP50:
        return gain > 0
    return round(ap75 - other75, 1) >= _SAME_AP75
