"""The size at which a run showed photographs to its model."""

from __future__ import annotations

from pathlib import Path

import yaml

from aerodet.data import is_image_set
from aerodet.errors import DataError
from aerodet.pipelines.record import run_around

__all__ = ["scale_of_run"]


def scale_of_run(model: Path) -> float:
    """Return what the run that a model lies in resized its photographs by (``data.scale``); 1 outside a run.

    Raises:
        DataError: the run's profile is not YAML.
    """
    run = run_around(model)
    if run is None or not (run / "profile.yaml").is_file():
        return 1.0
    # As it stands, not as a profile: that of an older aerodet may have settings that this one has not.
    try:
        content = yaml.safe_load((run / "profile.yaml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{run / 'profile.yaml'} is not YAML ({' '.join(str(error).split())}); give --scale") from error
    data = (content or {}).get("data") or {}
    # Scenes that a run renders and the images of an image set have the network's size already.
    photographs = any(data.get(name) and not is_image_set(data[name]) for name in ("real", "test"))
    return float(data.get("scale", 1.0)) if photographs else 1.0
