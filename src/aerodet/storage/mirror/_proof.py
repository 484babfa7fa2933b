"""Whether bytes are the object's: S3 states a digest of each object in its entity tag."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

__all__ = ["Prover"]

_MD5 = re.compile(r"[0-9a-f]{32}")
_PARTS = re.compile(r"([0-9a-f]{32})-(\d+)")
_MIB = 1 << 20
_BLOCK = 1 << 20


class Prover:
    """Digests an object's bytes as they come and tells whether they are the object's.

    The tag of an object uploaded at once is its MD5; that of one uploaded in parts is the MD5 of the parts' MD5s, whose
    size the tag does not say and is tried; any other tag, as of an encrypted object, says nothing of the bytes.

    Args:
        size: of the object, bytes.
        etag: its entity tag; empty where it says nothing of the bytes.
    """

    def __init__(self, size: int, etag: str) -> None:
        self._size, self._etag = size, etag
        self._plain = _MD5.fullmatch(etag) is not None
        self._hash = hashlib.new("md5" if self._plain else "sha256", usedforsecurity=False)
        parts = _PARTS.fullmatch(etag)
        self._parts = [_Parts(part) for part in _part_sizes(size, int(parts[2]))] if parts else []
        self._seen = 0

    def update(self, data: Any) -> None:
        """Take the next bytes."""
        self._hash.update(data)
        self._seen += len(data)
        for part in self._parts:
            part.update(data)

    def update_from(self, path: Path) -> int:
        """Take the bytes of a file that holds the beginning; returns how many there are."""
        with path.open("rb") as stream:
            while data := stream.read(_BLOCK):
                self.update(data)
        return self._seen

    @property
    def digest(self) -> str:
        """``md5:…`` where the tag is one, else ``sha256:…``."""
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def proof(self) -> Literal["md5", "parts", "length", "doubtful", "wrong"]:
        """Return by what the bytes are proved.

        ``doubtful`` are those of an object in parts of which no usual size gives its tag: their size may be unusual.
        """
        if self._seen != self._size:
            return "wrong"
        if self._plain:
            return "md5" if self._hash.hexdigest() == self._etag else "wrong"
        if any(part.etag() == self._etag for part in self._parts):
            return "parts"
        return "doubtful" if self._parts else "length"


class _Parts:
    """The MD5 of the MD5s of parts of one size."""

    def __init__(self, part: int) -> None:
        self._part, self._left, self._count = part, part, 0
        self._current, self._whole = _md5(), _md5()

    def update(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            head, view = view[: self._left], view[self._left :]
            self._current.update(head)
            self._left -= len(head)
            if not self._left:
                self._finish()

    def _finish(self) -> None:
        self._whole.update(self._current.digest())
        self._current, self._left, self._count = _md5(), self._part, self._count + 1

    def etag(self) -> str:
        if self._left < self._part:
            self._finish()
        return f"{self._whole.hexdigest()}-{self._count}"


def _part_sizes(size: int, count: int) -> Iterator[int]:
    """Yield the usual part sizes that make so many parts: those of the AWS CLI, boto3, s5cmd, rclone and obstore."""
    for mebibytes in (8, 5, 16, 50, 64, 10, 100):
        part = mebibytes * _MIB
        if -(-size // part) == count:
            yield part


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
