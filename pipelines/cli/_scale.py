"""The size at which a run showed photographs to its model."""

from __future__ import annotations

from pathlib import Path

import yaml

from aerodet.data import is_image_set
from aerodet.errors import DataError
from aerodet.pipelines.record import RECORD

__all__ = ["scale_of_run"]

_PROFILE = "profile.yaml"


def scale_of_run(model: Path) -> float:
    """Return what the run that a model lies in resized its photographs by (``data.scale``); 1 outside a run.

    Raises:
        DataError: the run's profile is not YAML.
    """
    where = model.resolve()
    run = next((f for f in (where, *where.parents) if (f / RECORD).is_file() and (f / _PROFILE).is_file()), None)
    if run is None:
        return 1.0
    # As it stands, not as a profile: that of an older aerodet may have settings that this one has not.
    try:
        content = yaml.safe_load((run / _PROFILE).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{run / _PROFILE} is not YAML ({' '.join(str(error).split())}); give --scale") from error
    data = (content or {}).get("data") or {}
    # Scenes that a run renders and the images of an image set have the network's size already.
    photographs = [data[name] for name in ("real", "test") if data.get(name) and not is_image_set(data[name])]
    return float(data.get("scale", 1.0)) if photographs else 1.0
