"""What a mirror has: a journal while it works, a manifest when it is done."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from aerodet.errors import DataError
from aerodet.files import atomic_path
from aerodet.progress import track

__all__ = ["MANIFEST", "STATE", "Entry", "Journal", "Member", "manifest_lines", "verify"]

STATE = ".mirror"
MANIFEST = f"{STATE}/manifest.json"
SCHEMA = "aerodet/mirror/1"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the mirror: path, size in bytes, digest (``md5:…`` or ``sha256:…``) and time of its last change, ns."""

    path: str
    bytes: int
    digest: str
    changed: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """An object that was mirrored.

    Args:
        key: below the mirrored prefix.
        size: bytes.
        etag: its entity tag when it was fetched.
        proof: ``md5``: the bytes have the digest that the server states; ``parts``: so have the parts in which it was
            uploaded; ``length``: the server states no digest that could be checked.
        files: what it became: one file, or those of its archive.
    """

    key: str
    size: int
    etag: str
    proof: str
    files: list[Member] = field(default_factory=list)

    def to_dict(self, *, changed: bool = True) -> dict[str, Any]:
        """Return JSON values; the times of the files are for the journal alone."""
        files: list[dict[str, Any]] = [{"path": m.path, "bytes": m.bytes, "digest": m.digest} for m in self.files]
        if changed:
            files = [{**file, "changed": member.changed} for file, member in zip(files, self.files, strict=True)]
        return {"key": self.key, "size": self.size, "etag": self.etag, "proof": self.proof, "files": files}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Entry:
        """Return the entry of a journal's line or a manifest."""
        return cls(**{**value, "files": [Member(**member) for member in value["files"]]})


class Journal:
    """The entries of a folder's mirror, one line each, written as soon as an object is whole.

    Args:
        folder: the mirror.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / STATE / "journal.jsonl"
        self.entries: dict[str, Entry] = {entry.key: entry for entry in _lines(self._path)}
        self._repeats = self._path.is_file()  # it may: torn lines, and objects fetched anew
        self._stream: FileIO | None = None
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> None:
        """Note an object that is whole; from any thread."""
        line = f"{json.dumps(entry.to_dict())}\n".encode()
        with self._lock:
            self._add(entry, line)

    def _add(self, entry: Entry, line: bytes) -> None:
        if self._stream is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            torn = self._path.is_file() and self._path.read_bytes()[-1:] not in (b"", b"\n")
            self._stream = self._path.open("ab", buffering=0)  # what is noted is there when the process is killed
            if torn:  # the process was killed while it wrote a line
                self._stream.write(b"\n")
        self._repeats |= entry.key in self.entries
        self.entries[entry.key] = entry
        self._stream.write(line)

    def holds(self, key: str, size: int, etag: str) -> bool:
        """Say whether an object is there as it was fetched, by the size and time of its files."""
        entry = self.entries.get(key)
        return entry is not None and (entry.size, entry.etag) == (size, etag) and self.intact(entry)

    def intact(self, entry: Entry) -> bool:
        """Say whether an entry's files have the size and time that they were left with."""
        try:
            stats = [os.stat(f"{self._folder}/{member.path}") for member in entry.files]  # noqa: PTH116 - of thousands
        except OSError:
            return False
        return all((s.st_size, s.st_mtime_ns) == (m.bytes, m.changed) for s, m in zip(stats, entry.files, strict=True))

    def close(self, source: str) -> Path:
        """Write the manifest of what is there and a journal without repetitions; returns the manifest's path."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        entries = [self.entries[key] for key in sorted(self.entries) if self.intact(self.entries[key])]
        manifest = self._folder / MANIFEST
        if self._repeats or len(entries) < len(self.entries):
            with atomic_path(self._path) as temporary, temporary.open("w", encoding="utf-8") as stream:
                stream.writelines(json.dumps(entry.to_dict()) + "\n" for entry in entries)
        with atomic_path(manifest) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(manifest_lines(source, entries))
        return manifest

    def stop(self) -> None:
        """Close the journal and leave it for a later call."""
        if self._stream is not None:
            self._stream.close()


def manifest_lines(source: str, entries: list[Entry]) -> Iterator[str]:
    """Yield a manifest as text: the same objects give the same bytes."""
    yield f'{{"schema": "{SCHEMA}", "source": {json.dumps(source)}, "objects": [\n'
    for number, entry in enumerate(entries):
        yield json.dumps(entry.to_dict(changed=False)) + ("\n" if number + 1 == len(entries) else ",\n")
    yield "]}\n"


def verify(folder: Path | str) -> list[str]:
    """Hold a mirror's files against its manifest, every byte of them.

    Args:
        folder: the mirror.

    Returns:
        One sentence for each file that is missing or differs; none when all is well.

    Raises:
        DataError: there is no manifest.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no manifest of a mirror; `aerodet data mirror` makes one") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise DataError(f"{folder / MANIFEST} is no manifest that this version of aerodet reads")
    members = [member for entry in content["objects"] for member in Entry.from_dict(entry).files]
    wrong = []
    for member in track(members, "verifying"):
        path = folder / member.path
        if not path.is_file():
            wrong.append(f"{member.path} is missing")
        elif path.stat().st_size != member.bytes or digest_of(path, member.digest) != member.digest:
            wrong.append(f"{member.path} is not as it was fetched")
    return wrong


def digest_of(path: Path, like: str) -> str:
    """Return a file's digest by the method of another (``md5:…``)."""
    method = like.partition(":")[0]
    with path.open("rb") as stream:
        return f"{method}:{hashlib.file_digest(stream, method).hexdigest()}"


def member_of(folder: Path, path: str, digest: str) -> Member:
    """Return the entry of a file that lies in its place."""
    stat = (folder / path).stat()
    return Member(path, stat.st_size, digest, stat.st_mtime_ns)


def _lines(path: Path) -> Iterator[Entry]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                yield Entry.from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError):  # the line that a killed process left half-written
                continue
