"""Every artifact that lies under some folders and buckets, by digest: the ground that lineage walks on.

Whatever is read here may come from anybody. A statement that is a link, too long, damaged or oddly placed is left out
and named among the problems; nothing that a statement says is ever opened as a path.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aerodet.errors import DataError, UserError
from aerodet.files import PROVENANCE
from aerodet.lineage.provenance import LIMIT, Provenance, parse_provenance
from aerodet.storage import Store

__all__ = ["Catalog", "Problem", "Record", "Use"]

READERS = 16  # requests in flight against a bucket


@dataclass(frozen=True, slots=True)
class Record:
    """One copy of an artifact.

    Attributes:
        provenance: as its ``provenance.json`` tells it.
        uri: where its folder is: a path, or an address such as ``s3://bucket/prefix/folder``.
    """

    provenance: Provenance
    uri: str

    @property
    def kind(self) -> str:
        """What it is: ``coco``, ``checkpoint``, ``engine``, ``evaluation``... or the stage's name for it."""
        return str(self.provenance.annotations.get("kind", self.provenance.name))

    @property
    def folder(self) -> Path | None:
        """Its folder, where that is on this machine."""
        return None if "://" in self.uri else Path(self.uri)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that should have been an artifact and could not be read.

    Attributes:
        where: path or address.
        reason: one sentence.
    """

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class Use:
    """One artifact was made from another.

    Attributes:
        user: digest of the artifact that was made.
        name: the name of the input.
    """

    user: str
    name: str


class Catalog:
    """The artifacts known, by digest.

    Args:
        records: copies of artifacts, in any order.
        problems: what could not be read.
    """

    def __init__(self, records: Iterable[Record] = (), problems: Iterable[Problem] = ()) -> None:
        self.artifacts: dict[str, list[Record]] = {}
        for record in records:
            self.artifacts.setdefault(record.provenance.digest, []).append(record)
        self.problems = list(problems)

    @classmethod
    def load(cls, *places: Path | Store) -> Catalog:
        """Read every ``provenance.json`` under some folders and buckets.

        Hidden folders and links are not entered.

        Raises:
            UserError: a folder does not exist.
            MachineError: a bucket cannot be reached.
        """
        records: dict[str, Record] = {}
        problems: dict[str, Problem] = {}
        for place in places:
            for found in _folder(place) if isinstance(place, Path) else _bucket(place):
                if isinstance(found, Record):
                    records[found.uri] = found  # places may overlap
                else:
                    problems[found.where] = found
        return cls(records.values(), problems.values())

    def __len__(self) -> int:
        return len(self.artifacts)

    def records(self, digest: str) -> list[Record]:
        """Return the copies of an artifact; none where it is only known as somebody's input, or not at all."""
        return self.artifacts.get(digest, [])

    @cached_property
    def uses(self) -> dict[str, list[Use]]:
        """What each artifact was used for, in the order of the users' times."""
        found: dict[str, dict[Use, None]] = {}  # dictionaries: copies of a user count once, and order is kept
        records = (record for copies in self.artifacts.values() for record in copies)
        for record in sorted(records, key=lambda r: r.provenance.started):
            for name, reference in record.provenance.inputs.items():
                found.setdefault(reference.digest, {})[Use(record.provenance.digest, name)] = None
        return {digest: list(uses) for digest, uses in found.items()}

    def holders(self, file_digest: str) -> list[str]:
        """Return the digests of the artifacts that hold a file with this SHA-256."""
        return self._files.get(file_digest, [])

    def find(self, prefix: str) -> list[str]:
        """Return the digests of the artifacts, of used inputs and of files that begin with ``prefix``."""
        place = bisect_left(self._digests, prefix)
        found = []
        while place < len(self._digests) and self._digests[place].startswith(prefix):
            found.append(self._digests[place])
            place += 1
        return found

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for digest, copies in self.artifacts.items():
            for content in {content for record in copies for content in record.provenance.files.values()}:
                found.setdefault(content, []).append(digest)
        return found

    @cached_property
    def _digests(self) -> list[str]:
        return sorted(self.artifacts.keys() | self.uses.keys() | self._files.keys())


def _folder(root: Path) -> Iterator[Record | Problem]:
    """Read the statements under a folder, in the order of their paths."""
    if not root.is_dir():
        raise UserError(f"{root} is not a folder, so no artifacts are read from it; name another place")
    stack = [os.fspath(root.resolve())]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            yield Problem(folder, f"{folder} cannot be read ({error.strerror})")
            continue
        for entry in listed:
            if entry.name == PROVENANCE:
                yield _read_file(folder, entry)
            elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                stack.append(entry.path)


def _read_file(folder: str, entry: os.DirEntry[str]) -> Record | Problem:
    if entry.is_symlink():
        return Problem(entry.path, f"{entry.path} is a link, and links are not followed")
    try:
        if not entry.is_file():
            return Problem(entry.path, f"{entry.path} is not a file")
        size = min(entry.stat(follow_symlinks=False).st_size, LIMIT)
        with open(entry.path, "rb") as stream:  # noqa: PTH123 (a Path for each of ten thousand costs as much again)
            content = stream.read(size + 1)  # one more than there should be: what grows is refused
    except OSError as error:
        return Problem(entry.path, f"{entry.path} cannot be read ({error.strerror})")
    return _parse(content, entry.path, folder)


def _bucket(bucket: Store) -> Iterator[Record | Problem]:
    """Read the statements in a bucket, many at a time."""
    keys, root = [], bucket.uri.rstrip("/")
    for entry in bucket.keys():
        parts = entry.key.split("/")
        if parts[-1] != PROVENANCE:
            continue
        where = f"{root}/{entry.key}"
        if {"", ".", ".."} & set(parts):
            yield Problem(where, f"{where} is no plain path")
        elif entry.size > LIMIT:
            yield Problem(where, f"{where} has {entry.size} bytes, more than any statement of ours")
        else:
            keys.append(entry.key)

    def read(key: str) -> Record | Problem:
        where = f"{root}/{key}"
        try:
            content = bucket.read(key, LIMIT + 1)
        except UserError as error:  # deleted meanwhile, or for others to read
            return Problem(where, str(error))
        return _parse(content, where, where.removesuffix(f"/{PROVENANCE}"))

    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(read, sorted(keys))


def _parse(content: bytes, where: str, uri: str) -> Record | Problem:
    try:
        return Record(parse_provenance(content, where), uri)
    except DataError as error:
        return Problem(where, str(error))
