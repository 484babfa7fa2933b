"""What every store can do, and how one is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from aerodet.errors import UserError

__all__ = ["Entry", "Store", "open_store", "require_file", "require_key"]

_BUCKET_SCHEMES = ("s3", "minio")  # KFP calls its own store minio:// whatever server it is; the protocol is S3's


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store.

    Attributes:
        key: its name below the store's prefix, with ``/`` between the parts.
        size: bytes.
        etag: a text that changes when the object is written again: the server's ETag, or size and time of a file. Two
            stores may have different ones for the same bytes.
        modified: when it was written, UTC.
    """

    key: str
    size: int
    etag: str
    modified: datetime


class Store(Protocol):
    """Objects by key, in a folder or below a bucket's prefix. An object appears whole or not at all.

    Every method raises :class:`~aerodet.errors.UserError` for what the caller can mend (no such bucket or object, a
    refused or missing credential, a key that is none) and :class:`~aerodet.errors.MachineError` for a server that
    does not answer or a disk that is full.
    """

    @property
    def uri(self) -> str:
        """The store's address: ``s3://bucket/prefix``, or the folder's absolute path."""

    def keys(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the objects whose key starts with ``prefix``, in the server's order, which differs between servers."""

    def read(self, key: str, limit: int | None = None) -> bytes:
        """Return an object's bytes, the first ``limit`` of them where one is given."""

    def write(self, key: str, content: bytes) -> None:
        """Write an object, in place of an older one."""

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""

    def exists(self, key: str) -> bool:
        """Say whether there is an object of that key."""

    def download(self, key: str, path: Path) -> None:
        """Copy an object into a file, which appears by rename; its folder is made."""

    def upload(self, path: Path, key: str) -> None:
        """Copy a file into an object, in place of an older one."""


def open_store(uri: str | os.PathLike[str]) -> Store:
    """Open a store. Nothing is made and no server is asked before the first use.

    Args:
        uri: ``s3://bucket/prefix``; a folder's path, or its ``file://`` address. A bucket is found as boto3 finds it:
            ``AWS_ENDPOINT_URL`` names a server that is not Amazon's, credentials come from the environment, the AWS
            configuration or the pod's identity.

    Raises:
        UserError: the address is of no known kind.
    """
    text = os.fspath(uri)
    parts = urlsplit(text)
    if "://" not in text:
        from aerodet.storage._folder import FolderStore

        return FolderStore(Path(text))
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        from aerodet.storage._folder import FolderStore

        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme in _BUCKET_SCHEMES and parts.netloc:
        from aerodet.storage._s3 import BucketStore

        return BucketStore(parts.netloc, text.split("://", 1)[1].partition("/")[2].strip("/"))
    raise UserError(f"{text!r} is not an address of files; use s3://BUCKET/PREFIX or a folder")


def require_key(key: str) -> str:
    """Return a key if both a folder and a bucket can hold it.

    Raises:
        UserError: it is empty, absolute, ends in ``/`` or has a part ``.``, ``..`` or an empty one.
    """
    if not key or "\0" in key or any(part in ("", ".", "..") for part in key.split("/")):
        raise UserError(f"{key!r} is not a key; use parts with '/' between them, none of them empty, '.' or '..'")
    return key


def require_file(path: Path) -> None:
    """Check that a file to copy is there.

    Raises:
        UserError: it is not.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; name the file to copy")
