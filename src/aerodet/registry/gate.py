"""The gate: whether a challenger may become the champion.

Each rule says passed, failed or skipped, in a sentence and in numbers; the gate is passed when none failed. AP50 is in
percent, differences are in points, and the intervals come from resampling the test images, the same draws for both
models. The rules:

``accuracy``       AP50 is at least ``least_ap50``: the first champion has no other to beat
``quantisation``   the INT8 model is at most ``int8_drop`` points below the float model it was made from
``champion``       it is at most ``champion_drop`` points below the champion on the same images, and not surely worse
``speed``          it is faster than the float model, or than the champion where both were timed alike
``slices``         no size, place or kind of object is surely worse and by more than ``slice_drop`` points; how sure
                   one must be of each grows with their number
``audit``          the audit of the data found no error
``disjoint``       no test image and no place of the test set is in the training data
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aerodet.data import Images
from aerodet.metrics import Detections, Truth
from aerodet.metrics.detections import check_pairs
from aerodet.registry._bootstrap import ap50, draws, match
from aerodet.registry._slices import Slice

__all__ = ["Champion", "Gate", "Limits", "Overlap", "Rule", "judge", "overlap"]

SCHEMA = "aerodet/gate/1"
_CONFIDENCE = 0.95
_NAMED = 3  # examples in a sentence
_SAME = ("cpu", "threads", "batch", "size", "runtime")  # what makes two timings comparable

Verdict = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rules allow.

    Attributes:
        least_ap50: AP50 that every champion has.
        int8_drop: points of AP50 that quantisation may cost.
        champion_drop: points of AP50 below the champion that are no matter.
        slice_drop: points of AP50 that a slice may lose.
        slice_boxes: slices with fewer true boxes say nothing.
        speedup: times as fast as the float model, at least.
        replicates: draws of the test images.
    """

    least_ap50: float = 1.0
    int8_drop: float = 1.0
    champion_drop: float = 0.5
    slice_drop: float = 5.0
    slice_boxes: int = 30
    speedup: float = 1.0
    replicates: int = 1000


@dataclass(frozen=True, slots=True)
class Champion:
    """The version to beat, on the same test images.

    Attributes:
        version: its number.
        detections: one an image; None when it cannot be run on them.
        obstacle: why not.
        benchmark: its timings, where it was published with them.
    """

    version: int
    detections: Sequence[Detections] | None
    obstacle: str = ""
    benchmark: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the test set shares with training data.

    Attributes:
        images: file name in the test set and where its double is, of each image with the same bytes.
        groups: place and training set.
        tested: images of the test set.
        trained: images of the training sets.
    """

    images: list[tuple[str, str]]
    groups: list[tuple[str, str]]
    tested: int
    trained: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule's verdict.

    Attributes:
        name: see the module.
        verdict: ``passed``, ``failed`` or ``skipped``.
        sentence: why, for a person, with the numbers.
        figures: the numbers, JSON values.
    """

    name: str
    verdict: Verdict
    sentence: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gate:
    """What all rules said.

    Attributes:
        rules: each rule's verdict.
        champion: version that it was compared with; 0 when there was none.
        limits: what was allowed.
    """

    rules: tuple[Rule, ...]
    champion: int
    limits: Limits

    @property
    def passed(self) -> bool:
        """Whether no rule failed."""
        return all(rule.verdict != "failed" for rule in self.rules)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "schema": SCHEMA,
            "passed": self.passed,
            "champion": self.champion,
            "rules": [asdict(rule) for rule in self.rules],
            "limits": asdict(self.limits),
        }


def judge(
    truth: Sequence[Truth],
    num_classes: int,
    challenger: Sequence[Detections],
    parent: Sequence[Detections],
    *,
    champion: Champion | None,
    benchmark: Mapping[str, Any],
    audit: Mapping[str, Any],
    shared: Overlap,
    slices: Sequence[Slice],
    limits: Limits,
    seed: int,
) -> Gate:
    """Apply every rule.

    Args:
        truth: of the test set: one pair of boxes and labels an image.
        num_classes: number of classes.
        challenger: detections of the INT8 model, one an image.
        parent: detections of the float model that it was made from.
        champion: the version to beat; None when there is none.
        benchmark: timings of the challenger, as :func:`aerodet.deploy.compare_latency` gives them.
        audit: what :meth:`aerodet.data.Audit.to_dict` gave.
        shared: what :func:`overlap` found.
        slices: what :func:`aerodet.registry._slices.slices_of` gave.
        limits: what is allowed.
        seed: of the draws.

    Raises:
        DataError: there is no true box in the test set.
    """
    check_pairs(truth, challenger, num_classes)
    compare = _Comparison(truth, num_classes, limits, seed)
    best = champion.detections if champion else None
    against = ("the champion", best) if best is not None else ("the float model", parent)
    rules = (
        _accuracy(compare, challenger),
        _quantisation(compare, challenger, parent),
        _champion(compare, challenger, champion),
        _speed(benchmark, champion, limits),
        _slices(compare, challenger, *against, slices),
        _audit(audit),
        _disjoint(shared),
    )
    return Gate(rules, champion.version if champion else 0, limits)


