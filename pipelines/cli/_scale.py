"""The size at which a run showed pictures to its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from aerodet.data import is_image_set
from aerodet.errors import DataError
from aerodet.pipelines.record import run_around

__all__ = ["gsd_of_run", "scale_of_run"]


def scale_of_run(model: Path) -> float:
    """Return what the run that a model lies in resized its photographs by (``data.scale``); 1 outside a run.

    Raises:
        DataError: the run's profile is not YAML.
    """
    data = _profile_of_run(model).get("data") or {}
    # Scenes that a run renders and the images of an image set have the network's size already.
    photographs = any(data.get(name) and not is_image_set(data[name]) for name in ("real", "test"))
    return float(data.get("scale", 1.0)) if photographs else 1.0


def gsd_of_run(model: Path) -> float:
    """Return the m/px at which the run that a model lies in showed real images to it; 0 where it does not say."""
    try:
        profile = _profile_of_run(model)
    except DataError:  # a hint is no reason to stop
        return 0.0
    rendered = not (profile.get("data") or {}).get("real")
    told = (profile.get("gap") or {}).get("real_gsd")
    return float(told or (rendered and (profile.get("embedded") or {}).get("gsd")) or 0.0)


def _profile_of_run(model: Path) -> dict[str, Any]:
    """Return a run's profile as it stands: that of an older aerodet may have settings that this one has not."""
    run = run_around(model)
    if run is None or not (run / "profile.yaml").is_file():
        return {}
    try:
        content = yaml.safe_load((run / "profile.yaml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{run / 'profile.yaml'} is not YAML ({' '.join(str(error).split())}); give --scale") from error
    return content if isinstance(content, dict) else {}
