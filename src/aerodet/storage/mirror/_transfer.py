"""The work of a mirror: many transfers at a time, each tried again from where it broke."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aerodet.errors import AerodetError, DataError, MachineError, UserError
from aerodet.progress import progress
from aerodet.storage.mirror._direct import Line, Route
from aerodet.storage.mirror._pace import Meter
from aerodet.storage.mirror._places import BucketPlace, FolderPlace, Place
from aerodet.storage.mirror._select import Choice, is_archive, select
from aerodet.storage.mirror._source import CHUNK, Access, Bucket, Item, TransientError

__all__ = ["MirrorOptions", "MirrorReport", "mirror"]

_SMALLEST_CHUNK = 1 << 16
_LONGEST_WAIT = 30.0  # seconds between two tries
_ARCHIVES = 2  # unpacked at a time; each needs two of asyncio's threads


@dataclass(frozen=True, slots=True)
class MirrorOptions:
    """How a mirror is made.

    Args:
        choice: which objects.
        source: how to reach the bucket.
        target: how to reach the bucket that is written to, where it is one.
        jobs: transfers at a time; each holds a megabyte or two in memory.
        limit: bytes a second, over all transfers; None for no limit.
        unpack: archives (``.tar``, ``.tar.gz``, ``.tgz``) are unpacked as they come, and not kept.
        retries: how often a transfer is tried again without a byte of progress.
        trust_tags: entity tags are digests; not so where a bucket encrypts with keys of its own.
    """

    choice: Choice = field(default_factory=Choice)
    source: Access = field(default_factory=Access)
    target: Access = field(default_factory=Access)
    jobs: int = 16
    limit: float | None = None
    unpack: bool = False
    retries: int = 8
    trust_tags: bool = True


@dataclass(slots=True)
class MirrorReport:
    """What a mirror did.

    Args:
        objects: objects wanted.
        bytes: their size.
        fetched: objects that were fetched in this call.
        fetched_bytes: bytes that came over the network for them.
        present: objects that were there already.
        retried: transfers that broke and went on.
        manifest: where the manifest is.
    """

    objects: int = 0
    bytes: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    present: int = 0
    retried: int = 0
    manifest: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def mirror(source: str, target: Path | str, options: MirrorOptions | None = None) -> MirrorReport:
    """Copy a bucket's objects into a folder or another bucket; what is there already is not fetched again.

    Args:
        source: ``s3://bucket/prefix``.
        target: a folder, or ``s3://bucket/prefix``.
        options: how.

    Returns:
        What was done. ``.mirror/manifest.json`` in the target names every file with its digest.

    Raises:
        UserError: an address, a choice or the credentials are wrong.
        MachineError: the disk is full, or some objects could not be fetched; the same call then goes on.
    """
    options = options or MirrorOptions()
    if options.jobs < 1 or options.retries < 0 or (options.limit is not None and options.limit <= 0):
        raise UserError("a mirror needs at least 1 job, no negative number of retries and a limit over 0")
    bucket = Bucket(source, options.source)
    if str(target).startswith("s3://"):
        if options.unpack:
            raise UserError("archives are unpacked into folders alone; name a folder, or leave out --unpack")
        place: Place = BucketPlace(Bucket(str(target), options.target), trust=options.trust_tags)
    else:
        place = FolderPlace(Path(target), trust=options.trust_tags)
    try:
        return asyncio.run(_Mirror(bucket, place, options).run())
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = (error.subgroup(AerodetError) or error).exceptions[0]
        raise error from group


class _Patience:
    """How often a transfer may still break, and how long to wait before it is tried again."""

    def __init__(self, retries: int) -> None:
        self._retries, self._trials = retries, 0

    def goes_on(self, *, progress: bool) -> bool:
        """Say whether to try again; a transfer that moved on starts counting anew."""
        self._trials = 1 if progress else self._trials + 1
        return self._trials <= self._retries

    @property
    def seconds(self) -> float:
        """The pause, longer each time and never twice the same, so that many transfers do not come back at once."""
        longest: float = min(_LONGEST_WAIT, 0.1 * 2**self._trials)
        return longest * random.uniform(0.5, 1.0)


class _Mirror:
    """One call of :func:`mirror`."""

    def __init__(self, bucket: Bucket, place: Place, options: MirrorOptions) -> None:
        self._bucket, self._place, self._options = bucket, place, options
        self._report = MirrorReport()
        self._failed: list[tuple[Item, Exception]] = []
        self._archives = asyncio.Semaphore(_ARCHIVES)
        self._route: Route | None = None
        self._lock = threading.Lock()  # for the queue and the report, which the threads of direct lines share
        self._stopped, self._breaks = False, 0
        self._chunk = CHUNK
        if options.limit is not None:
            self._chunk = int(min(CHUNK, max(_SMALLEST_CHUNK, options.limit / 4)))

    async def run(self) -> MirrorReport:
        items = select(await self._bucket.items(), self._options.choice)
        await self._place.open()
        report = self._report
        report.objects, report.bytes = len(items), sum(item.size for item in items)
        wanted = [item for item in items if not self._place.holds(item)]
        report.present = len(items) - len(wanted)
        try:
            if wanted:
                await self._fetch_all(wanted)
        finally:
            self._place.stop()
        refused = [error for _, error in self._failed if isinstance(error, DataError)]
        if refused:
            more = f" (and {len(self._failed) - 1} more objects failed)" if self._failed[1:] else ""
            raise DataError(f"{refused[0]}{more}") from refused[0]
        if self._failed:
            item, reason = self._failed[0]
            raise MachineError(
                f"{len(self._failed)} of {len(items)} objects could not be fetched, the first is {item.key} ({reason});"
                " run it again, it goes on where it stopped"
            )
        report.manifest = await self._place.close(self._bucket.uri)
        return report

    async def _fetch_all(self, wanted: list[Item]) -> None:
        total, present = sum(item.size for item in wanted), self._report.present
        jobs = min(self._options.jobs, len(wanted))
        # A line knows no pace, so a limit keeps to the careful way.
        self._route = Route.to(self._bucket) if self._options.limit is None else None
        lines = [Line(self._route) for _ in range(jobs)] if self._route else [None] * jobs
        with progress("mirroring", self._report.objects, done=present) as bar, ExitStack() as stack:
            self._meter = Meter(total, self._options.limit, bar)
            for opened in filter(None, lines):
                stack.callback(opened.close)
            pool = stack.enter_context(ThreadPoolExecutor(jobs))
            stack.callback(self._stop, lines)
            queue = deque(wanted)
            async with asyncio.TaskGroup() as group:
                for line in lines:
                    group.create_task(self._work(queue, pool, line))
        self._report.fetched_bytes = self._meter.done

    def _stop(self, lines: Sequence[Line | None]) -> None:
        """End what the threads do, so that none is waited for."""
        self._stopped = True
        for line in filter(None, lines):
            line.cut()

    async def _work(self, queue: deque[Item], pool: ThreadPoolExecutor, line: Line | None) -> None:
        while item := self._next(queue):
            if len(self._failed) > self._options.jobs and not self._report.fetched:
                return  # nothing comes through: the server is gone
            if line is not None and self._direct_way(item):
                rest = await asyncio.get_running_loop().run_in_executor(pool, self._go_direct, item, queue, line)
                if rest is None:
                    continue
                item = rest
            await self._go_carefully(item)

    def _next(self, queue: deque[Item]) -> Item | None:
        with self._lock:
            return queue.popleft() if queue and not self._stopped else None

    def _direct_way(self, item: Item) -> Callable[[memoryview], None] | None:
        """Return what takes an object that may come by a line; None when line after line has broken."""
        route, archive = self._route, self._options.unpack and is_archive(item.key)
        if route is None or archive or self._breaks > 2 * self._options.jobs or not route.leads_to(item):
            return None
        return self._place.way_in(item)

    def _go_direct(self, first: Item, queue: deque[Item], line: Line) -> Item | None:
        """Fetch objects by a line, in a thread; returns the first one that must come otherwise."""
        item: Item | None = first
        while item is not None and (take := self._direct_way(item)):
            try:
                take(line.fetch(item))
            except (TransientError, DataError):
                with self._lock:
                    self._breaks += 1
                    self._report.retried += 1
                return item
            with self._lock:
                self._breaks = 0
                self._report.fetched += 1
                self._meter.done += item.size
                self._meter.finished()
            item = self._next(queue)
        return item

    async def _go_carefully(self, item: Item) -> None:
        """Fetch an object with all that can be done for it, or find it there."""
        fetched = adopted = False
        try:
            adopted = await self._place.adopt(item)
            if not adopted:
                await self._fetch(item)
                fetched = True
        except (TransientError, DataError) as error:
            self._failed.append((item, error))
        with self._lock:
            self._report.present += adopted
            self._report.fetched += fetched
            if adopted:
                self._meter.skip(item.size)
            self._meter.finished()

    async def _fetch(self, item: Item) -> None:
        """Fetch one object, again and again until it is whole."""
        if self._options.unpack and is_archive(item.key):
            async with self._archives:
                patience = _Patience(self._options.retries)
                while not await self._taken(item, patience, archive=True):
                    await self._wait(patience)
        else:
            patience = _Patience(self._options.retries)
            while not await self._taken(item, patience, archive=False):
                await self._wait(patience)

    async def _taken(self, item: Item, patience: _Patience, *, archive: bool) -> bool:
        """Try to fetch an object; False when it broke and may be tried again."""
        begun = self._place.begun(item)
        read = self._steady if archive else self._read
        try:
            await self._place.take(item, lambda offset: read(item, offset), archive=archive)
        except TransientError:
            if not patience.goes_on(progress=self._place.begun(item) > begun):
                raise
            return False
        return True

    async def _wait(self, patience: _Patience) -> None:
        self._report.retried += 1
        await asyncio.sleep(patience.seconds)

    async def _steady(self, item: Item, offset: int) -> AsyncIterator[Any]:
        """Yield an object's bytes; where the transfer breaks it goes on from the next byte."""
        patience = _Patience(self._options.retries)
        while offset < item.size:
            before = offset
            try:
                async for data in self._read(item, offset):
                    yield data
                    offset += len(data)
            except TransientError:
                if not patience.goes_on(progress=offset > before):
                    raise
                await self._wait(patience)

    async def _read(self, item: Item, offset: int) -> AsyncIterator[Any]:
        """Yield an object's bytes at the pace that is allowed."""
        came = 0
        async for data in self._bucket.read(item, offset, self._chunk):
            await self._meter.take(len(data))
            came += len(data)
            yield data
        if offset + came < item.size:
            raise TransientError("the server sent less than the object")
