"""A folder as a store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from aerodet.errors import MachineError, UserError
from aerodet.files import PARTIAL, atomic_path, disk_errors
from aerodet.storage.base import Entry, require_file, require_key

__all__ = ["FolderStore"]


class FolderStore:
    """A :class:`aerodet.storage.Store` of the files below a folder, which is made on the first write.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def keys(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the files whose key starts with ``prefix``."""
        if any(part in (".", "..") for part in prefix.split("/")):
            return  # no key has such a part, and no walk may leave the folder
        start = self._root / prefix.rpartition("/")[0]
        found = []
        for folder, _, names in os.walk(start, followlinks=True):
            below = Path(folder).relative_to(self._root)
            found += [(below / name).as_posix() for name in names if not _is_partial(name)]
        for key in sorted((key for key in found if key.startswith(prefix)), key=os.fsencode):
            try:
                status = (self._root / key).stat()
            except FileNotFoundError:
                continue  # deleted since the walk, or a link to nothing
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            yield Entry(key, status.st_size, f"{status.st_size:x}-{status.st_mtime_ns:x}", modified)

    def read(self, key: str, limit: int | None = None) -> bytes:
        """Return a file's bytes."""
        with self._reading(key) as path, path.open("rb") as stream:
            return stream.read(-1 if limit is None else limit)

    def write(self, key: str, content: bytes) -> None:
        """Write a file by rename."""
        with self._writing(key) as path:
            path.write_bytes(content)

    def delete(self, key: str) -> None:
        """Delete a file."""
        path = self._path(key)
        with disk_errors(path):
            try:
                path.unlink(missing_ok=True)
            except (IsADirectoryError, NotADirectoryError):
                return

    def exists(self, key: str) -> bool:
        """Say whether there is a file of that key."""
        return self._path(key).is_file()

    def download(self, key: str, path: Path) -> None:
        """Copy a file out."""
        with self._reading(key) as source, atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)

    def upload(self, path: Path, key: str) -> None:
        """Copy a file in."""
        require_file(path)
        with self._writing(key) as temporary:
            shutil.copyfile(path, temporary)

    def _path(self, key: str) -> Path:
        return self._root / require_key(key)

    @contextmanager
    def _reading(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        if not path.is_file():
            raise UserError(f"{path} does not exist")
        try:
            yield path
        except PermissionError as error:
            raise MachineError(f"{path} cannot be read ({error.strerror})") from error

    @contextmanager
    def _writing(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        above = next((p for p in path.parents if p.exists()), self._root)
        if path.is_dir() or not above.is_dir():
            raise UserError(f"{path} cannot be a file: a folder holds no file and folder of one name; use another key")
        with atomic_path(path) as temporary:
            yield temporary


def _is_partial(name: str) -> bool:
    """Say whether a file is one that :func:`aerodet.files.atomic_path` is still writing."""
    return name.startswith(".") and name.endswith(PARTIAL)
