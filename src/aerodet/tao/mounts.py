"""``~/.tao_mounts.json``: which folders TAO's launcher shows to its containers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from aerodet.errors import DataError, SpecError
from aerodet.files import write_json

__all__ = ["MOUNTS", "merge_mounts", "write_mounts"]

MOUNTS = Path("~/.tao_mounts.json")
_TELEMETRY_OFF = {"variable": "TELEMETRY_OPT_OUT", "value": "1"}
_SHARED_MEMORY = "16G"  # data loaders of several processes hand images over in it


def merge_mounts(content: Mapping[str, Any], mounts: Mapping[str, str | os.PathLike[str]]) -> dict[str, Any]:
    """Return the launcher's configuration with mounts added; what else it holds stays.

    The container runs as the calling user, so that results belong to them, and sends no telemetry.

    Args:
        content: the configuration that is there, or an empty mapping.
        mounts: folder of this machine by absolute path in the containers.

    Raises:
        SpecError: a path in the containers is not absolute.
        DataError: a folder does not exist, or the configuration has another form.
    """
    entries = {str(e["destination"]): str(e["source"]) for e in _list(content, "Mounts")}
    for inside, folder in mounts.items():
        if not PurePosixPath(inside).is_absolute():
            raise SpecError(f"'{inside}' is no absolute path; a mount's place in the containers starts with /")
        if not Path(folder).is_dir():
            raise DataError(f"{folder} is not a folder; make it before TAO's launcher mounts it at {inside}")
        entries[inside] = str(Path(folder).resolve())
    variables = [entry for entry in _list(content, "Envs") if entry.get("variable") != _TELEMETRY_OFF["variable"]]
    options = {"user": f"{os.getuid()}:{os.getgid()}", "shm_size": _SHARED_MEMORY}
    return {
        **content,
        "Mounts": [{"source": source, "destination": inside} for inside, source in entries.items()],
        "Envs": [*variables, _TELEMETRY_OFF],
        "DockerOptions": {**options, **content.get("DockerOptions", {})},
    }


def write_mounts(mounts: Mapping[str, str | os.PathLike[str]], path: Path = MOUNTS) -> Path:
    """Add mounts to the launcher's configuration file.

    Args:
        mounts: see :func:`merge_mounts`.
        path: the file; the launcher reads only the one in the home folder.

    Returns:
        The file.

    Raises:
        DataError: the file that is there is not the launcher's; or see :func:`merge_mounts`.
    """
    path = path.expanduser()
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); correct it or move it away") from error
    try:
        merged = merge_mounts(content, mounts)
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is not a configuration of TAO's launcher; correct it or move it away") from error
    write_json(path, merged, indent=4)
    return path


def _list(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [dict(entry) for entry in content.get(key, [])]
