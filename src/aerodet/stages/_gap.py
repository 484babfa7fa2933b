"""The stage that holds the synthetic images against the real ones."""

from __future__ import annotations

from pathlib import Path

from aerodet.data import ImageSet
from aerodet.files import write_json
from aerodet.gap import compare, measure
from aerodet.report.gap import read_gap, write_crops
from aerodet.report.gap_page import crop_images, render_gap
from aerodet.stages._run import Outcome, stage

__all__ = ["gap"]


@stage("gap", "page")
def gap(
    *,
    real: Path,
    synthetic: Path,
    gap: Path,
    page: Path,
    images: int,
    seed: int,
    real_gsd: float = 0.0,
    synthetic_gsd: float = 0.0,
) -> Outcome:
    """Hold the statistics of a synthetic set against those of a real one.

    Args:
        real: image set.
        synthetic: image set.
        gap: receives ``gap.json`` and a few pictures of each set.
        page: the HTML file.
        images: looked at in each set, drawn by seed; labels are those of all.
        seed: of the draw.
        real_gsd: metres a pixel of the real images; 0: what they say of themselves.
        synthetic_gsd: metres a pixel of the synthetic images; 0: what they say of themselves.

    Raises:
        DataError: a set has no images.
    """
    sets = {"real": ImageSet(real), "synthetic": ImageSet(synthetic)}
    scales = {"real": real_gsd, "synthetic": synthetic_gsd}
    figures = {n: measure(s, count=images, seed=seed, gsd=scales[n], name=n) for n, s in sets.items()}
    found = compare(figures["real"], figures["synthetic"], seed=seed)
    gap.mkdir()
    pictures = write_crops({name: crop_images(s, seed=seed) for name, s in sets.items()}, gap)
    write_json(gap / "gap.json", {**found.to_dict(), "pictures": pictures})
    render_gap(read_gap(gap), page)
    metadata = {"gap": {"kind": "gap", "schema": "aerodet/gap/1"}, "page": {"kind": "report"}}
    return Outcome(metadata, found.distances)
