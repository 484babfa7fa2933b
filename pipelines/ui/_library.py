"""What the page shows: the runs and artifacts that lie in some folders and buckets, read anew when they have aged."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerodet.errors import UserError
from aerodet.lineage import Catalog, Record
from aerodet.pipelines.record import RECORD
from aerodet.storage import Store, open_store

__all__ = ["Library", "Run", "parse_json", "path_inside", "read_file"]

FRESH = {"folder": 3.0, "bucket": 60.0}  # seconds for which a reading is good
PATIENCE = 10  # a reading that took long is good for this many times as long
RECORD_LIMIT = 4 << 20  # bytes of a run's record
FILE_LIMIT = 64 << 20  # bytes of any other file that is read whole


@dataclass(frozen=True, slots=True)
class Run:
    """One run that was found.

    Attributes:
        run_id: its name here, unique.
        uri: its folder: a path or an address.
    """

    run_id: str
    uri: str

    @property
    def folder(self) -> Path | None:
        """Its folder, where that is on this machine."""
        return None if "://" in self.uri else Path(self.uri)

    def read(self, path: str, limit: int = FILE_LIMIT) -> bytes:
        """Return a file of it (see :func:`read_file`)."""
        return read_file(self.uri, path, limit)


class Library:
    """Runs and artifacts in some places.

    Args:
        places: folders, or addresses such as ``s3://bucket/prefix``.

    Raises:
        UserError: a place is not a folder, or its address is of no known kind.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self.places = tuple(places)
        self._stores = [open_store(place) for place in places]
        for place in places:
            if "://" not in place and not Path(place).is_dir():
                raise UserError(f"{place} is not a folder; `aerodet run` makes runs, --in names another place")
        self._lock = threading.Lock()
        self._read_at, self._took = float("-inf"), 0.0
        self._catalog, self._runs = Catalog(), dict[str, Run]()
        self._run_of, self._records_of = dict[str, str](), dict[str, list[Record]]()

    def catalog(self) -> Catalog:
        """Return the artifacts."""
        self._refresh()
        return self._catalog

    def runs(self) -> dict[str, Run]:
        """Return the runs by their ids."""
        self._refresh()
        return self._runs

    def run(self, run_id: str) -> Run:
        """Return one run.

        Raises:
            UserError: there is no such run.
        """
        found = self.runs().get(run_id)
        if found is None:
            raise UserError(f"there is no run {run_id} here")
        return found

    def artifact(self, digest: str) -> list[Record]:
        """Return the copies of an artifact (see :meth:`sorted`).

        Raises:
            UserError: there is none.
        """
        records = self.catalog().records(digest)
        if not records:
            raise UserError(f"no artifact here has the digest {digest}")
        return self.sorted(records)

    def sorted(self, records: Sequence[Record]) -> list[Record]:
        """Return copies of an artifact, the best to show first: on this machine, in a run, the first made."""
        return sorted(records, key=lambda r: (r.folder is None, r.uri not in self._run_of, r.provenance.started, r.uri))

    def run_of(self, record: Record) -> str | None:
        """Return the id of the run in whose folder an artifact lies."""
        return self._run_of.get(record.uri)

    def records_of(self, run: Run) -> list[Record]:
        """Return the artifacts in a run's folder."""
        return self._records_of.get(run.run_id, [])

    def _refresh(self) -> None:
        with self._lock:
            kind = "bucket" if any("://" in place for place in self.places) else "folder"
            if time.monotonic() - self._read_at < max(FRESH[kind], PATIENCE * self._took):
                return
            began = time.monotonic()
            stores = [Path(s.uri) if "://" not in s.uri else s for s in self._stores]
            self._catalog, self._runs = Catalog.load(*stores), _find_runs(self._stores)
            self._index()
            self._read_at = time.monotonic()
            self._took = self._read_at - began

    def _index(self) -> None:
        """Note which artifact lies in which run's folder."""
        runs = {run.uri: run.run_id for run in self._runs.values()}
        self._run_of, self._records_of = {}, {}
        for record in (record for copies in self._catalog.artifacts.values() for record in copies):
            above = record.uri
            while above and above not in runs:
                above = above.rpartition("/")[0]
            if above:
                self._run_of[record.uri] = runs[above]
                self._records_of.setdefault(runs[above], []).append(record)


def _find_runs(stores: Sequence[Store]) -> dict[str, Run]:
    """Return the runs that are a place, or lie directly in one."""
    found: dict[str, Run] = {}
    for store in stores:
        root = store.uri if "://" in store.uri else str(Path(store.uri).resolve())
        for name in _names(store):
            uri = f"{root}/{name}" if name else root
            run_id = name or root.rpartition("/")[2]
            if any(run.uri == uri for run in found.values()):
                continue  # places may overlap
            number = 2
            while run_id in found:  # two places may have a run of one name
                run_id, number = f"{name or root.rpartition('/')[2]}~{number}", number + 1
            found[run_id] = Run(run_id, uri)
    return found


def _names(store: Store) -> list[str]:
    """Return the names of the run folders in a place; empty text for the place itself."""
    if "://" in store.uri:
        keys = (entry.key.split("/") for entry in store.keys())
        return sorted("/".join(key[:-1]) for key in keys if key[-1] == RECORD and len(key) <= 2 and ".." not in key)
    root = Path(store.uri)
    folders = (path.parent for path in root.glob(f"*/{RECORD}"))
    names = sorted(folder.name for folder in folders if not folder.is_symlink())
    return ["", *names] if (root / RECORD).is_file() else names


def read_file(uri: str, path: str, limit: int = FILE_LIMIT) -> bytes:
    """Return the bytes of a file in a run's or an artifact's folder.

    Args:
        uri: the folder, a path or an address.
        path: of the file in it; it may not lead out of the folder, by its parts or by a link.
        limit: most bytes.

    Raises:
        UserError: it leads out, is not there or is longer than ``limit``.
    """
    if "://" not in uri:
        path_inside(uri, path)
    content = open_store(uri).read(path, limit + 1)
    if len(content) > limit:
        raise UserError(f"{path} is longer than {limit >> 20} MiB; look at it with another program")
    return content


def parse_json(content: bytes) -> Any:
    """Parse JSON; NaN and infinity, which no browser takes, are refused.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """

    def refuse(text: str) -> float:
        raise ValueError(f"{text} is not JSON")

    return json.loads(content.decode(), parse_constant=refuse)


def path_inside(folder: str, path: str) -> Path:
    """Return the path of a file in a folder of this machine.

    Raises:
        UserError: its parts or a link lead out of the folder.
    """
    inside = Path(folder).resolve()
    try:
        found = (inside / path).resolve()
    except (ValueError, RuntimeError) as error:  # a NUL, a circle of links
        raise UserError(f"{path!r} is no path of a file") from error
    if not found.is_relative_to(inside):
        raise UserError(f"{path} leads out of its folder")
    return found
