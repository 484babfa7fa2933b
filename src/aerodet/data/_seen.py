"""Which images a writer has had, outside of memory, so that a set may have any number of them."""

from __future__ import annotations

import sqlite3
from typing import Literal

__all__ = ["Seen"]

_CACHE = 256  # KiB that SQLite keeps in memory


class Seen:
    """Ids and names, each once. They lie in a temporary file of SQLite's, which goes when the process does."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE}"):
            self._base.execute(f"PRAGMA {setting}")
        self._base.execute("CREATE TABLE seen (id INTEGER PRIMARY KEY, name BLOB UNIQUE)")
        self._base.execute("BEGIN")  # and never an end: what is not kept need not be committed

    def add(self, number: int, name: str) -> Literal["", "id", "name"]:
        """Note an image, or say which of the two another one has already."""
        row = (int(number), name.encode("utf-8", "surrogatepass"))
        if self._base.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", row).rowcount:
            return ""
        return "id" if self._base.execute("SELECT 1 FROM seen WHERE id = ?", row[:1]).fetchone() else "name"

    def close(self) -> None:
        """Forget all."""
        self._base.close()
