"""Where a mirror is written: a folder, or another bucket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from aerodet.errors import DataError, MachineError
from aerodet.files import disk_errors
from aerodet.storage.mirror._journal import MANIFEST, STATE, Entry, Journal, Member, manifest_lines, member_of
from aerodet.storage.mirror._proof import Prover
from aerodet.storage.mirror._source import Bucket, Item, TransientError
from aerodet.storage.mirror._unpack import Pipe, move_into, unpack

__all__ = ["BucketPlace", "DamagedError", "FolderPlace", "Place"]

Read = Callable[[int], AsyncIterator[Any]]  # bytes of an object from an offset


class DamagedError(TransientError):
    """The bytes that came are not the object's."""


class Place(Protocol):
    """Takes objects and knows which it has."""

    async def open(self) -> None:
        """Learn what is there."""

    def holds(self, item: Item) -> bool:
        """Say whether an object is there whole."""

    async def adopt(self, item: Item) -> bool:
        """Say whether an object that no journal knows is there whole, and note it."""

    def begun(self, item: Item) -> int:
        """Return how many bytes of an object an earlier try left."""

    async def take(self, item: Item, read: Read, *, archive: bool) -> None:
        """Take an object, from the byte at which an earlier try ended."""

    def way_in(self, item: Item) -> Callable[[memoryview], None] | None:
        """Return what takes an object whole, from any thread; None where it has to come by :meth:`take`."""

    async def close(self, source: str) -> str:
        """Write the manifest; returns where it is."""

    def stop(self) -> None:
        """Leave everything for a later call."""


class FolderPlace:
    """A folder.

    Args:
        folder: the mirror; made when it is not there.
        trust: entity tags say something of the bytes.
    """

    def __init__(self, folder: Path, *, trust: bool = True) -> None:
        self._folder, self._trust = folder, trust
        self._parts = folder / STATE / "parts"
        self._doubtful: dict[str, str] = {}

    async def open(self) -> None:
        """Read the journal and make the folder."""
        with disk_errors(self._folder):
            self._parts.mkdir(parents=True, exist_ok=True)
            self._journal = Journal(self._folder)
            self._begun = {path.name for path in self._parts.iterdir()}
            self._fresh = {path.name for path in self._folder.iterdir()} == {STATE}

    def holds(self, item: Item) -> bool:
        """Say whether an object is there as it was fetched."""
        return self._journal.holds(item.key, item.size, item.etag)

    async def adopt(self, item: Item) -> bool:
        """Take a file of the right size and digest that is there, as after a copy, for the object."""
        path = self._folder / item.key
        if self._fresh or not path.is_file() or path.stat().st_size != item.size:
            return False
        prover = self._prover(item)
        await asyncio.to_thread(prover.update_from, path)
        proof = prover.proof()
        if proof not in ("md5", "parts"):
            return False
        self._journal.add(
            Entry(item.key, item.size, item.etag, proof, [member_of(self._folder, item.key, prover.digest)])
        )
        return True

    def begun(self, item: Item) -> int:
        """Return the size of the part that is there."""
        name = _name(item)
        return (self._parts / name).stat().st_size if name in self._begun else 0

    async def take(self, item: Item, read: Read, *, archive: bool) -> None:
        """Write an object, or the files of an archive."""
        _require_inner(item.key)
        with disk_errors(self._folder / item.key):
            proof, files = await (self._unpacked(item, read) if archive else self._written(item, read))
            self._journal.add(Entry(item.key, item.size, item.etag, proof, files))

    def way_in(self, item: Item) -> Callable[[memoryview], None] | None:
        """Return what writes an object that has neither a part nor a file."""
        try:
            if _name(item) in self._begun or (not self._fresh and (self._folder / item.key).exists()):
                return None
        except OSError:  # the careful way says of which object
            return None
        return partial(self._take_whole, item)

    def _take_whole(self, item: Item, data: memoryview) -> None:
        """Write an object when its bytes are those of its digest."""
        _require_inner(item.key)
        prover = self._prover(item)
        prover.update(data)
        proof, part = self._settle(item, prover), f"{self._parts}/{_name(item)}"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                _write_all(descriptor, data)
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            _move(part, f"{self._folder}/{item.key}", item.key)
            file = Member(item.key, status.st_size, prover.digest, status.st_mtime_ns)
            self._journal.add(Entry(item.key, item.size, item.etag, proof, [file]))
        except OSError:
            with disk_errors(self._folder / item.key):
                raise

    async def close(self, source: str) -> str:
        """Write the manifest."""
        shutil.rmtree(self._folder / STATE / "parts", ignore_errors=True)
        shutil.rmtree(self._folder / STATE / "unpack", ignore_errors=True)
        with disk_errors(self._folder):
            return str(self._journal.close(source))

    def stop(self) -> None:
        """Close the journal."""
        self._journal.stop()

    async def _written(self, item: Item, read: Read) -> tuple[str, list[Member]]:
        name = _name(item)
        part, prover = f"{self._parts}/{name}", self._prover(item)
        offset = await asyncio.to_thread(prover.update_from, Path(part)) if name in self._begun else 0
        # Unbuffered: a chunk is a megabyte, and what was written is there when the process is killed.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._begun.add(name)
        try:
            if offset < item.size:
                async for data in read(offset):
                    prover.update(data)
                    _write_all(descriptor, data)
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        try:
            proof = self._settle(item, prover)
        except DamagedError:
            Path(part).unlink()
            self._begun.discard(name)
            raise
        _move(part, f"{self._folder}/{item.key}", item.key)
        self._begun.discard(name)
        return proof, [Member(item.key, status.st_size, prover.digest, status.st_mtime_ns)]

    def _settle(self, item: Item, prover: Prover) -> str:
        """Return the proof of the bytes that came.

        Raises:
            DamagedError: they are not the object's.
        """
        proof = prover.proof()
        if proof == "doubtful":
            # Parts of an unusual size: the same bytes twice are the object's, as damage does not repeat itself.
            if self._doubtful.pop(item.key, "") == prover.digest:
                return "length"
            self._doubtful[item.key] = prover.digest
        if proof in ("doubtful", "wrong"):
            raise DamagedError("the bytes that came are not the object's")
        return proof

    async def _unpacked(self, item: Item, read: Read) -> tuple[str, list[Member]]:
        staging = self._folder / STATE / "unpack" / _name(item)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        prover, pipe = self._prover(item), Pipe()
        work = asyncio.create_task(asyncio.to_thread(unpack, pipe, staging, item.key))
        end: Any = None
        try:
            async for data in read(0):
                prover.update(data)
                await asyncio.to_thread(pipe.put, data)
        except BaseException:
            end = EOFError("the transfer broke")
            raise
        finally:
            await asyncio.to_thread(pipe.put, end)
            outcome = (await asyncio.gather(work, return_exceptions=True))[0]
        if isinstance(outcome, OSError):  # the disk's
            raise outcome
        proof = self._settle(item, prover)  # an archive that seems damaged or evil may be so on the way alone
        if isinstance(outcome, BaseException):
            raise outcome
        parent = PurePosixPath(item.key).parent
        move_into(staging, self._folder / parent, [path for path, _ in outcome])
        return proof, [member_of(self._folder, (parent / path).as_posix(), digest) for path, digest in outcome]

    def _prover(self, item: Item) -> Prover:
        return Prover(item.size, item.etag if self._trust else "")


