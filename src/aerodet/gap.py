"""How far synthetic images are from real ones: what a person sees of each set, in figures, and a distance for each.

::

    gap = compare(measure(ImageSet("real")), measure(ImageSet("synthetic")))
    gap.sentence, gap.to_dict()

A distance is the Wasserstein distance of the two distributions over the standard deviation of the real one: by how
much, in spreads of the real set, a synthetic image or box has to change on average for the sets to look alike. Beside
it stands what the same figure comes to between two halves of the real set's own places: less than that is no gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerodet.drift import look
from aerodet.errors import DataError
from aerodet.progress import track

if TYPE_CHECKING:
    from aerodet.data import ImageRecord, Images

__all__ = ["BANDS", "STATISTICS", "Comparison", "Figures", "Gap", "Kind", "Sample", "compare", "distance", "measure"]

Values = NDArray[np.float64]
BANDS = 32  # of the spectrum, from 0 to 0.5 cycles a pixel
_BINS = 24  # of a histogram
_SIDE = 512  # px; the middle of a larger image is enough for its spectrum
_HALVINGS = 8  # of the real places, over which the distance to itself is the mean


@dataclass(frozen=True, slots=True)
class Kind:
    """What a statistic is.

    Attributes:
        label: for people.
        unit: what it counts in; empty for a bare number.
        whole: it has whole numbers only.
    """

    label: str
    unit: str = ""
    whole: bool = False


STATISTICS: Mapping[str, Kind] = {
    "brightness": Kind("Brightness", "mean grey level, 0 to 255"),
    "contrast": Kind("Contrast", "standard deviation of the grey levels"),
    "saturation": Kind("Colour saturation", "0 to 1"),
    "warmth": Kind("Warmth", "red against blue, −1 to 1"),
    "sharpness": Kind("Sharpness", "log₁₀ of the Laplacian's variance"),
    "spectrum": Kind("Power spectrum", "log₁₀ power over cycles a pixel"),
    "side": Kind("Box size", "√area, pixels"),
    "metres": Kind("Box size on the ground", "√area, metres"),
    "aspect": Kind("Box shape", "longer over shorter side"),
    "boxes": Kind("Boxes an image", whole=True),
    "density": Kind("Boxes a megapixel"),
}
_LOOKS = ("brightness", "contrast", "saturation", "warmth", "sharpness")


@dataclass(frozen=True, eq=False)
class Sample:
    """One statistic of a set.

    Attributes:
        values: [N], or [N, BANDS] for the spectrum.
        places: [N], number of the place that each was measured at.
    """

    values: Values
    places: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Figures:
    """What was measured of one set.

    Attributes:
        images: in the set.
        measured: of them, how many were looked at.
        boxes: in the set.
        places: that it shows.
        pixels: smallest and largest image, pixels in all.
        samples: by statistic; those that the set does not tell are empty.
    """

    images: int
    measured: int
    boxes: int
    places: int
    pixels: tuple[int, int]
    samples: Mapping[str, Sample]


def measure(images: Images, *, count: int = 300, seed: int = 0, gsd: float = 0.0, name: str = "images") -> Figures:
    """Measure a set: labels of all its images, pixels of some, one image in memory at a time.

    Args:
        images: the set.
        count: images looked at, drawn by seed.
        seed: of the draw.
        gsd: metres a pixel; 0: what each image says of itself (``gsd``, of the frame that a tile was cut from).
        name: shown beside the progress bar.

    Raises:
        DataError: the set has no images, or one cannot be read.
    """
    records = images.records
    if not records:
        raise DataError(f"there are no images in the {name} set; give one that has some")
    numbers = {group: number for number, group in enumerate(sorted({record.group for record in records}))}
    places = np.array([numbers[record.group] for record in records])
    chosen = np.sort(np.random.default_rng(seed).choice(len(records), min(count, len(records)), replace=False))
    looks: list[dict[str, float]] = []
    spectra: list[Values] = []
    for index in track(chosen.tolist(), f"measuring {name}"):
        pixels = images.image(index)
        looks.append(look(pixels))
        spectra.append(_spectrum(pixels))
    seen = places[chosen]
    samples = {key: Sample(np.array([found[key] for found in looks]), seen) for key in _LOOKS}
    told = np.isfinite(spectra).all(axis=1)
    samples["spectrum"] = Sample(np.array(spectra)[told], seen[told])
    areas = np.array([record.width * record.height for record in records])
    return Figures(
        images=len(records),
        measured=len(chosen),
        boxes=sum(len(record.boxes) for record in records),
        places=len(numbers),
        pixels=(int(areas.min()), int(areas.max())),
        samples=samples | _labels(records, places, areas, gsd),
    )


def _labels(records: Sequence[ImageRecord], places: NDArray[np.int64], areas: Values, gsd: float) -> dict[str, Sample]:
    """Return the statistics of boxes, over all images."""
    counts = np.array([len(record.boxes) for record in records])
    boxes = np.concatenate([record.boxes for record in records]).astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = (sides > 0).all(axis=1)  # an audit tells of the others
    owner = np.repeat(np.arange(len(records)), counts)[whole]
    sides, where = sides[whole], places[owner]
    size = np.sqrt(sides.prod(axis=1))
    scale = np.array([gsd or _gsd(record) for record in records])[owner]
    return {
        "side": Sample(size, where),
        "metres": Sample((size * scale)[scale > 0], where[scale > 0]),
        "aspect": Sample(sides.max(axis=1) / sides.min(axis=1), where),
        "boxes": Sample(counts.astype(np.float64), places),
        "density": Sample(1e6 * counts / areas, places),
    }


def _gsd(record: ImageRecord) -> float:
    """Return the metres a pixel that an image tells, or 0."""
    told, scale = record.attributes.get("gsd"), record.attributes.get("tile_scale", 1.0)
    known = isinstance(told, int | float) and isinstance(scale, int | float) and told > 0 and scale > 0
    return told / scale if known else 0.0


def _spectrum(image: NDArray[np.uint8]) -> Values:
    """Return log10 of the mean power of an image's luma in :data:`BANDS` rings of frequency; NaN for a tiny image.

    The power is scaled so that its mean over all frequencies is the variance: white noise is flat at its variance.
    """
    import cv2

    height, width = image.shape[:2]
    side = min(height, width, _SIDE) // 2 * 2
    if side < 4 * BANDS:  # the first ring would hold next to nothing
        return np.full(BANDS, np.nan)
    top, left = (height - side) // 2, (width - side) // 2
    luma = cv2.cvtColor(np.ascontiguousarray(image[top : top + side, left : left + side]), cv2.COLOR_RGB2GRAY)
    window, rings, weights = _rings(side)
    grey = luma.astype(np.float64)
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    total = np.bincount(rings, (power * weights).ravel(), BANDS + 1)[:BANDS]
    return np.asarray(np.log10(total / np.bincount(rings, weights.ravel(), BANDS + 1)[:BANDS] + 1e-6))


@lru_cache(maxsize=4)
def _rings(side: int) -> tuple[Values, NDArray[np.int64], Values]:
    """Return the window [S, S], and of each coefficient [S, S/2+1] its ring (BANDS: none) and how often it counts."""
    edge = np.hanning(side + 2)[1:-1]
    window = np.outer(edge, edge)
    window /= np.sqrt((window**2).sum())
    across, down = np.fft.rfftfreq(side), np.fft.fftfreq(side)
    radius = np.hypot(down[:, None], across[None, :])
    rings = np.minimum(radius * 2 * BANDS, BANDS).astype(np.int64)
    rings[0, 0] = BANDS  # the mean
    weights = np.full(radius.shape, 2.0)  # the other half of the plane is the mirror image
    weights[:, [0, -1]] = 1.0
    return window, rings.ravel(), weights


def distance(real: Values, synthetic: Values, spread: Values | None = None) -> float:
    """Return the Wasserstein distance of two samples over the standard deviation of the real one.

    Args:
        real: [N], or [N, K] for the mean over K figures.
        synthetic: [M], or [M, K].
        spread: the sample whose standard deviation is the unit; ``real`` by default.

    Returns:
        0 for the same distribution; where the real sample has no spread, that of both together is the unit.
    """
    columns = [np.atleast_2d(sample.T) for sample in (real, synthetic, real if spread is None else spread)]
    found = []
    for ours, theirs, scale in zip(*columns, strict=True):
        unit = float(scale.std()) or float(np.concatenate([ours, theirs]).std())
        found.append(_wasserstein(ours, theirs) / unit if unit else 0.0)
    return float(np.mean(found))


def _wasserstein(ours: Values, theirs: Values) -> float:
    """Return the area between two cumulative distributions."""
    values = np.sort(np.concatenate([ours, theirs]))
    steps = [np.searchsorted(np.sort(side), values[:-1], side="right") / len(side) for side in (ours, theirs)]
    return float((np.abs(steps[0] - steps[1]) * np.diff(values)).sum())


@dataclass(frozen=True, eq=False)
class Comparison:
    """One statistic of both sets.

    Attributes:
        key: in :data:`STATISTICS`.
        real: the real set's sample.
        synthetic: the synthetic set's.
        distance: between them; None where only one of the sets tells it.
        own: the same between halves of the real set; None where it is too small to halve.
    """

    key: str
    real: Sample
    synthetic: Sample
    distance: float | None
    own: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return figures and histograms as JSON values."""
        kind = STATISTICS[self.key]
        found: dict[str, Any] = {"key": self.key, "label": kind.label, "unit": kind.unit}
        found |= {"distance": _rounded(self.distance), "own": _rounded(self.own)}
        sides = {"real": self.real.values, "synthetic": self.synthetic.values}
        if self.key == "spectrum":
            found["frequency"] = [round((band + 0.5) / (2 * BANDS), 5) for band in range(BANDS)]
            return found | {name: _bands(values) for name, values in sides.items()}
        edges = _edges([values for values in sides.values() if len(values)], whole=kind.whole)
        found |= {name: _summary(values) for name, values in sides.items()}
        found["histogram"] = {"edges": [round(float(edge), 4) for edge in edges]}
        for name, values in sides.items():
            counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
            found["histogram"][name] = [round(float(share), 5) for share in counts / max(1, len(values))]
        return found


