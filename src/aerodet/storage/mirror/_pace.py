"""How fast a mirror goes: a cap on the bandwidth, and the rate and time left for the person who waits."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque

from aerodet.progress import Bar

__all__ = ["Meter", "human"]

_WINDOW, _REFRESH = 20.0, 0.2  # seconds over which the rate is taken, and after which it is taken again


class Meter:
    """Counts bytes, holds them to a limit and tells the rate.

    Args:
        total: bytes to come.
        limit: bytes a second; None for no limit.
        bar: where progress shows; it advances by objects.
    """

    def __init__(self, total: int, limit: float | None, bar: Bar) -> None:
        self._total, self._limit, self._bar = total, limit, bar
        self.done = 0
        self._free_at = time.monotonic()
        self._marks = deque([(self._free_at, 0)])
        self._noted_at, self._note = -math.inf, ""

    async def take(self, count: int) -> None:
        """Note bytes that came; wait until as many more may come."""
        self.done += count
        if self._limit is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 1.0) + count / self._limit  # a second of silence is made up for
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)

    def skip(self, count: int) -> None:
        """Note bytes that need not come."""
        self._total -= count

    def finished(self, objects: int = 1) -> None:
        """Show that objects are whole."""
        now = time.monotonic()
        if now - self._noted_at > _REFRESH or self.done >= self._total:
            self._noted_at, self._note = now, self._rate(now)
        self._bar.advance(objects, self._note)

    def _rate(self, now: float) -> str:
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and self._marks[0][0] < now - _WINDOW:
            self._marks.popleft()
        then, before = self._marks[0]
        rate = (self.done - before) / max(now - then, 1e-3)
        left = f", {_duration((self._total - self.done) / rate)} left" if rate > 0 else ""
        return f"{human(self.done)} of {human(self._total)}, {human(rate)}/s{left}"


def human(count: float) -> str:
    """Return bytes for people, in powers of ten."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