class BucketPlace:
    """Another bucket. It resumes object by object; the journal is a manifest in the bucket that grows.

    Args:
        bucket: the mirror.
        trust: entity tags say something of the bytes.
    """

    def __init__(self, bucket: Bucket, *, trust: bool = True) -> None:
        self._bucket, self._trust = bucket, trust
        self._entries: dict[str, Entry] = {}

    async def open(self) -> None:
        """List the bucket and read its manifest."""
        self._there = await self._bucket.existing()
        text = await self._bucket.get(MANIFEST)
        content = json.loads(text) if text else {"objects": []}
        self._entries = {entry.key: entry for entry in map(Entry.from_dict, content["objects"])}

    def holds(self, item: Item) -> bool:
        """Say whether the manifest and the list know the object."""
        entry, there = self._entries.get(item.key), self._there.get(item.key)
        known = entry is not None and (entry.size, entry.etag) == (item.size, item.etag)
        return known and there is not None and there.size == item.size

    async def adopt(self, item: Item) -> bool:
        """Take an object of the same size and digest for the object."""
        there = self._there.get(item.key)
        if (
            there is None
            or not self._trust
            or len(item.etag) != 32
            or (there.size, there.etag) != (item.size, item.etag)
        ):
            return False
        self._note(item, "md5", f"md5:{item.etag}")
        return True

    def begun(self, item: Item) -> int:
        """Return 0: an object in a bucket is there or not."""
        del item
        return 0

    async def take(self, item: Item, read: Read, *, archive: bool) -> None:
        """Copy an object; it appears when all of it has been sent."""
        if archive:
            raise MachineError("archives are unpacked into folders alone")
        _require_inner(item.key)
        prover = Prover(item.size, item.etag if self._trust else "")

        async def proved() -> AsyncIterator[Any]:
            async for data in read(0):
                prover.update(data)
                yield data
            if prover.proof() == "wrong":  # before the last part is sent: the object then does not appear
                raise DamagedError("the bytes that came are not the object's")

        if item.size <= 8 << 20:
            content = b"".join([bytes(data) async for data in proved()])
            await self._bucket.write(item.key, content)
        else:
            await self._bucket.write(item.key, proved())
        proof = prover.proof()
        self._note(item, "length" if proof == "doubtful" else proof, prover.digest)

    def way_in(self, item: Item) -> None:
        """Return None: objects are sent on as they come."""
        del item

    async def close(self, source: str) -> str:
        """Write the manifest into the bucket."""
        entries = [self._entries[key] for key in sorted(self._entries)]
        await self._bucket.write(MANIFEST, "".join(manifest_lines(source, entries)).encode())
        return f"{self._bucket.uri}/{MANIFEST}"

    def stop(self) -> None:
        """Leave what is there: a later call adopts objects by their digest."""

    def _note(self, item: Item, proof: str, digest: str) -> None:
        self._entries[item.key] = Entry(item.key, item.size, item.etag, proof, [Member(item.key, item.size, digest)])


def _require_inner(key: str) -> None:
    """Refuse a key that would be written outside the mirror, or over its state."""
    parts = [part for part in key.split("/") if part not in ("", ".")]
    if key.startswith("/") or ".." in parts or "\0" in key or not parts or parts[0] == STATE:
        raise DataError(f"object {key!r} would be written outside the mirror; leave it out with --exclude")


def _name(item: Item) -> str:
    return hashlib.sha256(f"{item.key}\0{item.etag}\0{item.size}".encode()).hexdigest()[:32]


def _move(part: str, target: str, key: str) -> None:
    """Rename a whole part to its place; its folder is made when it is missed."""
    try:
        try:
            os.replace(part, target)  # noqa: PTH105 - a Path of each would take as long
        except FileNotFoundError:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(part).replace(target)
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        raise DataError(f"{key} is both an object and a folder of the bucket; leave one out with --exclude") from error


def _write_all(descriptor: int, data: Any) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