@dataclass(frozen=True, eq=False)
class Gap:
    """Two sets side by side.

    Attributes:
        real: figures of the real set.
        synthetic: figures of the synthetic set.
        comparisons: by statistic, in the order of :data:`STATISTICS`.
    """

    real: Figures
    synthetic: Figures
    comparisons: tuple[Comparison, ...]

    @property
    def distances(self) -> dict[str, float]:
        """The distances by statistic, as far as both sets tell them."""
        return {c.key: c.distance for c in self.comparisons if c.distance is not None}

    @property
    def sentence(self) -> str:
        """The result for a person."""
        apart = [c for c in self.comparisons if c.distance is not None and c.distance > (c.own or 0.0)]
        far = sorted(apart, key=lambda c: -(c.distance or 0.0))[:3]
        if not far:
            return "The synthetic images differ from the real ones no more than the real places do from each other."
        names = _list([STATISTICS[c.key].label.lower() for c in far])
        sizes = _list([f"{c.distance:.1f}" for c in far])
        return (
            f"The synthetic images are furthest from the real ones in {names} "
            f"({sizes} standard deviations of the real set)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        sets = {
            name: {"images": f.images, "measured": f.measured, "boxes": f.boxes, "places": f.places}
            for name, f in (("real", self.real), ("synthetic", self.synthetic))
        }
        return {"sets": sets, "sentence": self.sentence, "statistics": [c.to_dict() for c in self.comparisons]}


