"""Files that appear whole or not at all, digests of content, and what is named like an image."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any

from aerodet.errors import MachineError

__all__ = [
    "IMAGE_SUFFIXES",
    "PARTIAL",
    "atomic_path",
    "digest_of",
    "disk_errors",
    "file_digest",
    "file_digests",
    "folder_digest",
    "is_image",
    "read_json",
    "write_json",
    "write_text",
]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
PARTIAL = ".partial"  # ends the name of what is still being written
PROVENANCE = "provenance.json"  # travels inside an artifact's folder and is not part of its content


def is_image(path: PurePath) -> bool:
    """Say whether a path is named like an image; the side files ``*.png.aux.xml`` of GDAL are not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a :class:`MachineError` that names the place.

    Args:
        path: where the writing happens.

    Raises:
        MachineError: the disk is full, over quota or read-only, or a file is larger than it may be.
    """
    try:
        yield
    except OSError as error:
        path = Path(*takewhile(lambda part: not part.endswith(PARTIAL), path.parts))  # a name that the user knows
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(f"the disk that holds {path} is full; free some space") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EFBIG):
            raise MachineError(f"{path} cannot be written ({os.strerror(error.errno)})") from error
        raise


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` to write (a file or a folder), renamed to ``path`` on success.

    Args:
        path: the final place. An older file or folder there is replaced.

    Raises:
        MachineError: the disk is full or read-only. Nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        try:
            yield temporary
            if temporary.is_dir() and path.is_dir():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            _remove(temporary)


def write_text(path: Path, text: str) -> None:
    """Write a text file by rename."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a JSON file by rename; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal, as ``sha256sum`` prints it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder by its relative path, sorted, without ``provenance.json``."""
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file() and p.name != PROVENANCE}
    return {path: file_digest(files[path]) for path in _ordered(files)}


def digest_of(files: Mapping[str, str]) -> str:
    """Return the digest of a folder with these files: SHA-256 by relative path (see :func:`folder_digest`)."""
    return hashlib.sha256("".join(f"{files[path]}  {path}\n" for path in _ordered(files)).encode()).hexdigest()


def _ordered(paths: Iterable[str]) -> list[str]:
    """Sort relative paths part by part, so that a folder's files stay together whatever else is called."""
    return sorted(paths, key=lambda path: path.split("/"))


def folder_digest(folder: Path) -> str:
    """Return a digest of a folder's content that does not depend on listing order, times or the folder's name.

    It is the SHA-256 of the lines ``<sha256 of file>  <relative path>``, sorted part by part of the paths, which is
    the output of ``sha256sum`` over the files, without ``provenance.json``. docs/lineage.md has the shell command.
    """
    return digest_of(file_digests(folder))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
