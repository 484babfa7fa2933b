"""What a store holds, by content: the same files have the same digest in a folder and in any bucket."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aerodet.files import PROVENANCE, file_digest
from aerodet.storage.base import Entry, Store

__all__ = ["FileNote", "Snapshot", "snapshot"]

_IN_MEMORY = 32 << 20  # bytes; larger objects go through a file
_THREADS = 8


@dataclass(frozen=True, slots=True)
class FileNote:
    """What is known of one object.

    Attributes:
        etag: see :class:`aerodet.storage.Entry`.
        size: bytes.
        sha256: of its bytes.
    """

    etag: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """The content of a store at one time.

    Attributes:
        files: what is known of each object, by key.
    """

    files: Mapping[str, FileNote]

    @property
    def digest(self) -> str:
        """The SHA-256 that :func:`aerodet.files.folder_digest` gives for the same files."""
        named = sorted((key.split("/"), note.sha256) for key, note in self.files.items())
        lines = [f"{sha256}  {'/'.join(parts)}\n" for parts, sha256 in named if parts[-1] != PROVENANCE]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def changes(self, earlier: Snapshot) -> tuple[list[str], list[str], list[str]]:
        """Return the keys that are new, those whose bytes differ, and those that are gone."""
        new = sorted(self.files.keys() - earlier.files.keys())
        gone = sorted(earlier.files.keys() - self.files.keys())
        both = self.files.keys() & earlier.files.keys()
        return new, sorted(k for k in both if self.files[k].sha256 != earlier.files[k].sha256), gone


def snapshot(store: Store, known: Snapshot | None = None) -> Snapshot:
    """Return the content of a store.

    Args:
        store: its objects are read, those that ``known`` has with the same ETag and size excepted.
        known: an earlier snapshot of the same store.

    Raises:
        UserError: see :class:`aerodet.storage.Store`.
        MachineError: see :class:`aerodet.storage.Store`.
    """
    earlier = known.files if known is not None else {}
    entries = list(store.keys())
    unread = [entry for entry in entries if not _is_known(entry, earlier)]
    with ThreadPoolExecutor(_THREADS) as pool:
        digests: Iterable[str] = pool.map(lambda entry: _sha256(store, entry), unread)
        fresh = {e.key: FileNote(e.etag, e.size, sha256) for e, sha256 in zip(unread, digests, strict=True)}
    return Snapshot({entry.key: fresh.get(entry.key) or earlier[entry.key] for entry in entries})


def _is_known(entry: Entry, earlier: Mapping[str, FileNote]) -> bool:
    note = earlier.get(entry.key)
    return note is not None and (note.etag, note.size) == (entry.etag, entry.size)


def _sha256(store: Store, entry: Entry) -> str:
    if entry.size <= _IN_MEMORY:
        return hashlib.sha256(store.read(entry.key)).hexdigest()
    with tempfile.TemporaryDirectory(prefix="aerodet-digest-") as folder:
        path = Path(folder) / "object"
        store.download(entry.key, path)
        return file_digest(path)