def overlap(test: Images, training: Mapping[str, Images]) -> Overlap:
    """Find what a test set shares with training sets: images of the same bytes, and places."""
    digests = {_digest(test, index): record.file_name for index, record in enumerate(test.records)}
    places = {record.group for record in test.records}
    images, groups = [], []
    for name, images_of in training.items():
        for index, record in enumerate(images_of.records):
            double = digests.get(_digest(images_of, index))
            if double is not None:
                images.append((double, f"{record.file_name} in {name}"))
        groups += [(place, name) for place in sorted(places & {record.group for record in images_of.records})]
    return Overlap(images, groups, len(test.records), sum(len(s.records) for s in training.values()))


def _digest(images: Images, index: int) -> str:
    return hashlib.sha256(images.encoded(index)).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class _Difference:
    """AP50 of two models on the same images, the interval of their difference and its standard deviation."""

    mine: float
    theirs: float
    low: float
    high: float
    deviation: float

    @property
    def points(self) -> float:
        return self.mine - self.theirs

    @property
    def figures(self) -> dict[str, float | None]:
        found = {"ap50": self.mine, "reference": self.theirs, "difference": self.points}
        found |= {"low": self.low, "high": self.high}
        return {name: None if np.isnan(value) else round(value, 4) for name, value in found.items()}

    @property
    def words(self) -> str:
        """Say the difference and its interval."""
        return f"{self.points:+.1f} points, 95 % interval {self.low:+.1f} to {self.high:+.1f}".replace("-", "−")


class _Comparison:
    """Compares two models on the test images, or on a slice of them."""

    def __init__(self, truth: Sequence[Truth], num_classes: int, limits: Limits, seed: int) -> None:
        self.truth, self.num_classes, self.limits, self.seed = truth, num_classes, limits, seed
        self._known: dict[tuple[int, str], tuple[float, NDArray[np.float64]]] = {}
        self._draws: dict[int, NDArray[np.int64]] = {}

    def __call__(
        self, mine: Sequence[Detections], theirs: Sequence[Detections], part: Slice | None = None
    ) -> _Difference:
        (score, drawn), (other, drawn_too) = self.scores(mine, part), self.scores(theirs, part)
        spread = drawn - drawn_too
        spread = spread[~np.isnan(spread)]
        low, high, deviation = np.nan, np.nan, np.nan
        if len(spread):
            tail = 50 * (1 - _CONFIDENCE)
            low, high = np.percentile(spread, (tail, 100 - tail)).tolist()
            deviation = float(spread.std())
        return _Difference(score, other, low, high, deviation)

    def scores(self, found: Sequence[Detections], part: Slice | None = None) -> tuple[float, NDArray[np.float64]]:
        """Return AP50, and AP50 on each draw of the images."""
        key = (id(found), part.name if part else "")
        if key not in self._known:
            kept = part.images if part else range(len(self.truth))
            chosen, area = ([part.boxes[i] for i in kept], part.area) if part else (None, None)
            mine = [found[i] for i in kept]
            matches = match([self.truth[i] for i in kept], mine, self.num_classes, chosen, area)
            if len(kept) not in self._draws:
                self._draws[len(kept)] = draws(len(kept), self.limits.replicates, self.seed)
            self._known[key] = (float(ap50(matches)[0]), ap50(matches, self._draws[len(kept)]))
        return self._known[key]


def _accuracy(compare: _Comparison, challenger: Sequence[Detections]) -> Rule:
    least = compare.limits.least_ap50
    score, _ = compare.scores(challenger)
    sentence = f"AP50 {score:.1f} on {len(compare.truth)} test images, at least {least:g} is wanted"
    return Rule("accuracy", _verdict(score >= least), sentence, {"ap50": round(score, 4), "least": least})


def _quantisation(compare: _Comparison, int8: Sequence[Detections], parent: Sequence[Detections]) -> Rule:
    found, allowed = compare(int8, parent), compare.limits.int8_drop
    sentence = (
        f"INT8 reaches AP50 {found.mine:.1f}, the float model it was made from {found.theirs:.1f}: {found.words}; "
        f"a loss of {allowed:g} is allowed"
    )
    return Rule("quantisation", _verdict(found.points >= -allowed), sentence, {**found.figures, "allowed": allowed})