def compare(real: Figures, synthetic: Figures, *, seed: int = 0) -> Gap:
    """Hold a synthetic set's figures against a real one's.

    Args:
        real: from :func:`measure`.
        synthetic: likewise.
        seed: of the halves of the real places.

    Returns:
        A comparison for each statistic that a set tells; boxes a megapixel instead of boxes an image where images
        differ in size.
    """
    same_size = len({*real.pixels, *synthetic.pixels}) == 1
    found = []
    for key in STATISTICS:
        ours, theirs = real.samples[key], synthetic.samples[key]
        if key == ("density" if same_size else "boxes") or not (len(ours.values) or len(theirs.values)):
            continue
        both = len(ours.values) and len(theirs.values)
        apart = distance(ours.values, theirs.values) if both else None
        found.append(Comparison(key, ours, theirs, apart, _own(ours, seed)))
    return Gap(real, synthetic, tuple(found))


def _own(sample: Sample, seed: int) -> float | None:
    """Return the mean distance between two halves of a set's places, or of its values where it has one place."""
    generator, names = np.random.default_rng(seed), np.unique(sample.places)
    keys = sample.places if len(names) > 1 else np.arange(len(sample.values))
    names = np.unique(keys)
    if len(names) < 2:
        return None
    found = []
    for _ in range(_HALVINGS):
        half = np.isin(keys, generator.permutation(names)[: len(names) // 2])
        found.append(distance(sample.values[half], sample.values[~half], sample.values))
    return float(np.mean(found))


def _summary(values: Values) -> dict[str, Any] | None:
    if not len(values):
        return None
    figures = {"mean": values.mean(), "std": values.std()}
    figures |= {f"p{q}": np.percentile(values, q) for q in (10, 50, 90)}
    return {"values": len(values), **{name: _rounded(float(value)) for name, value in figures.items()}}


def _bands(spectra: Values) -> dict[str, Any] | None:
    if not len(spectra):
        return None
    rows = {"mean": spectra.mean(axis=0), "low": np.percentile(spectra, 10, 0), "high": np.percentile(spectra, 90, 0)}
    return {"values": len(spectra), **{name: [round(float(v), 4) for v in row] for name, row in rows.items()}}


def _edges(samples: Sequence[Values], *, whole: bool) -> Values:
    """Return the edges of a histogram that both sets share; the outer bins take what lies beyond them."""
    low = min(float(np.percentile(values, 0.5)) for values in samples)
    high = max(float(np.percentile(values, 99.5)) for values in samples)
    if whole:
        low, high = np.floor(low), np.ceil(high)
        width = max(1, int(np.ceil((high - low + 1) / _BINS)))
        return np.asarray(low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _BINS + 1)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _list(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]
