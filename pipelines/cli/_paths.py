"""Checks of paths given on the command line."""

from __future__ import annotations

from pathlib import Path

from aerodet.errors import UserError

__all__ = ["require_new"]


def require_new(path: Path) -> Path:
    """Return the path if nothing but an empty folder is there: a command never replaces what exists.

    Raises:
        UserError: something is there.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} exists already; name a new folder")
    return path
