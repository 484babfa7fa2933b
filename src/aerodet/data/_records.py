"""The TFRecord file: records with their lengths and checksums, written without a copy, read with every check.

A record is its length (uint64), the checksum of that, the data, and the checksum of the data (uint32 each), all
little-endian; a checksum is the CRC-32C, rotated and offset. Source: ``tensorflow/core/lib/io/record_writer.h``.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import IO

import google_crc32c

from aerodet.errors import DataError
from aerodet.files import atomic_path

__all__ = ["read_records", "write_records"]

_BUFFER = 16 << 20  # what is gathered before it is written
_PIECES = 1000  # for one call of writev, which takes 1024
_MOST_ALLOTTED = 64 << 20
_MASK = 0xA282EAD8


def write_records(path: Path, records: Iterable[Sequence[bytes]]) -> None:
    """Write a TFRecord file, which appears whole.

    Args:
        path: the file.
        records: each in one or more pieces, which are not copied together.
    """
    with atomic_path(path) as temporary, temporary.open("wb", buffering=0) as stream:
        sink = _Sink(stream)
        for pieces in records:
            size, crc = sum(map(len, pieces)), 0
            for piece in pieces:
                crc = google_crc32c.extend(crc, piece)
            length = struct.pack("<Q", size)
            sink.put((length + _checksum(google_crc32c.value(length)), *pieces, _checksum(crc)), size)
        sink.finish()


class _Sink:
    """Hands pieces to the system as they lie in memory, many at a time, into space that is allotted beforehand."""

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._waiting: list[bytes] = []
        self._size = self._written = self._allotted = 0

    def put(self, pieces: Sequence[bytes], size: int) -> None:
        self._waiting += pieces
        self._size += size
        if self._size >= _BUFFER or len(self._waiting) >= _PIECES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        if self._allotted > self._written:
            self._stream.truncate(self._written)

    def _flush(self) -> None:
        for start in range(0, len(self._waiting), _PIECES):
            part = self._waiting[start : start + _PIECES]
            total = sum(map(len, part))
            self._allot(self._written + total)
            self._written += total
            done = os.writev(self._stream.fileno(), part)
            rest = memoryview(b"".join(part))[done:] if done < total else memoryview(b"")
            while rest:  # a signal or a full disk came in between
                rest = rest[self._stream.write(rest) :]
        self._waiting, self._size = [], 0

    def _allot(self, end: int) -> None:
        """Reserve space up to ``end`` and beyond, in growing steps: a file of a few records stays one of a few."""
        if end > self._allotted and end >= _BUFFER:
            step = min(max(end - self._allotted, self._allotted), _MOST_ALLOTTED)
            try:
                os.posix_fallocate(self._stream.fileno(), self._allotted, step)
            except OSError:  # not every file system does; it is only quicker, and a full disk tells when it is written
                step = sys.maxsize
            self._allotted += step


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the data of each record of a TFRecord file.

    Raises:
        DataError: the file cannot be read, is cut off, or a checksum is wrong.
    """
    try:
        with path.open("rb", buffering=1 << 20) as stream:
            number = 0
            while head := stream.read(12):
                (length,) = struct.unpack("<Q", _whole(head, 12, path, number)[:8])
                if head[8:] != _checksum(google_crc32c.value(head[:8])):
                    raise DataError(f"{path}, record {number}: not a TFRecord file, or damaged; write it again")
                data = _read(stream, length, path, number)
                if _read(stream, 4, path, number) != _checksum(google_crc32c.value(data)):
                    raise DataError(f"{path}, record {number}: the data does not match its checksum; write it again")
                yield data
                number += 1
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path") from error


def _read(stream: IO[bytes], size: int, path: Path, number: int) -> bytes:
    return _whole(stream.read(size), size, path, number)


def _whole(data: bytes, size: int, path: Path, number: int) -> bytes:
    if len(data) < size:
        raise DataError(f"{path}, record {number}: the file ends in the middle of it; write or copy it again")
    return data


def _checksum(crc: int) -> bytes:
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)