def _champion(compare: _Comparison, challenger: Sequence[Detections], champion: Champion | None) -> Rule:
    if champion is None:
        return Rule("champion", "skipped", "there is no champion yet, so there is nothing to compare with")
    if champion.detections is None:
        sentence = f"the champion, version {champion.version}, cannot be tested on these images: {champion.obstacle}"
        return Rule("champion", "failed", sentence, {"version": champion.version})
    found, allowed = compare(challenger, champion.detections), compare.limits.champion_drop
    good = found.points >= -allowed and not found.high < 0
    sentence = (
        f"AP50 {found.mine:.1f} against {found.theirs:.1f} of the champion, version {champion.version}, on the same "
        f"{len(compare.truth)} images: {found.words}; {allowed:g} below is allowed, being surely worse is not"
    )
    figures = {**found.figures, "version": champion.version, "allowed": allowed}
    return Rule("champion", _verdict(good), sentence, {**figures, "images": len(compare.truth)})


def _speed(benchmark: Mapping[str, Any], champion: Champion | None, limits: Limits) -> Rule:
    ratio, mine = float(benchmark["ratio"]), float(benchmark["int8"]["median_ms"])
    figures: dict[str, Any] = {"ratio": round(ratio, 4), "median_ms": mine, "speedup": limits.speedup}
    sentence = f"{ratio:.2f} times as fast as the float model, more than {limits.speedup:g} is wanted"
    good = ratio > limits.speedup
    theirs = champion.benchmark if champion else None
    if champion and theirs and all(theirs.get(key) == benchmark.get(key) for key in _SAME):
        reference = float(theirs["int8"]["median_ms"])
        figures["champion_ms"] = reference
        sentence += f"; {mine:.2f} ms a batch, the champion {reference:.2f} ms"
        good = good or mine < reference
    elif champion:
        sentence += "; the champion was timed on another machine or in another way"
    return Rule("speed", _verdict(good), sentence, figures)


def _slices(
    compare: _Comparison, mine: Sequence[Detections], who: str, theirs: Sequence[Detections], slices: Sequence[Slice]
) -> Rule:
    limits, figures, losers = compare.limits, [], []
    wanted = [part for part in slices if part.count >= limits.slice_boxes]
    # Of a hundred slices some look worse by chance: being sure of each is made harder the more there are (Bonferroni).
    sure = NormalDist().inv_cdf(1 - (1 - _CONFIDENCE) / 2 / max(1, len(wanted)))
    for part in wanted:
        found = compare(mine, theirs, part)
        most = found.points + sure * found.deviation
        lost = found.points < -limits.slice_drop and most < 0
        facts = {"slice": part.name, "boxes": part.count, "verdict": _verdict(not lost), **found.figures}
        figures.append({**facts, "at_most": None if np.isnan(most) else round(most, 4)})
        if lost:
            losers.append((found.points, f"{part.name} ({part.count} boxes): {found.words}"))
    left_out = len(slices) - len(wanted)
    sentence = (
        f"{len(wanted)} slices compared with {who}, {left_out} with fewer than {limits.slice_boxes} boxes left out"
    )
    if losers:
        worst = [text for _, text in sorted(losers)[:_NAMED]]
        sentence += f"; more than {limits.slice_drop:g} points down: {'; '.join(worst)}"
    verdict: Verdict = _verdict(not losers) if wanted else "skipped"
    return Rule("slices", verdict, sentence, {"slices": figures, "left_out": left_out, "allowed": limits.slice_drop})


def _audit(audit: Mapping[str, Any]) -> Rule:
    counts = {name: int(audit["severities"][name]) for name in ("error", "warning", "note")}
    errors = [finding["sentence"] for finding in audit["findings"] if finding["severity"] == "error"]
    sentence = f"{counts['error']} errors and {counts['warning']} warnings in the data"
    if errors:
        sentence += f"; {'; '.join(errors[:_NAMED])}"
    return Rule("audit", _verdict(not errors), sentence, counts)


def _disjoint(shared: Overlap) -> Rule:
    sentence = f"{shared.tested} test images and {shared.trained} training images share "
    parts = []
    if shared.images:
        twins = [f"{mine} is {theirs}" for mine, theirs in shared.images[:_NAMED]]
        parts.append(f"{len(shared.images)} images ({'; '.join(twins)})")
    if shared.groups:
        places = [f"{place} with {name}" for place, name in shared.groups[:_NAMED]]
        parts.append(f"{len(shared.groups)} places ({'; '.join(places)})")
    figures = {"images": len(shared.images), "groups": len(shared.groups)}
    figures |= {"tested": shared.tested, "trained": shared.trained}
    return Rule("disjoint", _verdict(not parts), sentence + (" and ".join(parts) or "no image and no place"), figures)


def _verdict(good: bool) -> Verdict:  # noqa: FBT001 (it is the question itself)
    return "passed" if good else "failed"
