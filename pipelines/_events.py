"""The events that a running stage appends to its file (see :mod:`aerodet.progress`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["EventTail"]


class EventTail:
    """Reads the events of one stage as they come.

    Args:
        path: the event file; emptied at the start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        path.write_bytes(b"")

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the events that were completed since the last call."""
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            text = stream.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # torn by a full disk or a kill: only a step of a bar is lost
            if isinstance(event, dict):
                yield event
