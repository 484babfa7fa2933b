"""Tar archives unpacked while they come, and only files that stay where they are put."""

from __future__ import annotations

import hashlib
import lzma
import queue
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from aerodet.errors import DataError

__all__ = ["Pipe", "move_into", "unpack"]

_BLOCK = 1 << 20


class Pipe:
    """A stream of bytes from one thread to another, a few chunks long.

    The reader's end has the one method of a file that :mod:`tarfile` needs.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(4)
        self._rest = memoryview(b"")
        self._ended = False
        self.closed_by_reader = False

    def put(self, data: Any) -> None:
        """Give bytes; waits while the reader is behind. None ends the stream, an exception breaks it."""
        while not self.closed_by_reader:
            try:
                self._queue.put(data, timeout=0.1)
            except queue.Full:
                continue
            return

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        while not len(self._rest):
            if self._ended:
                return b""
            data = self._queue.get()
            if isinstance(data, BaseException):
                raise data
            if data is None:
                self._ended = True
                return b""
            self._rest = memoryview(data)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    def drain(self) -> None:
        """Read what is left."""
        while self.read(_BLOCK):
            pass


def unpack(pipe: Pipe, folder: Path, name: str) -> list[tuple[str, str]]:
    """Unpack a tar archive, compressed or not.

    Args:
        pipe: its bytes.
        folder: an empty folder for the files.
        name: the archive's, for messages.

    Returns:
        Path below the folder and digest of each file.

    Raises:
        DataError: the archive is damaged, or holds a link, a device or a path that leaves the folder.
    """
    found: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", pipe), mode="r|*") as archive:
            for member in archive:
                path = _safe_path(member, name)
                if path is not None:
                    found[path] = _write(archive, member, folder / path)
        pipe.drain()
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's
            raise
        raise DataError(f"archive {name} is damaged ({error}); run the command again") from error
    finally:
        pipe.closed_by_reader = True
    return sorted(found.items())


def move_into(staging: Path, target: Path, paths: list[str]) -> None:
    """Move unpacked files to their place and remove the staging folder."""
    for path in paths:
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        (staging / path).replace(place)
    shutil.rmtree(staging)


def _safe_path(member: tarfile.TarInfo, name: str) -> str | None:
    """Return the path of a file to be written, None for a folder, which files bring with them."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise DataError(f"archive {name} would write to {member.name!r}, outside its folder; do not unpack it")
    if member.isdir():
        return None
    if not member.isreg():
        raise DataError(f"archive {name} holds {member.name!r}, which is no plain file; do not unpack it")
    return path.as_posix()


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    source, digest = archive.extractfile(member), hashlib.sha256()
    if source is None:
        raise DataError(f"{member.name!r} of the archive holds no bytes")
    with path.open("wb") as stream:
        while data := source.read(_BLOCK):
            stream.write(data)
            digest.update(data)
    return f"sha256:{digest.hexdigest()}"
